"""Deletes what has expired, and what killed servers left unfinished."""

import logging
import threading
import time
from typing import Final

from sqlalchemy import delete, exists, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from retune.server.api import idempotency
from retune.server.errors import ApiError
from retune.server.files import store as file_store
from retune.server.storage.content_store import ContentStore
from retune.server.storage.database import Database
from retune.server.storage.tables import FileRow, IdempotencyRow, UploadPartRow, WebhookDeliveryRow
from retune.server.uploads import store as upload_store
from retune.server.uploads.store import delete_parts_of_ended_uploads
from retune.server.webhooks import outbox

_log = logging.getLogger(__name__)
_INTERVAL_SECONDS = 60.0
_IDS_AT_ONCE: Final = 500  # databases limit the number of values in one statement
_ROWS_THAT_GO = ((IdempotencyRow, idempotency.outdated), (WebhookDeliveryRow, outbox.outdated))


class Retention:
    """Deletes what has expired and what was left behind, every minute. Background work.

    It deletes only what the database says is over, and drafts whose process is gone. A content that the database does
    not know is kept: the database may be the wrong one.
    """

    def __init__(self, database: Database, contents: ContentStore) -> None:
        self._database = database
        self._contents = contents
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention")

    def start(self) -> None:
        """Make room: drop what an earlier server left behind. Then begin."""
        self._drop_abandoned()
        self._drop_deleted()
        self._thread.start()

    def wake(self) -> None:
        """Do nothing: time alone makes things expire."""

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End the thread; a second call does nothing."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._look()
            except (SQLAlchemyError, ApiError, OSError) as error:
                _log.warning("Expired objects could not be deleted; retrying in a minute: %s", error)
            self._stopping.wait(_INTERVAL_SECONDS)

    def _look(self) -> None:
        self._drop_abandoned()
        self._drop_deleted()
        with self._database.read() as session:
            has_expired = file_store.has_expired(session) or upload_store.has_expired(session)
            has_outdated = _has_outdated_rows(session)
        if has_expired:
            self._expire()
        if has_outdated:
            with self._database.write() as session:
                delete_outdated_rows(session)
        delete_parts_of_ended_uploads(self._database, self._contents)

    def _drop_abandoned(self) -> None:
        abandoned = self._contents.drop_abandoned_drafts(self._is_referenced)
        if abandoned:
            _log.info("Deleted %d unfinished files of requests that were cut off", abandoned)

    def _expire(self) -> None:
        with self._database.write() as session:
            expired = file_store.mark_expired(session)
            upload_store.mark_expired(session)
        for file_id in expired:
            self._contents.remove(file_id)

    def _is_referenced(self, content_id: str) -> bool:
        with self._database.read() as session:
            return any(
                session.scalar(select(exists().where(table.id == content_id))) for table in (FileRow, UploadPartRow)
            )

    def _drop_deleted(self) -> None:
        # Bytes outlive a deletion where a job still reads them, or where a server was killed just after the commit.
        content_ids = self._contents.content_ids()
        for start in range(0, len(content_ids), _IDS_AT_ONCE):
            with self._database.read() as session:
                unneeded = file_store.find_unneeded(session, content_ids[start : start + _IDS_AT_ONCE])
            for file_id in unneeded:
                self._contents.remove(file_id)


def delete_outdated_rows(session: Session) -> None:
    """Delete the rows that nothing will request again."""
    now = int(time.time())
    for table, outdated in _ROWS_THAT_GO:
        session.execute(delete(table).where(outdated(now)))


def _has_outdated_rows(session: Session) -> bool:
    now = int(time.time())
    return any(session.scalar(select(exists().where(outdated(now)))) for _, outdated in _ROWS_THAT_GO)
