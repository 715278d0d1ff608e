"""Creating once: the same request, sent again, finds what its first copy made.

A client says so with `Idempotency-Key`. The official SDKs send no such key, yet repeat a POST whose answer they missed;
they count the copies in `x-stainless-retry-count`, and that is taken for the same word for a while.
"""

import hashlib
import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header
from sqlalchemy.orm import Session

from retune.server.api.errors import ApiError
from retune.server.storage.tables import IdempotencyRow

# An SDK gives up within two retries of ten minutes each, its longest timeout unless told otherwise.
_RETRY_WINDOW_SECONDS = 30 * 60


@dataclass(frozen=True, slots=True)
class Sender:
    """What tells copies of one request from two requests that are alike.

    Attributes:
        key: The client's Idempotency-Key.
        is_retry: The SDK says that it has sent this before.
        identity: Hash of the caller's key: copies come from one caller.
    """

    key: str | None
    is_retry: bool
    identity: str


def hash_of(*parts: str) -> str:
    """Hash of what makes two requests the same."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogateescape")
        digest.update(len(data).to_bytes(8) + data)
    return digest.hexdigest()


def find(session: Session, kind: str, sender: Sender, request_hash: str) -> str | None:
    """Id of the object that an earlier copy of this request made; None where there was none.

    Raises:
        ApiError: 400: the key came with another request before.
    """
    if not sender.key and not sender.is_retry:
        return None
    row = session.get(IdempotencyRow, _name(kind, sender, request_hash))
    if row is None:
        return None
    if row.request_hash != request_hash:
        raise ApiError(
            400,
            "This Idempotency-Key was already used with another request. Use a new key for a new request.",
            code="idempotency_key_reused",
        )
    is_outdated = not sender.key and row.created_at < time.time() - _RETRY_WINDOW_SECONDS
    return None if is_outdated else row.object_id


def remember(session: Session, kind: str, sender: Sender, request_hash: str, object_id: str) -> None:
    """Keep what a request made, in the transaction that made it."""
    session.merge(
        IdempotencyRow(
            key=_name(kind, sender, request_hash),
            request_hash=request_hash,
            object_id=object_id,
            created_at=int(time.time()),
        )
    )


def _name(kind: str, sender: Sender, request_hash: str) -> str:
    return hash_of(kind, sender.key) if sender.key else hash_of("retry", kind, sender.identity, request_hash)


def _sender_of(
    idempotency_key: Annotated[str | None, Header()] = None,
    x_stainless_retry_count: Annotated[str | None, Header()] = None,
    authorization: Annotated[str | None, Header()] = None,
    api_key: Annotated[str | None, Header()] = None,
) -> Sender:
    is_retry = (x_stainless_retry_count or "0").strip() != "0"
    return Sender(idempotency_key or None, is_retry, hash_of(authorization or api_key or ""))


SenderOf = Annotated[Sender, Depends(_sender_of)]
