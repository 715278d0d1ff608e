"""A real chat completions host for the SDK to talk to, which answers and errs as a test says."""

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest
import pytest_asyncio
import uvicorn
from chat_host import Host
from fastapi import FastAPI, Response
from waiting import wait_for


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
