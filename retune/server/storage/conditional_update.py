"""Changes of a row's status that are made only from where they may come, whoever else is at it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from retune.server.storage.tables import BatchRow, JobRow


def change_if(
    session: Session,
    table: type[JobRow] | type[BatchRow],
    row_id: str,
    was: Sequence[str],
    values: dict[str, Any],
) -> bool:
    """Give a row new values if its status is one of those that it `was`; False if it is another by now."""
    change = update(table).where(table.id == row_id, table.status.in_(was)).values(**values)
    return session.connection().execute(change).rowcount == 1
