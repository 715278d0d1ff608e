"""A proxy before the server that knows the ids of the published examples, and makes an object for each.

OpenAI's own SDK tests speak to a mock that answers anything. Here every request reaches the real server, with its
placeholders replaced by ids of fresh objects of the kind that the request needs.
"""

import http.client
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from contract import JUDGE
from openai import OpenAI
from server_process import ServerProcess, ended, example_lines, upload

_MODEL = "gpt-4o-mini-2024-07-18"
_PART = b"Example data"
_EPOCHS = 3


class Examples:
    """Makes the objects; safe to use from several threads."""

    def __init__(self, client: OpenAI, models_to_delete: int) -> None:
        self._client = client
        self._lock = threading.Lock()
        self.training_file = upload(client, example_lines(10)).id
        jobs = [self._job(_EPOCHS) for _ in range(1 + -(-models_to_delete // _EPOCHS))]
        succeeded, *others = [ended(client, job_id) for job_id in jobs]
        self.succeeded, self.model = succeeded.id, str(succeeded.fine_tuned_model)
        self._deletable = [
            checkpoint.fine_tuned_model_checkpoint
            for job in others
            for checkpoint in client.fine_tuning.jobs.checkpoints.list(job.id)
        ]

    def deletable_model(self) -> str:
        with self._lock:
            return self._deletable.pop()

    def file(self) -> str:
        return self._client.files.create(file=("a.txt", _PART), purpose="assistants").id

    def running_job(self) -> str:
        return self._job(50)

    def paused_job(self) -> str:
        return self._client.fine_tuning.jobs.pause(self._job(50)).id

    def batch_file(self, n_lines: int = 1) -> str:
        body = {"model": "baseline-text", "messages": [{"role": "user", "content": "Hello!"}]}
        head = {"method": "POST", "url": "/v1/chat/completions", "body": body}
        lines = "\n".join(json.dumps({"custom_id": str(number), **head}) for number in range(n_lines))
        return self._client.files.create(file=("batch.jsonl", lines.encode()), purpose="batch").id

    def batch(self, n_lines: int = 1) -> str:
        return self._client.batches.create(
            input_file_id=self.batch_file(n_lines), endpoint="/v1/chat/completions", completion_window="24h"
        ).id

    def upload(self) -> str:
        return self._client.uploads.create(
            bytes=len(_PART), filename="a.txt", mime_type="text/plain", purpose="assistants"
        ).id

    def part(self, upload_id: str) -> str:
        return self._client.uploads.parts.create(upload_id, data=_PART).id

    def permission(self) -> str:
        made = self._client.fine_tuning.checkpoints.permissions.create(self.model, project_ids=["proj_1"])
        return next(iter(made)).id

    def end_job(self, answer: bytes) -> None:
        """Cancel the job that an answer shows: some fifty would train for nothing, and slow the tests down."""
        job = json.loads(answer)
        if job.get("object") == "fine_tuning.job" and job["status"] != "cancelled":
            self._client.fine_tuning.jobs.cancel(job["id"])

    def first_id(self, path: str) -> str:
        """Of the newest object in the list at an address."""
        listed: Any = self._client.get(path.removeprefix("/v1"), cast_to=object)
        return str(listed["data"][0]["id"])

    def _job(self, n_epochs: int) -> str:
        return self._client.fine_tuning.jobs.create(
            model=_MODEL, training_file=self.training_file, hyperparameters={"n_epochs": n_epochs}
        ).id


def _with_real_ids(examples: Examples, method: str, path: str, body: bytes) -> tuple[str, bytes]:
    """A request with placeholders replaced, in its path and then in its body."""
    path = unquote(path)
    upload_id = ""
    if "upload_abc123" in path:
        upload_id = examples.upload()
        path = path.replace("upload_abc123", upload_id)
    makers: list[tuple[str, Callable[[], str]]] = [
        (r"(?<=/files/)file_id", examples.file),
        (r"(?<=/batches/)batch_id(?=/cancel)", lambda: examples.batch(3000)),
        (r"(?<=/batches/)batch_id", examples.batch),
        (r"cp_zc4Q7MP6XxulcVzj4MZdwsAB", examples.permission),
        (r"(?<=/checkpoints/)ft[-:][^/]+", lambda: examples.model),
        (r"ft-AF1WoRqd3aJAHsqc9NY7iL8F(?=/cancel)", examples.running_job),
        (r"ft-AF1WoRqd3aJAHsqc9NY7iL8F(?=/resume)", examples.paused_job),
        (r"ft-AF1WoRqd3aJAHsqc9NY7iL8F", lambda: examples.succeeded),
        (r"(?<=/models/)ft:[^?]+", examples.deletable_model),
        (r"(?<=/models/)gpt-6-astra", lambda: "baseline-text"),
        # The real service refuses it too.
        (r"(?<=[?&]limit=)0", lambda: "1"),
    ]
    for placeholder, make in makers:
        path = re.sub(placeholder, lambda _: make(), path)  # noqa: B023  # called at once
    path = re.sub(r"(?<=[?&]after=)[^&]+", lambda _: examples.first_id(path.partition("?")[0]), path)
    if not body.startswith(b"{"):
        return path, body
    asked = json.loads(body)
    replaced: dict[str, Callable[[], Any]] = {
        "training_file": lambda: examples.training_file,
        "validation_file": lambda: examples.training_file,
        "input_file_id": examples.batch_file,
        "endpoint": lambda: "/v1/chat/completions",
        "model": lambda: {"gpt-6-astra": "baseline-text", "gpt-3.5-turbo-instruct": "babbage-002"}.get(
            asked["model"], asked["model"]
        ),
        "part_ids": lambda: [examples.part(upload_id)],
        "md5": lambda: md5(_PART, usedforsecurity=False).hexdigest(),
    }
    for name in replaced.keys() & asked.keys():
        asked[name] = replaced[name]()
    return path, json.dumps(asked).encode()


class _Server(ThreadingHTTPServer):
    # Connections that a client keeps open would keep their threads, and the server's end, waiting.
    daemon_threads = True
    block_on_close = False


@contextmanager
def answering_examples(server: ServerProcess, models_to_delete: int) -> Iterator[str]:
    """Run the proxy; yields the base URL for an SDK's tests."""
    examples = Examples(server.client(), models_to_delete)
    address = urlsplit(server.base_url)

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._pass_on()

        def do_POST(self) -> None:
            self._pass_on()

        def do_DELETE(self) -> None:
            self._pass_on()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in the base class
            pass

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            path, body = _with_real_ids(examples, self.command, f"/v1{self.path}", body)
            connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
            headers = {"Content-Type": self.headers.get("content-type", ""), "Authorization": "Bearer any"}
            connection.request(self.command, quote(path, safe="/:?&=%[]"), body, headers)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            JUDGE.see(self.command, path, answer.status, answer.headers.get("content-type", ""), content)
            self.send_response(answer.status)
            for name in ("content-type", "x-request-id", "content-disposition"):
                if name in answer.headers:
                    self.send_header(name, str(answer.headers[name]))
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            if self.command == "POST" and path.startswith("/v1/fine_tuning/jobs"):
                examples.end_job(content)

    with _Server(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{proxy.server_address[1]}"
        finally:
            proxy.shutdown()
