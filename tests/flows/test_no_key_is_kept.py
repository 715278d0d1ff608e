"""After a whole run the API key is nowhere: not in Prefect's database, its logs and artifacts, nor in any file."""

import json
import sqlite3
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_proxy import Fault, faulty_proxy
from key_receivers import key_receiver
from prefect.blocks.system import Secret
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, PREFECT_SERVER_DATABASE_CONNECTION_URL
from prefect_api import prefect_on_sqlite
from retrain_runs import configuration, events, flow_runs_on, log_of, write_tickets
from server_process import ServerProcess
from waiting import wait_for_async

from flows.retrain import retrain
from retune.errors import AuthenticationFailedError

pytestmark = [
    pytest.mark.slow,
    # Prefect leaves connections of its own to the garbage collector; ours are closed with their clients.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

KEY = "sk-recognisable-0123456789abcdef"


@pytest.fixture(scope="module", autouse=True)
def with_prefect_api() -> Iterator[None]:
    """On SQLite: a file shows what was ever written to it."""
    with prefect_on_sqlite():
        yield


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    # The stem is the data's label, by which the tests find their runs.
    return write_tickets(tmp_path / f"{tmp_path.name}.csv")


@pytest.fixture
def locked_server(tmp_path: Path) -> Iterator[str]:
    """A fine-tuning server that refuses whoever does not show the key."""
    server = ServerProcess(tmp_path / "server", environment={"RETUNE_SERVER_API_KEY": KEY}).start()
    yield server.base_url
    assert server.process
    server.process.terminate()
    server.process.communicate(timeout=60)


@pytest.fixture(params=["in the environment", "in a block"])
def key_is(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, locked_server: str) -> str:
    if request.param == "in the environment":
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", locked_server)
    return str(request.param)


def database() -> Path:
    return Path(str(PREFECT_SERVER_DATABASE_CONNECTION_URL.value()).partition("///")[2])


def places_with(text: str, *directories: Path) -> set[str]:
    """Tables of Prefect's database and files that hold a text, in whatever way it may have been written."""
    spellings = [text.encode(), urllib.parse.quote(text, safe="").encode(), text.encode("utf-16-le")]
    found = set()
    with sqlite3.connect(f"file:{database()}?mode=ro", uri=True) as connection:
        connection.text_factory = bytes
        names = [name.decode() for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            for row in connection.execute(f'SELECT * FROM "{name}"'):  # noqa: S608 - the database's own names
                cells = [cell if isinstance(cell, bytes) else str(cell).encode() for cell in row]
                if any(spelling in cell for spelling in spellings for cell in cells):
                    found.add(f"table {name}")
    connection.close()
    # The database's own files too: rows that were deleted, and what is only in its journal yet.
    files = [path for directory in directories for path in directory.rglob("*")] + list(
        database().parent.glob(f"{database().name}*")
    )
    found |= {
        str(path) for path in files if path.is_file() and any(spelling in path.read_bytes() for spelling in spellings)
    }
    return found


async def test_no_key_is_kept(
    locked_server: str, tickets: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, key_is: str
) -> None:
    provider = {}
    if key_is == "in a block":
        await key_block(KEY, locked_server).save("a-fine-tuning-key", overwrite=True)
        provider = {"api_key_block": "a-fine-tuning-key"}
    with caplog.at_level("DEBUG"):
        manifest = await retrain(configuration(locked_server, tickets, provider=provider))
    (run,) = await flow_runs_on(tickets)
    assert "successfully completed" in await log_of(run)
    await wait_for_async(lambda: events("retune.run.succeeded", str(run.id)), "the run's end")
    places = (manifest.directory, PREFECT_LOCAL_STORAGE_PATH.value(), tmp_path / "server")

    kept = places_with(manifest.job.id, *places)
    assert {"table log", "table artifact", "table events", "table flow_run"} <= kept
    assert str(manifest.report) in kept
    assert any(place.startswith(str(PREFECT_LOCAL_STORAGE_PATH.value())) for place in kept)
    assert places_with(KEY, *places) == set()
    assert KEY not in caplog.text


async def test_a_key_in_a_block_goes_to_its_own_address_only(locked_server: str, tickets: Path) -> None:
    with key_receiver() as other:
        await key_block(KEY, locked_server).save("a-key-of-its-own", overwrite=True)
        with pytest.raises(AuthenticationFailedError, match=f"is for {locked_server}, and .* is {other.base_url}"):
            await retrain(configuration(other.base_url, tickets, provider={"api_key_block": "a-key-of-its-own"}))
    assert other.requests == []


def key_block(key: str, base_url: str) -> Secret[str]:
    """As people store it in the UI."""
    return Secret(value=json.dumps({"api_key": key, "base_url": base_url}))


async def test_a_block_that_is_not_there_is_named(locked_server: str, tickets: Path) -> None:
    config = configuration(locked_server, tickets, provider={"api_key_block": "nobody-made-it"})
    with pytest.raises(AuthenticationFailedError, match=r"'nobody-made-it'.*Create it"):
        await retrain(config)


async def test_a_key_from_a_block_that_a_host_repeats_is_in_no_event(
    training_server: str, tickets: Path, tmp_path: Path
) -> None:
    body = b'{"error": {"message": "bad key %s", "type": "x", "param": null, "code": "invalid_api_key"}}' % KEY.encode()
    with faulty_proxy(training_server) as proxy:
        await key_block(KEY, proxy.base_url).save("repeated-key", overwrite=True)
        proxy.faults.append(Fault("POST", "/files", status=401, body=body))
        with pytest.raises(AuthenticationFailedError, match=r"bad key \[the API key\]"):
            await retrain(configuration(proxy.base_url, tickets, provider={"api_key_block": "repeated-key"}))
    (run,) = await flow_runs_on(tickets)
    (told,) = await wait_for_async(lambda: events("retune.run.failed", str(run.id)), "the failure")
    assert "bad key [the API key]" in told["error"]
    assert places_with(KEY, tmp_path) == set()
