"""Web pages of other origins: those that the operator lists may use the server, and no others."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from server_process import Answer, ServerProcess

from retune.errors import ConfigError
from retune.server.process.command import settings_from

LISTED = "https://app.example.com"
KEY = "sk-the-key-of-this-server"


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory, compiled: dict[str, str]) -> Iterator[ServerProcess]:
    """A server with a key, and a page that may use it."""
    data_directory = tmp_path_factory.mktemp("cors") / "data"
    environment = {**compiled, "RETUNE_SERVER_API_KEY": KEY}
    server = ServerProcess(data_directory, ("--allow-origin", LISTED), environment).start()
    yield server
    assert server.end(15) == 0  # type: ignore[arg-type]  # SIGTERM


def preflight(server: ServerProcess, origin: str, **more: str) -> Answer:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang",
        **more,
    }
    return server.request("OPTIONS", "/v1/chat/completions", headers=headers)


def cors_headers(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def test_a_listed_page_gets_leave_and_reads_answers(listing: ServerProcess):
    asked = preflight(listing, LISTED, **{"Access-Control-Request-Private-Network": "true"})
    answered = listing.request("GET", "/v1/models", headers={"Origin": LISTED, "Authorization": f"Bearer {KEY}"})

    assert asked.status == 200
    assert asked.headers["access-control-allow-origin"] == LISTED
    assert asked.headers["access-control-allow-headers"] == "authorization,content-type,x-stainless-lang"
    assert asked.headers["access-control-allow-private-network"] == "true"
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert (answered.status, answered.headers["access-control-allow-origin"]) == (200, LISTED)
    assert "x-request-id" in answered.headers["access-control-expose-headers"]
    assert "origin" in answered.headers["vary"].lower()
    assert "access-control-allow-credentials" not in {**asked.headers, **answered.headers}


def test_a_listed_page_needs_the_key_and_reads_refusals(listing: ServerProcess):
    answer = listing.request("GET", "/v1/models", headers={"Origin": LISTED})

    assert (answer.status, answer.headers["access-control-allow-origin"]) == (401, LISTED)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://app.example.com",
        "https://app.example.com:444",
        "https://app.example.com.evil.example",
        "https://APP.example.com",
        "*",
        "",
    ],
)
def test_other_pages_get_nothing(listing: ServerProcess, origin: str):
    asked = preflight(listing, origin)
    answered = listing.request("GET", "/v1/models", headers={"Origin": origin, "Authorization": f"Bearer {KEY}"})

    assert asked.status in {401, 404, 405}
    assert cors_headers(asked) == cors_headers(answered) == {}


def test_no_page_gets_leave_by_default(server: ServerProcess):
    assert cors_headers(preflight(server, LISTED)) == {}
    assert cors_headers(preflight(server, "http://localhost:3000")) == {}


def test_a_server_without_a_key_answers_listed_pages_too(start_server: Callable[..., ServerProcess]):
    server = start_server(RETUNE_SERVER_ALLOWED_ORIGINS=f"{LISTED} http://localhost:3000")

    answer = server.request("GET", "/v1/models", headers={"Origin": LISTED})

    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, LISTED)
    assert server.request("GET", "/v1/models", headers={"Origin": "https://evil.example"}).status == 403
    rebound = server.request("GET", "/v1/models", headers={"Origin": LISTED, "Host": "evil.example"})
    assert rebound.status == 403


@pytest.mark.parametrize(
    "origin",
    [
        *("*", "null", "app.example.com", "https://app.example.com/", "https://*.example.com", "https://a@b"),
        *("HTTPS://A.B", "https://a:443", "http://a:80", "http://a:", "http://a:99999", "http://[::1", "http://a b"),
        *("http://a..b", "https://ä.example"),
    ],
)
def test_what_is_no_single_origin_is_refused_at_the_start(origin: str, tmp_path: Path):
    with pytest.raises(ConfigError, match="--allow-origin"):
        settings_from({"data_directory": tmp_path, "allowed_origins": [origin]})
