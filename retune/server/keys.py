"""API keys that an operator creates and revokes; the database holds only their hashes.

Requests are checked against keys in memory that are at most a second old.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from retune.errors import ServerError
from retune.server import ids
from retune.server.storage.database import Database
from retune.server.storage.tables import ApiKeyRow

_PREFIX = "sk-retune-"
_RANDOM_BYTES = 32
_HINT_CHARACTERS = 4
# A revoked key is refused after this time at the latest.
_MAX_AGE_SECONDS = 1.0
# An unknown key may be brand new; guessing keys must not overload the database.
_MAX_AGE_OF_UNKNOWN_SECONDS = 0.1
_INDEX_BYTES = 8
_NOBODY = bytes(32)


def digest_of(key: str) -> bytes:
    """The SHA-256 of a key, which is all that is stored. A key is 256 random bits: a slow hash adds no protection."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def add_key(session: Session, name: str) -> tuple[ApiKeyRow, str]:
    """Make a key.

    Returns:
        Its row, and the key itself, which can't be read again later.
    """
    key = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    row = ApiKeyRow(
        id=ids.new_id("key_"),
        name=name,
        digest=digest_of(key).hex(),
        hint=f"{_PREFIX}…{key[-_HINT_CHARACTERS:]}",
        created_at=int(time.time()),
        revoked_at=None,
    )
    session.add(row)
    session.flush()
    return row, key


def list_keys(session: Session) -> Sequence[ApiKeyRow]:
    """All keys that were ever made, newest first."""
    return session.scalars(select(ApiKeyRow).order_by(ApiKeyRow.position.desc())).all()


def revoke_key(session: Session, key_id: str) -> ApiKeyRow:
    """Revoke a key; does nothing if it is revoked already.

    Raises:
        ServerError: There is no such key.
    """
    row = session.scalar(select(ApiKeyRow).where(ApiKeyRow.id == key_id))
    if row is None:
        raise ServerError(f"There is no key {key_id}.", hint="`retune server keys list` shows the ids of all keys.")
    row.revoked_at = row.revoked_at or int(time.time())
    return row


@dataclass(frozen=True, slots=True)
class KeySet:
    """All keys at one moment.

    Attributes:
        any_created: A key was made once, even if it is revoked by now: a server never opens itself to all again.
        digests: SHA-256 of the good ones, by their first bytes.
        read_at: Monotonic time.
    """

    any_created: bool
    digests: dict[bytes, bytes]
    read_at: float

    def contains(self, digest: bytes) -> bool:
        """Whether one of them has this digest, compared in constant time."""
        return hmac.compare_digest(self.digests.get(digest[:_INDEX_BYTES], _NOBODY), digest)


class CurrentKeys:
    """The keys of the database, read again when they are too old."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reading = asyncio.Lock()
        self._keys: KeySet | None = None

    async def any_created(self) -> bool:
        """Whether a key was ever made."""
        keys = self._keys
        if keys is None or time.monotonic() - keys.read_at > _MAX_AGE_SECONDS:
            keys = await self._refreshed(_MAX_AGE_SECONDS)
        return keys.any_created

    async def contains(self, digest: bytes) -> bool:
        """Whether a key with this digest is good."""
        keys = self._keys
        if keys is None or time.monotonic() - keys.read_at > _MAX_AGE_SECONDS:
            keys = await self._refreshed(_MAX_AGE_SECONDS)
        return keys.contains(digest) or (await self._refreshed(_MAX_AGE_OF_UNKNOWN_SECONDS)).contains(digest)

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
    return KeySet(any_created=bool(rows), digests={digest[:_INDEX_BYTES]: digest for digest in good}, read_at=now)
