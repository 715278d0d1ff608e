"""A database's query as a source."""

import math
import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from itertools import chain
from typing import Any
from weakref import finalize

from sqlalchemy import Connection, CursorResult, Engine, Select, inspect, literal_column, select, table
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from retune.config import DataConfig, SourceFormat
from retune.data.sources.blocks import BLOCK_BYTES, SAMPLE_ROWS, Block, Row, RowsBlock, Source, SourceFile
from retune.data.sources.bounds import Bounds, check_columns
from retune.data.sources.databases.engine import is_database, open_engine
from retune.errors import EmptySourceError, SourceError
from retune.redaction.addresses import Address

__all__ = ["is_database", "open_query"]

_FIRST_FETCH = 10
_MOST_ROWS_PER_FETCH = 1_000
# SQLite hands out row by row, so fetching few saves memory where they suddenly are large, and hardly takes time.
_MOST_SQLITE_ROWS_PER_FETCH = 8
_FETCH_BYTES = 1 << 20
_CELL_BYTES = 16  # what a cell takes beside its text, roughly
_MOST_TABLES_SHOWN = 20


def open_query(data: DataConfig, on_read: Callable[[int], None] = lambda _n: None) -> Source:
    """Run a query and look at its first rows.

    It runs in a transaction that is read-only where the database knows such a thing (PostgreSQL, SQLite), and is never
    committed, so that nothing in the database changes. Rows come through a cursor of the server's, where the driver has
    one: memory doesn't grow with the result. They are numbered from 1 as they come; only with ORDER BY is a number the
    same row next time.

    Args:
        data: `source` is the database's address as SQLAlchemy takes it; `postgresql://` means the driver psycopg.
            Without a `query` the only table there is, is read.
        on_read: Called whenever rows were read, with 0, now and later; it may raise, to stop the reading.

    Raises:
        SourceError: The database can't be reached, refuses the query, or gives more than the limits allow.
    """
    address = Address.of(data.source)
    if not is_database(data.source):
        raise SourceError(
            f"A query needs a database, but the source is {address.name}.",
            hint="Write its address, such as sqlite:///tickets.db; or leave the query out.",
        )
    return QuerySource(address, open_engine(address), (data.query or "").strip(), Bounds(data.limits, on_read))


class QuerySource(Source):
    """The result of a query, of which the first rows were read.

    Args:
        address: The database.
        engine: What connects to it.
        query: One SELECT; empty for the only table.
        bounds: How much may be read.

    Raises:
        SourceError: The database can't be reached, or refuses the query.
    """

    def __init__(self, address: Address, engine: Engine, query: str, bounds: Bounds) -> None:
        self.name = address.name
        self._run = partial(_Running, address, engine, query, bounds)
        running = self._run()
        first = next(running, None)
        if first is None:
            raise EmptySourceError(f"The query of {self.name} gives no rows.")
        columns = tuple(first.values[0].values)
        self.files = [SourceFile(self.name, "row", SourceFormat.SQL, None, columns)]
        self._sample = first.values[:SAMPLE_ROWS]
        # Kept until `blocks` continues with it, so that an expensive query runs once.
        self._opened: Iterator[Block] | None = chain([first], running)

    def blocks(self) -> Iterator[Block]:
        """Read everything, once, in order; another time runs the query again.

        Raises:
            SourceError: The database refuses to continue.
        """
        opened, self._opened = self._opened, None
        return opened or self._run()

    def sample(self) -> list[Row]:
        """The first rows, at most 100; reading them takes nothing away from `blocks`."""
        return list(self._sample)


class _Running(Iterator[RowsBlock]):
    """A query that runs, and that ends when this object goes, however it goes.

    Python's garbage collector may take a generator and its connection apart in any order, where they are in a cycle,
    and what the driver says to that is raised nowhere. `finalize` keeps the generator out of that: it is closed while
    all that it holds is still whole.
    """

    def __init__(self, address: Address, engine: Engine, query: str, bounds: Bounds) -> None:
        blocks = _run(address, engine, query, bounds)
        self._blocks = blocks
        finalize(self, blocks.close)

    def __next__(self) -> RowsBlock:
        return next(self._blocks)


def _run(address: Address, engine: Engine, query: str, bounds: Bounds) -> Generator[RowsBlock, None, None]:
    with _explaining(address, bounds), engine.connect() as connection:
        reading = _reading_only(connection, bounds)
        # Not through text(): it takes ":word" for a parameter, even inside quotes.
        with closing(reading.exec_driver_sql(query or _only_table(reading, address.name))) as result:
            if not result.returns_rows:
                raise SourceError(f"The query of {address.name} gives no rows; expected a SELECT.")
            try:
                last = yield from _blocks(result, _names(result, address.name), address.name, bounds)
            except GeneratorExit:
                # Nobody reads on. There is nothing to roll back, and the connection itself may be gone before.
                result.close()
                connection.invalidate()
                return
    # The connection is closed by now: most results are one block, and who looks at it may not ask for more.
    yield from last


