"""Databases with tickets, on SQLite and on a PostgreSQL of the tests' own."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from postgresql import PostgreSQL
from sql_rows import TICKETS, needs_postgresql
from sqlalchemy import create_engine, text

from retune.redaction.addresses import expand


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgreSQL]:
    # Not under pytest's own directory, which root's other users can't enter.
    with TemporaryDirectory(prefix="retune-postgresql-") as directory:
        cluster = PostgreSQL(Path(directory)).create()
        yield cluster
        cluster.stop()


@pytest.fixture
def address(cluster: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> str:
    url = cluster.new_database()
    assert url.password
    monkeypatch.setenv("TICKETS_PASSWORD", url.password)
    return f"postgresql://retune:${{TICKETS_PASSWORD}}@127.0.0.1:{url.port}/{url.database}"


@pytest.fixture
def execute(cluster: PostgreSQL, address: str) -> Callable[[str], object]:
    database = address.rpartition("/")[2]
    return lambda statement: cluster.execute(statement, database)


@pytest.fixture
def tickets(address: str, execute: Callable[[str], object]) -> str:
    execute("CREATE TABLE tickets (id serial PRIMARY KEY, message text, label text)")
    engine = create_engine(expand(address).replace("p@ss/word", "p%40ss%2Fword").replace(":", "+psycopg:", 1))
    with engine.begin() as connection:
        rows = [{"message": message, "label": label} for message, label in TICKETS]
        connection.execute(text("INSERT INTO tickets (message, label) VALUES (:message, :label)"), rows)
    engine.dispose()
    return address


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    path = tmp_path / "tickets 1%23#.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE tickets (id integer PRIMARY KEY, message text, label text)")
        connection.executemany("INSERT INTO tickets (message, label) VALUES (?, ?)", TICKETS)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", pytest.param("tickets", marks=needs_postgresql)])
def database(request: pytest.FixtureRequest) -> str:
    source: str = request.getfixturevalue(request.param)
    return source
