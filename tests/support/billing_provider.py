"""A provider that bills: enough of the API for a whole run, over HTTP."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from billing_account import STEPS, Account, Habits

_PAGE_SIZES = {"jobs": 20, "events": 20, "checkpoints": 10, "files": 10_000}
_LARGEST_PAGE = 100
_ENDED = {"succeeded", "failed", "cancelled"}


@dataclass
class Provider:
    """A server with any number of accounts, each at an address of its own."""

    url: str = ""
    accounts: dict[str, Account] = field(default_factory=dict)

    def open_account(self, habits: Habits | None = None, **settings: Any) -> tuple[str, Account]:
        """A new account and its base URL."""
        name = f"account-{len(self.accounts)}"
        self.accounts[name] = Account(habits or Habits(), **settings)
        return f"{self.url}/{name}/v1", self.accounts[name]


class _Answer(Exception):  # noqa: N818 - it carries an answer up to where it is sent
    def __init__(self, status: int, body: Any, **headers: str) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers


def _error(status: int, message: str, code: str | None = None, **headers: str) -> _Answer:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return _Answer(status, {"error": error}, **headers)


class _Dropped(Exception):  # noqa: N818 - see above
    """The connection closes without an answer."""


@dataclass
class _Request:
    """One request at one account."""

    account: Account
    method: str
    path: str
    query: dict[str, str]
    body: bytes
    kind: str

    @property
    def habits(self) -> Habits:
        return self.account.habits

    def answer(self) -> Any:
        time.sleep(self.habits.slow_seconds)
        if self.account.refuses:
            status, code = self.account.refuses
            raise _error(status, "Refused.", code)
        if self.habits.limits and self.account.random.random() < 1 / 3:
            after = {"retry_after": "1"} if self.habits.limits == "retry-after" else {}
            raise _error(429, "Too many requests.", "rate_limit_exceeded", **after)
        parts = self.path.strip("/").split("/")
        if parts[0] == "files":
            return self._upload() if self.method == "POST" else self._read_files(parts[1:])
        if parts[:2] == ["fine_tuning", "jobs"]:
            return self._job(parts[2], parts[3:]) if parts[2:] else self._jobs()
        if parts == ["chat", "completions"]:
            return self._chat()
        if parts[0] == "models":
            model = {"id": parts[-1], "object": "model", "created": 1, "owned_by": "org"}
            return model if len(parts) > 1 else {"object": "list", "data": [model]}
        raise _error(404, f"Invalid URL ({self.method} /v1/{self.path})")

    def _jobs(self) -> dict[str, Any]:
        if self.method == "POST":
            return self._create_job()
        if self.habits.no_list:
            raise _error(self.habits.no_list, "Invalid URL (GET /v1/fine_tuning/jobs)")
        return self._page(self.account.listed_jobs(self.query.get("metadata[run_key]")), "jobs")

    def _read_files(self, parts: list[str]) -> Any:
        if not parts:
            return self._page([self._file(file) for file in self.account.files.values()][::-1], "files")
        if parts[0].startswith("file-results-"):
            rows = "".join(f"{step},{1 / step:.5f},0.5,,\n" for step in range(1, STEPS + 1))
            return f"step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n{rows}".encode()
        if parts[0] not in self.account.files:
            raise _error(404, f"No such File object: {parts[0]}")
        return self._file(self.account.files[parts[0]])

    def _upload(self) -> dict[str, Any]:
        form = BytesParser(policy=HTTP).parsebytes(f"content-type: {self.kind}\r\n\r\n".encode() + self.body)
        part = next(
            part for part in form.iter_parts() if part.get_param("name", header="content-disposition") == "file"
        )
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        file_id = self.account.new_id("file")
        self.account.contents[file_id] = content
        self.account.files[file_id] = {"id": file_id, "filename": part.get_filename(), "bytes": len(content)}
        for _ in range(self.habits.strangers):
            self.account.add_stranger(file_id)
        return self._file(self.account.files[file_id])

    def _file(self, file: dict[str, Any]) -> dict[str, Any]:
        return {"object": "file", "created_at": 1, "purpose": "fine-tune", "status": "processed", **file}

    def _create_job(self) -> dict[str, Any]:
        body = json.loads(self.body)
        if self.habits.refused_jobs > 0:
            self.habits.refused_jobs -= 1
            if self.habits.refused_as == "quota":
                raise _error(429, "You exceeded your current quota.", "insufficient_quota")
            raise _error(int(self.habits.refused_as), "Not now.", "rate_limit_exceeded")
        if body["training_file"] not in self.account.files:
            raise _error(400, f"invalid training_file: {body['training_file']}")
        job = self.account.make_job(body)
        shown = self.account.shown(job)
        if self.habits.lost_answers > 0:
            self.habits.lost_answers -= 1
            self._lose_answer()
        return shown

    def _lose_answer(self) -> None:
        match self.habits.lost_as:
            case "drop":
                raise _Dropped
            case "slow":
                raise _Answer(200, "slow")
            case "html":
                raise _Answer(200, b"<html>log in first</html>")
            case status:
                raise _error(int(status), "The server had an error.")

    def _job(self, job_id: str, rest: list[str]) -> Any:
        job = self.account.jobs.get(job_id)
        if job is None or self.account.now() - job["made_at"] < self.habits.retrieve_lag_seconds:
            raise _error(404, f"Could not find fine tune: {job_id}", "fine_tune_not_found")
        match rest:
            case []:
                return self.account.shown(job)
            case ["events"]:
                if not self.habits.has_events:
                    raise _error(404, "Invalid URL")
                return self._page(self.account.events(job), "events")
            case ["checkpoints"]:
                return self._page([], "checkpoints")
            case ["cancel"]:
                if self.account.state(job) in _ENDED:
                    raise _error(400, "Job has already completed")
                job["ended_as"] = "cancelled"
                return self.account.shown(job)
        raise _error(404, "Invalid URL")

    def _chat(self) -> dict[str, Any]:
        body = json.loads(self.body)
        message = {
            "role": "assistant",
            "content": "refund" if body["model"].startswith("ft:") else "?",
            "refusal": None,
        }
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
        }

    def _page(self, items: list[dict[str, Any]], kind: str) -> dict[str, Any]:
        habits = self.habits
        largest = 10_000 if kind == "files" else _LARGEST_PAGE
        limit = min(int(self.query.get("limit") or _PAGE_SIZES[kind]), largest)
        after = None if habits.ignores_cursor else self.query.get("after")
        start = 0
        if after:
            places = [number for number, item in enumerate(items) if item["id"] == after]
            if not places and not habits.shifts:
                raise _error(404, f"No such object: {after}")
            start = max((places[0] if places else 0) + 1 - habits.page_overlap, 0)
            if start >= len(items) - habits.page_overlap and habits.page_overlap:
                start = len(items)
        data = items[start : start + limit]
        if habits.repeats_items:
            data = [item for item in data for _ in range(2)]
        if habits.shifts and kind == "jobs":
            self._shift()
        page: dict[str, Any] = {"object": "list", "data": data}
        has_more = start + limit < len(items)
        if habits.has_more != "missing":
            page["has_more"] = {"right": has_more, "true": True, "false": False}[habits.has_more]
        return page

    def _shift(self) -> None:
        others = [job_id for job_id, job in self.account.jobs.items() if job["made_by"] == "others"]
        if others and self.account.random.random() < 0.5:
            del self.account.jobs[self.account.random.choice(others[-50:])]
        else:
            body = {"model": "baseline-text", "training_file": self.account.new_id("file")}
            self.account.make_job(body, made_by="others")


def _handler_for(provider: Provider, slow_answer_seconds: float) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            url = urlsplit(self.path)
            name, _, path = url.path.lstrip("/").partition("/v1/")
            account = provider.accounts[name]
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            account.requests.append((self.command, f"/{path}"))
            try:
                with account.lock:
                    kind = self.headers.get("content-type") or ""
                    found = _Request(account, self.command, path, query, body, kind).answer()
                answer = _Answer(200, found)
            except _Answer as given:
                answer = given
            except _Dropped:
                self.close_connection = True
                return
            if (self.command, path) == ("POST", "fine_tuning/jobs"):
                account.held.wait(60)
            if answer.body == "slow":
                time.sleep(slow_answer_seconds)
                self.close_connection = True
                return
            self.reply(answer)

        do_GET = do_POST = do_DELETE = serve  # noqa: N815 - the names that http.server calls

        def reply(self, answer: _Answer) -> None:
            content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            kind = "text/html" if content.startswith(b"<html>") else "application/json"
            self.send_response(answer.status)
            self.send_header("content-type", kind)
            for header, value in answer.headers.items():
                self.send_header(header.replace("_", "-"), value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - http.server's own name
            """Say nothing."""

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed has hung up."""


@contextmanager
def billing_provider(*, slow_answer_seconds: float = 1.0) -> Iterator[Provider]:
    """Serve while the block runs."""
    provider = Provider()
    server = _Server(("127.0.0.1", 0), _handler_for(provider, slow_answer_seconds))
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
