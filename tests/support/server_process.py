"""The fine-tuning server as a process of its own, and what its tests ask of it again and again."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from contract import JUDGE, see_response
from openai import DefaultHttpxClient, OpenAI
from openai.types import FileObject
from openai.types.fine_tuning import FineTuningJob
from preloaded import PreloadedProcess, run_preloaded
from waiting import DEADLINE_SECONDS, wait_for


@dataclass
class Answer:
    """One HTTP answer, unparsed by any SDK."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def error(self) -> dict[str, Any]:
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return dict(error)


@dataclass
class ServerProcess:
    """`python -m retune.server` on a data directory.

    Attributes:
        preloaded: Whether it starts quickly, from a process that has imported its libraries; see `preloaded`.
    """

    data_directory: Path
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    preloaded: bool = True
    process: subprocess.Popen[bytes] | None = None
    _clients: dict[str, OpenAI] = field(default_factory=dict)

    def start(self) -> "ServerProcess":
        arguments: list[str | Path] = ["--port", "0", "--data-dir", self.data_directory, *self.arguments]
        environment = {**os.environ, **self.environment}
        if self.preloaded:
            self.process = PreloadedProcess(
                "retune.server", arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
        else:
            command = [sys.executable, "-m", "retune.server", *arguments]
            self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_for(self._is_ready, "the server", process=self.process)
        return self

    def run_to_end(self) -> tuple[int, str]:
        """Start a server that is expected to refuse; its exit status and what it said."""
        arguments: list[str | Path] = ["--data-dir", self.data_directory, *self.arguments]
        environment = {**os.environ, **self.environment}
        done = run_preloaded("retune.server", arguments, env=environment, timeout=DEADLINE_SECONDS)
        return done.returncode, done.stderr

    def end(self, number: signal.Signals) -> int:
        assert self.process
        for client in self._clients.values():
            client.close()
        self.process.send_signal(number)
        self.process.communicate(timeout=DEADLINE_SECONDS)
        return self.process.returncode

    @property
    def announcement(self) -> dict[str, Any]:
        return dict(json.loads((self.data_directory / "server.json").read_text()))

    @property
    def base_url(self) -> str:
        return str(self.announcement["base_url"])

    def client(self, api_key: str = "any") -> OpenAI:
        """A client of this server; it is closed with the server."""
        if api_key not in self._clients:
            http_client = DefaultHttpxClient(event_hooks={"response": [see_response]})
            self._clients[api_key] = OpenAI(
                base_url=self.base_url, api_key=api_key, max_retries=0, http_client=http_client
            )
        return self._clients[api_key]

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        address = urlsplit(self.base_url)
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=DEADLINE_SECONDS)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        connection.close()
        if method != "HEAD":  # Its answers have no body to judge.
            JUDGE.see(method, path, answer.status, answer.headers.get("content-type", ""), answer.content)
        return answer

    def training_processes(self) -> list[int]:
        """Ids of the training processes that this server started."""
        assert self.process
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for path in children for pid in path.read_text().split()]

    def _is_ready(self) -> bool:
        assert self.process
        try:
            return bool(self.announcement["pid"] == self.process.pid)
        except FileNotFoundError:
            return False


StartServer = Callable[..., ServerProcess]
"""The fixture `start_server`: starts a server of the test's own, with arguments and an environment."""


def example_lines(count: int, label: str = "label") -> bytes:
    """A chat file of `count` examples with seven different answers."""
    examples = [
        {
            "messages": [
                {"role": "user", "content": f"question {number % 7}, number {number}"},
                {"role": "assistant", "content": f"{label} {number % 7}"},
            ]
        }
        for number in range(count)
    ]
    return b"".join(json.dumps(example).encode() + b"\n" for example in examples)


def upload(client: OpenAI, content: bytes, name: str = "train.jsonl") -> FileObject:
    return client.files.create(file=(name, content), purpose="fine-tune")


def ended(client: OpenAI, job_id: str) -> FineTuningJob:
    """Wait for a job's end."""

    def look() -> FineTuningJob | None:
        job = client.fine_tuning.jobs.retrieve(job_id)
        return job if job.status in {"succeeded", "failed", "cancelled"} else None

    return wait_for(look, f"the end of {job_id}")


def wait_for_step(client: OpenAI, job_id: str, step: int) -> None:
    """Wait until a training has come to a step."""

    def reached() -> bool:
        newest = client.fine_tuning.jobs.list_events(job_id, limit=3).data
        return any(event.type == "metrics" and event.data["step"] >= step for event in newest)  # type: ignore[index]

    wait_for(reached, f"step {step}")


def steps_on_record(client: OpenAI, job_id: str) -> list[int]:
    """Steps that have an event, oldest first."""
    events = client.fine_tuning.jobs.list_events(job_id, limit=1000)
    return [int(event.data["step"]) for event in events if event.type == "metrics"][::-1]  # type: ignore[index]


def messages_on_record(client: OpenAI, job_id: str) -> list[str]:
    """Messages of a job's events that are no metrics, oldest first."""
    events = client.fine_tuning.jobs.list_events(job_id, limit=1000)
    return [event.message for event in events if event.type == "message"][::-1]
