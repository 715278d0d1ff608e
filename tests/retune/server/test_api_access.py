"""Who may use the server: callers with a key, and the web pages of listed origins."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from server_process import Answer, ServerProcess, StartServer
from typer.testing import CliRunner
from waiting import wait_for

from retune.cli.app import app
from retune.errors import ConfigError, ServerError
from retune.server.process.command import settings_from
from retune.server.storage.data_directory import DataDirectory

KEY_SHAPE = r"sk-retune-[\w-]{43}"
Keys = Callable[..., str]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Runs `retune server keys` on the test's data directory; what it printed."""

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(
            app, ["server", "keys", *arguments, "--data-dir", str(tmp_path / "data")], catch_exceptions=False
        )
        assert done.exit_code == 0, done.output
        return done.stdout.strip()

    return run


def status_with(server: ServerProcess, key: str) -> int:
    return server.request("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"}).status


def test_keys_are_created_and_revoked_while_the_server_runs(
    start_server: StartServer, keys: Keys, tmp_path: Path
) -> None:
    server: ServerProcess = start_server()
    assert server.request("GET", "/v1/models").status == 200

    key = keys("create", "the nightly job")

    assert re.fullmatch(KEY_SHAPE, key)
    wait_for(lambda: server.request("GET", "/v1/models").status == 401, "the server to ask for keys")
    assert status_with(server, key) == 200
    assert server.request("GET", "/v1/models", headers={"api-key": key}).status == 200
    wrong = server.request("GET", "/v1/models", headers={"Authorization": f"Bearer {key}x"})
    assert (wrong.status, wrong.error["code"]) == (401, "invalid_api_key")
    assert key not in wrong.content.decode()
    assert server.request("GET", "/metrics").status == 401
    assert server.request("GET", "/health").status == 200

    second = keys("create", "somebody else")
    assert wait_for(lambda: status_with(server, second) == 200, "the second key")
    listed = json.loads(keys("list", "--json"))
    assert [row["name"] for row in listed] == ["somebody else", "the nightly job"]
    assert listed[1]["hint"] == f"sk-retune-…{key[-4:]}"
    assert "revoked" in keys("list").splitlines()[0]
    keys("revoke", listed[1]["id"])
    wait_for(lambda: status_with(server, key) == 401, "the end of the first key")
    assert status_with(server, second) == 200

    keys("revoke", listed[0]["id"])
    wait_for(lambda: status_with(server, second) == 401, "the end of the second key")
    # The server does not open itself again with the last key's end.
    assert server.request("GET", "/v1/models").status == 401
    for path in (tmp_path / "data").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert key.encode() not in content
        assert second.encode() not in content


def test_a_key_can_be_created_before_the_first_start(
    start_server: StartServer, keys: Keys, refuse: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    status, said = refuse(tmp_path / "data", "--host", "0.0.0.0")  # noqa: S104  # it is refused
    assert (status, "needs an API key" in said) == (1, True)
    assert not (tmp_path / "data").exists()

    key = keys("create", "first")
    server: ServerProcess = start_server("--host", "0.0.0.0", "--api-key", "the-operators-own")  # noqa: S104  # it has keys

    assert status_with(server, key) == 200
    assert status_with(server, "the-operators-own") == 200
    assert status_with(server, "") == 401
    # Whoever asks from elsewhere calls the server by names that it can't know; the key is what counts.
    headers = {"Host": "models.example.com", "Authorization": f"Bearer {key}"}
    assert server.request("GET", "/v1/models", headers=headers).status == 200


def test_revoked_keys_do_not_allow_an_open_address(
    keys: Keys, refuse: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    keys("create", "gone")
    keys("revoke", json.loads(keys("list", "--json"))[0]["id"])

    status, said = refuse(tmp_path / "data", "--host", "0.0.0.0")  # noqa: S104  # it is refused

    assert status == 1
    assert "needs an API key" in said
    assert "retune server keys create" in said


def test_an_unknown_key_can_not_be_revoked(keys: Keys) -> None:
    keys("create", "another one")

    with pytest.raises(ServerError, match="There is no key key_nobody"):
        keys("revoke", "key_nobody")


def test_key_commands_create_no_database_next_to_that_of_the_server(keys: Keys, tmp_path: Path) -> None:
    # As a server leaves it that keeps its objects on PostgreSQL.
    DataDirectory(tmp_path / "data").create()
    DataDirectory(tmp_path / "data").prepare()

    for command in (("create", "lost"), ("list",), ("revoke", "key_1")):
        with pytest.raises(ServerError, match="it is on PostgreSQL") as caught:
            keys(*command)
        assert "RETUNE_SERVER_DATABASE_URL" in str(caught.value.hint)
    assert not (tmp_path / "data" / "server.sqlite").exists()


@pytest.mark.parametrize("command", [("list",), ("revoke", "key_1")])
def test_listing_keys_creates_no_database(keys: Keys, tmp_path: Path, command: tuple[str, ...]) -> None:
    with pytest.raises(ServerError, match="No server has used"):
        keys(*command)

    assert not (tmp_path / "data").exists()


LISTED = "https://app.example.com"
KEY = "sk-the-key-of-this-server"


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with a key, and a page that may use it."""
    data_directory = tmp_path_factory.mktemp("cors") / "data"
    environment = {"RETUNE_SERVER_API_KEY": KEY}
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


def test_a_listed_page_passes_the_preflight_and_reads_answers(listing: ServerProcess) -> None:
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


def test_a_listed_page_needs_the_key_and_reads_errors(listing: ServerProcess) -> None:
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
def test_other_pages_get_nothing(listing: ServerProcess, origin: str) -> None:
    asked = preflight(listing, origin)
    answered = listing.request("GET", "/v1/models", headers={"Origin": origin, "Authorization": f"Bearer {KEY}"})

    assert asked.status in {401, 404, 405}
    assert cors_headers(asked) == cors_headers(answered) == {}


def test_no_page_passes_the_preflight_by_default(server: ServerProcess) -> None:
    assert cors_headers(preflight(server, LISTED)) == {}
    assert cors_headers(preflight(server, "http://localhost:3000")) == {}


def test_a_server_without_a_key_answers_listed_pages_too(start_server: StartServer) -> None:
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
def test_an_invalid_origin_is_refused_on_start(origin: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--allow-origin"):
        settings_from({"data_directory": tmp_path, "allowed_origins": [origin]})