def _only_table(connection: Connection, name: str) -> str:
    inspector = inspect(connection)
    tables = sorted(inspector.get_table_names() or inspector.get_view_names())
    if len(tables) == 1:
        every_row: Select[Any] = select(literal_column("*")).select_from(table(tables[0]))
        return str(every_row.compile(dialect=connection.dialect))
    if not tables:
        raise SourceError(f"{name} has no tables that can be seen.")
    more = f" and {len(tables) - _MOST_TABLES_SHOWN} more" if len(tables) > _MOST_TABLES_SHOWN else ""
    raise SourceError(
        f"{name} has the tables {', '.join(tables[:_MOST_TABLES_SHOWN])}{more}. Which rows?",
        hint='Say which with a query: --query "SELECT … FROM …".',
    )


def _names(result: CursorResult[Any], source: str) -> tuple[str, ...]:
    names = tuple(result.keys())
    check_columns(len(names), source)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SourceError(f'The query of {source} has more than one column "{twice}".', hint="Rename one with AS.")
    return names


@contextmanager
def _explaining(address: Address, bounds: Bounds) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        # SQLAlchemy's own text holds the statement, and may hold the address.
        # Its driver has no code for it in Python 3.11.
        if "string or blob too big" in str(error.orig):
            raise bounds.row_too_large(f"{address.name}: a cell") from None
        first_line = next(iter(str(error.orig).strip().splitlines()), type(error.orig).__name__)
        reason = address.hide(first_line).rstrip(".")
        raise SourceError(f"The database {address.name} says: {reason}.") from None
    except SQLAlchemyError as error:
        raise SourceError(f"{address.name} can't be read: {address.reason(error)}.") from None


def _reading_only(connection: Connection, bounds: Bounds) -> Connection:
    options: dict[str, Any] = {"stream_results": True, "no_parameters": True}
    if connection.dialect.name == "postgresql":
        options["postgresql_readonly"] = True
    elif connection.dialect.name == "sqlite":
        # Text that isn't UTF-8 would end the reading otherwise; as bytes it is one bad cell.
        driver: Any = connection.connection.driver_connection
        driver.text_factory = _decoded
        driver.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, bounds.row_bytes)
    return connection.execution_options(**options)


def _blocks(
    result: CursorResult[Any], names: Sequence[str], source: str, bounds: Bounds
) -> Generator[RowsBlock, None, list[RowsBlock]]:
    """Rows in blocks of about `BLOCK_BYTES`, fetched by size and not by number: one row may be a megabyte.

    Returns:
        The last block, which comes when the result is read; none where it has no rows left.
    """
    held: list[Row] = []
    held_bytes = number = read_bytes = 0
    most = _MOST_SQLITE_ROWS_PER_FETCH if result.dialect.name == "sqlite" else _MOST_ROWS_PER_FETCH
    fetch = min(_FIRST_FETCH, most)
    while rows := result.fetchmany(fetch):
        for cells in rows:
            number += 1
            row_bytes = sum(map(_size, cells))
            if row_bytes > bounds.row_bytes:
                raise bounds.row_too_large(f"{source}, row {number}")
            held.append(Row(number, {name: _value(cell) for name, cell in zip(names, cells, strict=True)}))
            held_bytes += row_bytes
            if held_bytes >= BLOCK_BYTES:
                yield RowsBlock(0, held, source_bytes=held_bytes)
                read_bytes += held_bytes
                held, held_bytes = [], 0
        bounds.count(source, read_bytes + held_bytes, None)
        fetch = min(most, max(1, _FETCH_BYTES * number // max(1, read_bytes + held_bytes)))
    return [RowsBlock(0, held, source_bytes=held_bytes)] if held else []


def _size(cell: Any) -> int:
    if isinstance(cell, str | bytes):
        return len(cell) + _CELL_BYTES
    return len(str(cell)) + _CELL_BYTES if isinstance(cell, dict | list) else _CELL_BYTES


def _value(cell: object) -> object:
    """What the cell is in JSON; what JSON has no word for, as databases show it. Bytes that aren't text stay bytes."""
    if cell is None or isinstance(cell, str | bool | int):
        return cell
    if isinstance(cell, float):
        return None if math.isnan(cell) else cell
    if isinstance(cell, dict):
        return {str(key): _value(item) for key, item in cell.items()}
    if isinstance(cell, list | tuple):
        return [_value(item) for item in cell]
    return _text(cell)


def _text(cell: object) -> object:
    if isinstance(cell, bytes | bytearray | memoryview):
        return _decoded(bytes(cell))
    if isinstance(cell, Decimal):
        return None if cell.is_nan() else format(cell, "f")
    if isinstance(cell, datetime):
        return cell.isoformat(sep=" ")
    return cell.isoformat() if isinstance(cell, date | time) else str(cell)


def _decoded(content: bytes) -> str | bytes:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content
