"""The keys that are good now, as every request needs them: from memory, a moment old at most."""

import asyncio
import hmac
import time
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from retune.server.storage.database import Database
from retune.server.storage.tables import ApiKeyRow

# A revoked key opens nothing any more after this time.
_MAX_AGE_SECONDS = 1.0
# A key that is not known may have been made a moment ago; whoever guesses keys must not make the database busy.
_MAX_AGE_OF_UNKNOWN_SECONDS = 0.1
_INDEX_BYTES = 8
_NOBODY = bytes(32)


@dataclass(frozen=True, slots=True)
class KeySet:
    """All keys at one moment.

    Attributes:
        any_made: A key was made once, even if it is revoked by now: a server never opens itself to all again.
        digests: SHA-256 of the good ones, by their first bytes.
        read_at: Monotonic time.
    """

    any_made: bool
    digests: dict[bytes, bytes]
    read_at: float

    def holds(self, digest: bytes) -> bool:
        """Whether one of them has this digest, compared in constant time."""
        return hmac.compare_digest(self.digests.get(digest[:_INDEX_BYTES], _NOBODY), digest)


class CurrentKeys:
    """Reads the keys of the database anew when they are too old."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reading = asyncio.Lock()
        self._keys: KeySet | None = None

    async def exist(self) -> bool:
        """Whether a key was ever made."""
        keys = self._keys
        if keys is None or time.monotonic() - keys.read_at > _MAX_AGE_SECONDS:
            keys = await self._refreshed(_MAX_AGE_SECONDS)
        return keys.any_made

    async def hold(self, digest: bytes) -> bool:
        """Whether a key with this digest is good."""
        keys = self._keys
        if keys is None or time.monotonic() - keys.read_at > _MAX_AGE_SECONDS:
            keys = await self._refreshed(_MAX_AGE_SECONDS)
        return keys.holds(digest) or (await self._refreshed(_MAX_AGE_OF_UNKNOWN_SECONDS)).holds(digest)

    async def _refreshed(self, max_age_seconds: float) -> KeySet:
        async with self._reading:
            keys = self._keys
            if keys is None or time.monotonic() - keys.read_at > max_age_seconds:
                keys = self._keys = await self._database.look_up(read_keys)
            return keys


def read_keys(session: Session) -> KeySet:
    """The keys of the database as they are now."""
    now = time.monotonic()
    rows = session.execute(select(ApiKeyRow.digest, ApiKeyRow.revoked_at)).all()
    good = [bytes.fromhex(digest) for digest, revoked_at in rows if revoked_at is None]
    return KeySet(any_made=bool(rows), digests={digest[:_INDEX_BYTES]: digest for digest in good}, read_at=now)
