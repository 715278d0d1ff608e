"""What databases look like from outside: by a watermark, or by their rows."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from postgresql import PostgreSQL
from sql_rows import needs_postgresql

from retune.config import DataConfig
from retune.errors import ConfigError, SourceError
from retune.watch.config import CountMethod, WatchConfig
from retune.watch.snapshot import SourceSnapshot, take_snapshot
from retune.watch.state import WatchState, count_by_rows, with_announcement

WATERMARK = "SELECT count(*) AS n, max(updated) AS latest FROM tickets"

Execute = Callable[[str], object]


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgreSQL]:
    with TemporaryDirectory(prefix="retune-postgresql-") as directory:
        cluster = PostgreSQL(Path(directory)).create()
        yield cluster
        cluster.stop()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=needs_postgresql)])
def database(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Execute]:
    if request.param == "sqlite":

        def execute(statement: str) -> None:
            with closing(sqlite3.connect(tmp_path / "tickets.db")) as connection, connection:
                connection.execute(statement)

        address, run = f"sqlite:///{tmp_path}/tickets.db", execute
    else:
        cluster: PostgreSQL = request.getfixturevalue("cluster")
        url = cluster.new_database()
        monkeypatch.setenv("TICKETS_PASSWORD", str(url.password))
        address = f"postgresql://retune:${{TICKETS_PASSWORD}}@127.0.0.1:{url.port}/{url.database}"
        run = lambda statement: cluster.execute(statement, str(url.database))  # noqa: E731
    run("CREATE TABLE tickets (id integer PRIMARY KEY, message text, label text, updated integer)")
    run("INSERT INTO tickets VALUES (1, 'where', 'here', 1), (2, 'who', 'me', 1)")
    return address, run


def by_rows(address: str) -> SourceSnapshot:
    return take_snapshot(DataConfig(source=address), WatchConfig())


def by_watermark(address: str, count: CountMethod = CountMethod.CONTENT, query: str = WATERMARK) -> SourceSnapshot:
    return take_snapshot(DataConfig(source=address), WatchConfig(watermark_query=query, count=count))


CHANGES = [
    "INSERT INTO tickets VALUES (3, 'when', 'now', 2)",
    "UPDATE tickets SET label = 'you', updated = 2 WHERE id = 2",
    "DELETE FROM tickets WHERE id = 2",
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("see", [by_rows, by_watermark])
def test_a_changed_table_is_noticed(
    database: tuple[str, Execute], see: Callable[[str], SourceSnapshot], change: str
) -> None:
    address, execute = database
    before = see(address)
    assert see(address) == before
    execute(change)
    assert see(address).fingerprint != before.fingerprint


def test_moved_row_does_not_change_the_fingerprint(database: tuple[str, Execute]) -> None:
    address, execute = database
    before = by_rows(address)
    execute("DELETE FROM tickets WHERE id = 1")
    execute("INSERT INTO tickets VALUES (1, 'where', 'here', 1)")
    assert by_rows(address) == before
    assert before.what == "2 rows"


def test_emptied_table_is_not_an_error(database: tuple[str, Execute]) -> None:
    address, execute = database
    execute("DELETE FROM tickets")
    assert by_rows(address).is_empty
    assert by_watermark(address, CountMethod.ROWS).is_empty
    assert not by_watermark(address).is_empty


def test_a_table_that_is_gone_is_an_error(database: tuple[str, Execute]) -> None:
    address, execute = database
    execute("ALTER TABLE tickets RENAME TO elsewhere")
    with pytest.raises(SourceError, match="tickets"):
        by_watermark(address)


def test_a_database_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        by_rows(f"sqlite:///{tmp_path}/nothing.db")
    with pytest.raises(SourceError):
        by_watermark("postgresql://retune@127.0.0.1:9/tickets")


@pytest.mark.parametrize(("change", "n_new"), list(zip(CHANGES, (1, 1, 0), strict=True)))
def test_new_rows_are_counted_without_reading_them(database: tuple[str, Execute], change: str, n_new: int) -> None:
    address, execute = database
    first = by_watermark(address, CountMethod.ROWS)
    counted = count_by_rows(WatchState(), first)
    assert (counted.n_examples, counted.n_new) == (2, 2)
    memory = with_announcement(WatchState(), counted, first, "event")
    execute(change)
    assert count_by_rows(memory, by_watermark(address, CountMethod.ROWS)).n_new == n_new


def test_a_watermark_without_a_number_of_rows_counts_nothing(database: tuple[str, Execute]) -> None:
    with pytest.raises(ConfigError, match="not a number of rows"):
        by_watermark(database[0], CountMethod.ROWS, "SELECT max(message) FROM tickets")
