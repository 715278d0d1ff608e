"""Idempotency-Key: the same key and the same request make one object, however often they come."""

import hashlib
import time

from sqlalchemy.orm import Session

from retune.server.api.errors import ApiError
from retune.server.storage.tables import IdempotencyRow


def hash_of(*parts: str) -> str:
    """Hash of what makes two requests the same."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogateescape")
        digest.update(len(data).to_bytes(8) + data)
    return digest.hexdigest()


def find(session: Session, kind: str, key: str | None, request_hash: str) -> str | None:
    """Id of the object that an earlier request with this key made; None where there was none, or no key.

    Raises:
        ApiError: 400: the key came with another request before.
    """
    row = session.get(IdempotencyRow, hash_of(kind, key)) if key else None
    if row is None:
        return None
    if row.request_hash != request_hash:
        raise ApiError(
            400,
            "This Idempotency-Key was already used with another request. Use a new key for a new request.",
            code="idempotency_key_reused",
        )
    return row.object_id


def remember(session: Session, kind: str, key: str | None, request_hash: str, object_id: str) -> None:
    """Keep what a request with a key made, in the transaction that made it."""
    if key:
        session.merge(
            IdempotencyRow(
                key=hash_of(kind, key), request_hash=request_hash, object_id=object_id, created_at=int(time.time())
            )
        )
