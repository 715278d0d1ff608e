"""Making, listing and revoking keys."""

import hashlib
import secrets
import time
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from retune.errors import ServerError
from retune.server import ids
from retune.server.storage.tables import ApiKeyRow

_PREFIX = "sk-retune-"
_RANDOM_BYTES = 32
_HINT_CHARACTERS = 4


def digest_of(key: str) -> bytes:
    """What of a key is kept: its SHA-256. A key is 256 random bits, so that a slow hash would protect nothing more."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def add_key(session: Session, name: str) -> tuple[ApiKeyRow, str]:
    """Make a key.

    Returns:
        Its row, and the key itself, which nobody can read again later.
    """
    key = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    row = ApiKeyRow(
        id=ids.new_key_id(),
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
    """Take a key back for good; a second time does nothing.

    Raises:
        ServerError: There is no such key.
    """
    row = session.scalar(select(ApiKeyRow).where(ApiKeyRow.id == key_id))
    if row is None:
        raise ServerError(f"There is no key {key_id}.", hint="`retune server keys list` shows the ids of all keys.")
    row.revoked_at = row.revoked_at or int(time.time())
    return row
