"""Bytes first, then the rows that refer to them: whoever finds the row finds the bytes."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from retune.server.storage.content_store import Draft
from retune.server.storage.database import Database, DatabaseUnavailableError


@contextmanager
def recording(database: Database, draft: Draft) -> Iterator[Session]:
    """Bring a draft's bytes to disk, and give the writing session for the rows that refer to them.

    A block that finds its rows there already discards the draft by itself. Where the block or the commit fails, the
    bytes are dropped.

    Raises:
        OSError: The disk is full or failing.
        DatabaseUnavailableError: The database is away or too busy.
    """
    try:
        draft.keep()
        with database.write() as session:
            yield session
    except DatabaseUnavailableError:
        # It may have gone away just after the commit. Retention looks whether the rows are there.
        draft.abandon()
        raise
    except BaseException:
        draft.discard()
        raise
    draft.settle()
