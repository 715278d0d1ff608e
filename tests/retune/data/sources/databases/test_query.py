"""What a query gives, and what a database refuses."""

import os
from collections.abc import Callable

import pytest
from postgresql import PostgreSQL
from sql_rows import TICKETS, needs_postgresql, read, values
from sqlalchemy import URL

from retune.config import DataConfig, SourceFormat
from retune.data.sources.databases.query import open_query
from retune.errors import SourceError


def test_a_query_gives_rows_in_its_order_with_numbers_from_1(database: str) -> None:
    source = open_query(DataConfig(source=database, query="SELECT message, label FROM tickets ORDER BY id;"))
    assert source.columns == ("message", "label")
    [file] = source.files
    assert (file.unit, file.format, file.bytes) == ("row", SourceFormat.SQL, None)
    [block] = source.blocks()
    assert [(row.number, *row.values.values()) for row in block.rows()] == [
        (number, *ticket) for number, ticket in enumerate(TICKETS, start=1)
    ]


def test_colons_and_percent_signs_in_a_query_are_its_own(database: str) -> None:
    assert values(database, "SELECT message, ':label %s %(a)s' FROM tickets WHERE message LIKE '%:-(%'") == [
        (TICKETS[1][0], ":label %s %(a)s")
    ]


def test_without_a_query_the_only_table_is_read(database: str) -> None:
    assert values(database) == [(number, *ticket) for number, ticket in enumerate(TICKETS, start=1)]
    assert values(database, "  ") == values(database)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT * FROM nothing", "nothing"),
        ("SELEC 1", "syntax error"),
        ("SELECT body FROM tickets", "body"),
    ],
)
def test_the_databases_own_words_are_shown_on_one_line(database: str, query: str, words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        read(database, query)
    assert "\n" not in str(caught.value)
    assert "sqlalche.me" not in str(caught.value)


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM tickets RETURNING *",
        "DELETE FROM tickets",
        "UPDATE tickets SET label = 'x' RETURNING *",
        "WITH gone AS (DELETE FROM tickets RETURNING *) SELECT * FROM gone",
        "DROP TABLE tickets",
        "SELECT 1; COMMIT; DELETE FROM tickets",
        "SELECT 1; ROLLBACK; BEGIN READ WRITE; DELETE FROM tickets; COMMIT",
    ],
)
def test_a_query_that_would_change_something_is_refused(database: str, query: str) -> None:
    with pytest.raises(SourceError):
        read(database, query)
    assert len(read(database, "SELECT * FROM tickets")) == len(TICKETS)


@needs_postgresql
def test_a_function_that_changes_something_is_refused(tickets: str, execute: Callable[[str], object]) -> None:
    execute("CREATE FUNCTION clear() RETURNS int LANGUAGE sql AS 'DELETE FROM tickets; SELECT 1'")
    with pytest.raises(SourceError, match="read-only transaction"):
        read(tickets, "SELECT clear()")
    assert len(read(tickets)) == len(TICKETS)


def test_two_columns_of_one_name_are_refused(database: str) -> None:
    with pytest.raises(SourceError, match=r'more than one column "id"\. Rename one with AS\.'):
        read(database, "SELECT a.id, b.id FROM tickets a, tickets b")


def test_no_rows_are_an_error(database: str) -> None:
    with pytest.raises(SourceError, match="gives no rows"):
        read(database, "SELECT * FROM tickets WHERE id < 0")


