"""What goes by itself: files and uploads past their time, and what servers left half done when they were killed."""

import logging
import threading
from collections.abc import Sequence

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from retune.server.api.errors import ApiError
from retune.server.files import store as file_store
from retune.server.storage.content_store import ContentStore
from retune.server.storage.database import Database
from retune.server.uploads import store as upload_store
from retune.server.uploads.parts import drop_parts_of_ended_uploads

_log = logging.getLogger(__name__)
_INTERVAL_SECONDS = 60.0


class Retention:
    """Deletes what has expired and what was left behind, every minute. Background work.

    It deletes only what the database says is over, and drafts whose process is gone. A content that the database does
    not know is left alone: it may be the database that is the wrong one.
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

    def stop(self) -> None:
        """End the thread; a second time does nothing."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._look()
            except (SQLAlchemyError, ApiError, OSError) as error:
                _log.warning("What has expired could not be deleted, and will be tried again: %s", error)
            self._stopping.wait(_INTERVAL_SECONDS)

    def _look(self) -> None:
        self._drop_abandoned()
        with self._database.read() as session:
            is_due = file_store.has_expired(session) or upload_store.has_expired(session)
        if is_due:
            self._expire()
        drop_parts_of_ended_uploads(self._database, self._contents)

    def _drop_abandoned(self) -> None:
        abandoned = self._contents.drop_abandoned_drafts(self._is_referenced)
        if abandoned:
            _log.info("Dropped %d unfinished files of requests that were cut off", abandoned)

    def _expire(self) -> None:
        with self._database.write() as session:
            expired = file_store.mark_expired(session)
            upload_store.mark_expired(session)
        for file_id in expired:
            self._contents.remove(file_id)

    def _is_referenced(self, content_id: str) -> bool:
        with self._database.read() as session:
            return upload_store.refers_to(session, content_id)

    def _drop_deleted(self) -> None:
        # A server that was killed between a deletion's commit and its end left the bytes.
        content_ids = self._contents.content_ids()
        with self._database.read() as session:
            deleted = _deleted_among(session, content_ids)
        for file_id in deleted:
            self._contents.remove(file_id)


def _deleted_among(session: Session, content_ids: Sequence[str]) -> list[str]:
    portion = 500  # databases take only so many values in one statement
    portions = (content_ids[start : start + portion] for start in range(0, len(content_ids), portion))
    return [file_id for ids in portions for file_id in file_store.deleted_among(session, ids)]
