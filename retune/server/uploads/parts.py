"""The bytes of parts that nobody can use any more."""

from retune.server.storage.content_store import ContentStore
from retune.server.storage.database import Database
from retune.server.uploads import store as upload_store

_AT_ONCE = 500


def drop_parts_of_ended_uploads(database: Database, contents: ContentStore) -> None:
    """Delete the parts of all uploads that are completed, cancelled or expired: first their bytes, then their rows."""
    while True:
        with database.read() as session:
            part_ids = upload_store.parts_of_ended_uploads(session, limit=_AT_ONCE)
        if not part_ids:
            return
        for part_id in part_ids:
            contents.remove(part_id)
        with database.write() as session:
            upload_store.forget_parts(session, part_ids)