@needs_postgresql
def test_values_of_many_types_are_what_people_expect(address: str) -> None:
    query = """SELECT 1 AS i, 1.5::float8 AS f, 12.50::numeric AS n, 1e3::numeric AS e, 'NaN'::float8 AS nan,
        true AS b, NULL AS nothing, DATE '2026-01-31' AS d, TIMESTAMP '2026-01-31 12:30' AS t,
        TIMESTAMPTZ '2026-01-31 12:30+00' AT TIME ZONE 'UTC' AS z, TIME '12:30' AS clock, INTERVAL '1 day' AS span,
        'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS u, '{"a": [1, null]}'::jsonb AS j,
        '[{"role": "user"}]'::json AS messages, ARRAY['a', NULL] AS list, 'caf\u00e9'::bytea AS utf8,
        '\\xff'::bytea AS raw, inet '10.0.0.1' AS ip"""
    [row] = read(address, query)
    assert row.values == {
        "i": 1,
        "f": 1.5,
        "n": "12.50",
        "e": "1000",
        "nan": None,
        "b": True,
        "nothing": None,
        "d": "2026-01-31",
        "t": "2026-01-31 12:30:00",
        "z": "2026-01-31 12:30:00",
        "clock": "12:30:00",
        "span": "1 day, 0:00:00",
        "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "j": {"a": [1, None]},
        "messages": [{"role": "user"}],
        "list": ["a", None],
        "utf8": "café",
        "raw": b"\xff",
        "ip": "10.0.0.1",
    }


def test_text_that_is_not_utf8_is_one_bad_cell_and_not_the_end(sqlite: str) -> None:
    assert values(sqlite, "SELECT CAST(x'ff41' AS text), x'414243' UNION ALL SELECT 'b', 'c'") == [
        (b"\xffA", "ABC"),
        ("b", "c"),
    ]


@needs_postgresql
def test_several_tables_are_listed(tickets: str, execute: Callable[[str], object]) -> None:
    execute("CREATE TABLE users (id int)")
    with pytest.raises(SourceError, match=r"has the tables tickets, users\. Which rows\? .*--query"):
        read(tickets)


@needs_postgresql
def test_a_table_with_an_odd_name_is_read(address: str, execute: Callable[[str], object]) -> None:
    execute('CREATE TABLE "My ""Tickets" AS SELECT 1 AS n')
    assert values(address) == [(1,)]


@needs_postgresql
@pytest.mark.parametrize("change", ["password", "port", "database"])
def test_what_keeps_a_database_from_answering_is_said_without_secrets(
    tickets: str, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    source = tickets
    if change == "password":
        monkeypatch.setenv("TICKETS_PASSWORD", "s3cret/@:wrong")
    elif change == "port":
        source = source.replace("127.0.0.1:", "127.0.0.1:1").replace("127.0.0.1:1", "127.0.0.1:1", 1)
        source = source[: source.index("127.0.0.1:")] + "127.0.0.1:1/test_0"
    else:
        source += "_nowhere"
    with pytest.raises(SourceError) as caught:
        read(source)
    message = str(caught.value)
    expected = {"password": "authentication failed", "port": "refused", "database": "does not exist"}[change]
    assert expected in message
    assert os.environ["TICKETS_PASSWORD"] not in message
    assert "\n" not in message
    assert "retune:" not in message
    assert caught.value.__suppress_context__


@needs_postgresql
def test_a_whole_address_may_be_a_variable(tickets: str, cluster: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> None:
    url = URL.create("postgresql", "retune", "p@ss/word", "127.0.0.1", cluster.port, tickets.rpartition("/")[2])
    monkeypatch.setenv("TICKETS_URL", url.render_as_string(hide_password=False))
    source = open_query(DataConfig(source="${TICKETS_URL}"))
    assert source.name == source.files[0].name == "${TICKETS_URL}"
    assert len(source.sample()) == len(TICKETS)
    monkeypatch.setenv("TICKETS_URL", "postgresql://retune:s3cret@127.0.0.1:1/x")
    with pytest.raises(SourceError) as caught:
        read("${TICKETS_URL}")
    assert "s3cret" not in str(caught.value)


@needs_postgresql
def test_names_hold_no_user_and_no_password(tickets: str) -> None:
    assert open_query(DataConfig(source=tickets)).name == tickets.replace("retune:${TICKETS_PASSWORD}@", "")
