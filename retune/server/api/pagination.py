"""Lists by cursor: a page starts after the object named by `after`."""

from collections.abc import Sequence
from typing import Annotated, Literal, NotRequired, TypedDict, TypeVar

from fastapi import Query
from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Session

from retune.server.errors import ApiError
from retune.server.storage.tables import BatchRow, CheckpointPermissionRow, CheckpointRow, EventRow, FileRow, JobRow

Row = TypeVar("Row", FileRow, JobRow, EventRow, CheckpointRow, BatchRow, CheckpointPermissionRow)

MAX_LIMIT = 10_000
After = Annotated[str | None, Query()]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]


def page(
    session: Session,
    query: Select[tuple[Row]],
    table: type[Row],
    *,
    after: str | None,
    limit: int,
    ascending: bool = False,
    within: ColumnElement[bool] | None = None,
) -> tuple[Sequence[Row], bool]:
    """Take one page of a query, newest first unless `ascending`.

    Args:
        session: Where to ask.
        query: All rows that the list shows.
        table: Whose rows they are.
        after: Id of the last object of the page before; None for the first page.
        limit: Most objects of a page.
        ascending: Oldest first.
        within: What a row named by `after` must meet. It need not be shown any more: who deletes files while
            listing them keeps a good cursor.

    Returns:
        The page's rows, and whether there are more behind them.

    Raises:
        ApiError: 400: the list never held an object of the id `after`.
    """
    position = table.position
    if after is not None:
        start = _position(session, table, after, within)
        query = query.where(position > start if ascending else position < start)
    query = query.order_by(position.asc() if ascending else position.desc()).limit(limit + 1)
    rows = session.scalars(query).all()
    return rows[:limit], len(rows) > limit


class _Identified(TypedDict):
    id: str


class ListObject(TypedDict):
    """The list envelope."""

    object: Literal["list"]
    data: Sequence[_Identified]
    has_more: bool
    first_id: NotRequired[str | None]
    last_id: NotRequired[str | None]


def list_object(data: Sequence[_Identified], *, has_more: bool, ends: bool = False) -> ListObject:
    """The list envelope; `ends` adds `first_id` and `last_id`."""
    envelope: ListObject = {"object": "list", "data": list(data), "has_more": has_more}
    if ends:
        envelope["first_id"] = data[0]["id"] if data else None
        envelope["last_id"] = data[-1]["id"] if data else None
    return envelope


def _position(session: Session, table: type[Row], after: str, within: ColumnElement[bool] | None) -> int:
    cursor = select(table.position).where(table.id == after)
    found = session.scalar(cursor if within is None else cursor.where(within))
    if found is None:
        raise ApiError(400, f"Invalid value for 'after': there is no object '{after}' in this list.", param="after")
    return found
