import sys
from pathlib import Path

import pytest

from retune.config import DataConfig
from retune.data.sources.blocks import Block
from retune.data.sources.databases.query import is_database, open_query
from retune.errors import SourceError


def read(source: str, query: str | None = None) -> list[Block]:
    return list(open_query(DataConfig(source=source, query=query)).blocks())


def test_an_empty_database_has_no_tables(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    with pytest.raises(SourceError, match="has no tables"):
        read(f"sqlite:///{tmp_path}/empty.db")


def test_a_sqlite_file_that_is_missing_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "tickets.db").touch()
    with pytest.raises(SourceError, match=r"There is no file .*ticket\.db\. Did you mean tickets\.db\?"):
        read(f"sqlite:///{tmp_path}/ticket.db")
    assert [path.name for path in tmp_path.iterdir()] == ["tickets.db"]
    with pytest.raises(SourceError, match=r"There is no folder .*nowhere either"):
        read(f"sqlite:///{tmp_path}/nowhere/ticket.db")
    with pytest.raises(SourceError, match="is not a file"):
        read(f"sqlite:///{tmp_path}")


def test_file_that_is_not_a_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tickets.csv").write_text("message,label\n" * 100)
    with pytest.raises(SourceError, match="file is not a database"):
        read(f"sqlite:///{tmp_path}/tickets.csv")


@pytest.mark.parametrize("source", ["sqlite://", "sqlite:///:memory:"])
def test_database_in_memory_is_refused(source: str) -> None:
    with pytest.raises(SourceError, match="names no file"):
        read(source)


def test_a_query_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"A query needs a database, but the source is .*tickets\.csv\."):
        read(str(tmp_path / "tickets.csv"), "SELECT 1")


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(SourceError, match="needs the environment variable NO_SUCH_PASSWORD, which is not set"):
        read("postgresql://u:${NO_SUCH_PASSWORD}@127.0.0.1/x")


@pytest.mark.parametrize("source", ["postgresql://u@host:port/x", "postgresql://[::1/x"])
def test_invalid_database_address_is_explained(source: str) -> None:
    with pytest.raises(SourceError, match="can't be read as a database's address: expected postgresql://"):
        read(source)


def test_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SourceError, match=r'driver psycopg is missing.*pip install "retune\[postgresql\]"'):
        read("postgresql://127.0.0.1/x")


def test_a_missing_dialect_is_named() -> None:
    with pytest.raises(SourceError, match="SQLAlchemy knows no database snowflake"):
        read("snowflake://account/x")


def test_a_driver_for_asynchronous_programs_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("aiosqlite")
    (tmp_path / "tickets.db").touch()
    with pytest.raises(SourceError, match=r"for asynchronous programs\. Leave it out: sqlite://"):
        read(f"sqlite+aiosqlite:///{tmp_path}/tickets.db")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("postgresql://host/db", True),
        ("postgres://host/db", True),
        ("postgresql+psycopg://host/db", True),
        ("sqlite:///tickets.db", True),
        ("mysql+pymysql://host/db", True),
        ("duckdb:///x.db", True),
        ("s3://bucket/x.csv", False),
        ("https://host/x.csv", False),
        ("file:///x.csv", False),
        ("memory://x.csv", False),
        ("tickets.csv", False),
        ("postgresql", False),
        ("a+b.csv", False),
        ("${NO_SUCH_VARIABLE}", False),
        ("${FOLDER}/x.csv", False),
        ("${URL}", True),
    ],
)
def test_database_addresses_are_distinguished_from_files(
    source: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("URL", "postgresql://host/db")
    monkeypatch.setenv("FOLDER", "data")
    assert is_database(source) is expected
