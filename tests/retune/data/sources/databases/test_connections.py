"""How often a query runs, how much of it is held, and when its connection is closed."""

import gc
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sql_rows import TICKETS, needs_postgresql, read, values
from sqlalchemy import create_engine, text
from waiting import wait_for

from retune.config import DataConfig
from retune.data.sources.blocks import BLOCK_BYTES
from retune.data.sources.databases.query import open_query
from retune.errors import SourceError


def many_rows(database: str) -> str:
    """A query for 3,000 rows of 10 kB."""
    text = "printf('%.*c', 10000, 'x')" if "sqlite" in database else "repeat('x', 10000)"
    return f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT i, {text} FROM n"  # noqa: S608


def test_the_first_rows_are_looked_at_without_running_the_query_again(database: str) -> None:
    source = open_query(DataConfig(source=database, query="SELECT random() AS r FROM tickets"))
    seen = [row.values for row in source.sample()]
    assert [row.values for block in source.blocks() for row in block.rows()] == seen
    assert [row.values for row in source.sample()] == seen
    again = [row.values for block in source.blocks() for row in block.rows()]
    assert len(again) == len(seen)
    assert again != seen


def test_rows_come_in_blocks_of_a_few_megabytes(database: str) -> None:
    source = open_query(DataConfig(source=database, query=many_rows(database)))
    assert len(source.sample()) == 100
    numbers = []
    tracemalloc.start()
    for block in source.blocks():
        assert block.source_bytes < BLOCK_BYTES + 20_000
        numbers += [row.number for row in block.rows()]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert numbers == list(range(1, 3001))
    assert peak < 5 * BLOCK_BYTES < 3000 * 10_000


@needs_postgresql
def test_a_source_that_is_not_read_to_its_end_leaves_no_connection_open(tickets: str) -> None:
    query = "SELECT i, repeat('x', 10000) FROM generate_series(1, 3000) AS i"
    source = open_query(DataConfig(source=tickets, query=query))
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    assert values(tickets, others) == [(1,)]
    del source
    wait_for(lambda: values(tickets, others) == [(0,)], "the end of the connection")


@pytest.mark.slow
def test_the_garbage_collector_finds_nothing_to_complain_of(
    database: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # What other tests left behind is not for this one to complain of.
    gc.collect()
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    for is_started in (False, True):
        source = open_query(DataConfig(source=database, query=many_rows(database)))
        blocks = source.blocks()
        if is_started:
            next(blocks)
        cycle = [source, blocks]
        cycle.append(cycle)
        # What it has looked at before, it goes through in another order.
        gc.collect()
        del source, blocks, cycle
        gc.collect()
    assert complaints == []
    assert caplog.records == []  # SQLAlchemy says here what went wrong in closing.


@needs_postgresql
def test_a_result_of_one_block_leaves_the_connection_at_once(tickets: str) -> None:
    source = open_query(DataConfig(source=tickets, query="SELECT * FROM tickets"))
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    wait_for(lambda: values(tickets, others) == [(0,)], "the end of the connection")
    assert len(source.sample()) == len(TICKETS)


@needs_postgresql
def test_a_database_that_goes_away_is_an_error_and_not_the_end(tickets: str, execute: Callable[[str], object]) -> None:
    source = open_query(
        DataConfig(source=tickets, query="SELECT i, repeat('x', 10000) FROM generate_series(1, 3000) AS i")
    )
    blocks = source.blocks()
    next(blocks)
    execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    with pytest.raises(SourceError, match=r"The database .* says: "):
        list(blocks)


def test_the_database_is_left_as_it_was(sqlite: str, tmp_path: Path) -> None:
    [path] = tmp_path.glob("*.sqlite")
    before = path.read_bytes()
    read(sqlite)
    assert path.read_bytes() == before
    with closing(create_engine(f"sqlite:///{path}").connect()) as connection:
        assert connection.execute(text("SELECT count(*) FROM tickets")).scalar() == len(TICKETS)
