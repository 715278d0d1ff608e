"""What the tests of databases read, and how."""

from typing import Any

import postgresql
import pytest

from retune.config import DataConfig
from retune.data.sources.blocks import Row
from retune.data.sources.databases.query import open_query

TICKETS = [("Where is my card?", "card"), ("It's 100% gone :-( \\x", "refund"), ("カード", None)]

needs_postgresql = pytest.mark.skipif(postgresql.missing() is not None, reason=str(postgresql.missing()))


def read(source: str, query: str | None = None) -> list[Row]:
    """Every row of a query, or of the only table."""
    opened = open_query(DataConfig(source=source, query=query))
    return [row for block in opened.blocks() for row in block.rows()]


def values(source: str, query: str | None = None) -> list[tuple[Any, ...]]:
    """Their cells."""
    return [tuple(row.values.values()) for row in read(source, query)]
