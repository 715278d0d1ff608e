"""A real chat completions host for the SDK to talk to, which answers and errs as a test says."""

import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import openai
import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from waiting import wait_for

Behaviour = Callable[[dict[str, Any], int], Response]


class Host:
    """Answers by `behave(request body, how often this prompt was asked)` and remembers what it was asked."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.behave: Behaviour = lambda body, _attempt: completion(f"answer to {last_user_text(body)}")
        self.requests: list[dict[str, Any]] = []
        self.most_at_once = 0
        self.delay_seconds = 0.0
        self._under_way = 0
        self._lock = threading.Lock()

    def asked(self) -> list[str]:
        return [last_user_text(body) for body in self.requests]

    def answer(self, body: dict[str, Any]) -> Response:
        with self._lock:
            self.requests.append(body)
            attempt = self.asked().count(last_user_text(body))
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            time.sleep(self.delay_seconds)
            return self.behave(body, attempt)
        finally:
            with self._lock:
                self._under_way -= 1


def last_user_text(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def completion(content: str | None, **message: Any) -> Response:
    return JSONResponse(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": content, "refusal": None, **message},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14},
        }
    )


def failure(
    status: int, message: str, *, code: str | None = None, param: str | None = None, **headers: str
) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return JSONResponse({"error": error}, status_code=status, headers=named)


@pytest.fixture
def reply() -> Callable[..., Response]:
    return completion


@pytest.fixture
def refuse() -> Callable[..., Response]:
    return failure


@pytest.fixture(scope="module")
def hosting() -> Iterator[tuple[FastAPI, str]]:
    app = FastAPI()

    @app.post("/v1/chat/completions")
    def answer(body: dict[str, Any]) -> Response:
        host: Host = app.state.host
        return host.answer(body)

    # Without the protocol asyncio leaves Nagle on, and every answer comes 40 ms late.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    wait_for(lambda: server.started, "the server")
    yield app, f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture
def host(hosting: tuple[FastAPI, str]) -> Host:
    app, base_url = hosting
    app.state.host = Host(base_url)
    return app.state.host  # type: ignore[no-any-return]


@pytest_asyncio.fixture
async def client(host: Host) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=host.base_url, api_key="sk-secret-key", max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture
def unused_port() -> Iterator[int]:
    with socket.socket() as bound_but_not_listening:
        bound_but_not_listening.bind(("127.0.0.1", 0))
        yield bound_but_not_listening.getsockname()[1]
