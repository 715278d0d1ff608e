import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from server_process import ServerProcess, wait_for
from typer.testing import CliRunner

from retune.cli.app import app
from retune.errors import ServerError
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


def test_keys_come_and_go_while_the_server_runs(start_server, keys: Keys, tmp_path: Path):
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


def test_a_key_can_be_made_before_the_first_start(start_server, keys: Keys, refuse, tmp_path: Path):
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


def test_revoked_keys_are_no_keys_for_an_open_address(keys: Keys, refuse, tmp_path: Path):
    keys("create", "gone")
    keys("revoke", json.loads(keys("list", "--json"))[0]["id"])

    status, said = refuse(tmp_path / "data", "--host", "0.0.0.0")  # noqa: S104  # it is refused

    assert status == 1
    assert "needs an API key" in said
    assert "retune server keys create" in said


def test_an_unknown_key_can_not_be_revoked(keys: Keys):
    keys("create", "another one")

    with pytest.raises(ServerError, match="There is no key key_nobody"):
        keys("revoke", "key_nobody")


def test_no_database_is_made_where_a_server_has_another_one(keys: Keys, tmp_path: Path):
    # As a server leaves it that keeps its objects on PostgreSQL.
    DataDirectory(tmp_path / "data").create()
    DataDirectory(tmp_path / "data").prepare()

    for command in (("create", "lost"), ("list",), ("revoke", "key_1")):
        with pytest.raises(ServerError, match="it is on PostgreSQL") as caught:
            keys(*command)
        assert "RETUNE_SERVER_DATABASE_URL" in str(caught.value.hint)
    assert not (tmp_path / "data" / "server.sqlite").exists()


@pytest.mark.parametrize("command", [("list",), ("revoke", "key_1")])
def test_looking_for_keys_makes_no_database(keys: Keys, tmp_path: Path, command: tuple[str, ...]):
    with pytest.raises(ServerError, match="No server has used"):
        keys(*command)

    assert not (tmp_path / "data").exists()
