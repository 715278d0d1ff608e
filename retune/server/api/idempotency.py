"""Creating once: the same request, sent again, finds what its first copy made.

A client says so with `Idempotency-Key`, which is its own: other callers may use the same.

The official SDKs send no such key, yet repeat a POST whose answer they missed, and count the copies in
`x-stainless-retry-count`. A copy without a key finds only what the first copy of its own call can have made:

* Something that an equal request of the same caller made last. Whatever a later one makes takes its place, and one
  that is refused leaves nothing to find: its copies must not be told of something older.
* No longer ago than an SDK waits: for its answer, as it says in `x-stainless-read-timeout`, and before it asks again.
* Something that no client has ended: who cancelled a job, or completed an upload, had its answer. What ended by itself
  is found: a small job may be done before its copy comes, and must not be paid for twice.

Two alike requests at once that both lose their answers can't be told apart, nor can a call whose first copy never came
whole be told from an earlier one: only a key does that.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from fastapi import Depends, Header
from pydantic import BaseModel
from sqlalchemy import ColumnElement, and_, delete, or_
from sqlalchemy.orm import Session

from retune.server.api.authentication import sent_key
from retune.server.errors import ApiError
from retune.server.storage.database import Database, DatabaseUnavailableError
from retune.server.storage.tables import BatchRow, FileRow, IdempotencyRow, JobRow, UploadPartRow, UploadRow

Made = TypeVar("Made", FileRow, UploadRow, UploadPartRow, JobRow, BatchRow)

# What the SDKs wait unless told otherwise, and their longest pause with some time to spare.
_LONGEST_WAIT_SECONDS = 600.0
_PAUSE_SECONDS = 10.0
_COPIES_KEPT_SECONDS = 3600
_KEYS_KEPT_SECONDS = 30 * 24 * 3600
_WITHOUT_KEY = "retry-"


@dataclass(frozen=True, slots=True)
class Sender:
    """What tells copies of one request from two requests that are alike.

    Attributes:
        key: The client's Idempotency-Key.
        is_retry: The SDK says that it has sent this before.
        identity: Hash of the caller's key: copies come from one caller.
        wait_seconds: How long the client waits for an answer.
        arrived_at: When the request came, in Unix seconds.
    """

    key: str | None
    is_retry: bool
    identity: str
    wait_seconds: float = _LONGEST_WAIT_SECONDS
    arrived_at: float = field(default_factory=time.time)


def hash_of(*parts: str) -> str:
    """Hash of what makes two requests the same."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8) + data)
    return digest.hexdigest()


def hash_of_body(body: BaseModel) -> str:
    """Hash of a request that its JSON body tells all of."""
    return hash_of(json.dumps(body.model_dump()))


@dataclass(frozen=True, slots=True)
class Creation:
    """One request to create something, in the transaction in which it is created.

    Attributes:
        session: The writing session.
    """

    session: Session
    _name: str
    _request_hash: str
    _sender: Sender

    def once(
        self,
        *,
        find: Callable[[Session, str], Made | None],
        is_untouched: Callable[[Made], bool],
        make: Callable[[Session], Made],
    ) -> Made:
        """Find what an earlier copy of the request made, or make it.

        Args:
            find: Finds the object of an id; None where it is gone.
            is_untouched: Tells whether no client has ended the object.
            make: Makes the object.

        Raises:
            ApiError: 400: the key came with another request before.
        """
        row = self._remembered()
        found = find(self.session, row.object_id) if row else None
        if found is not None and (self._sender.key or is_untouched(found)):
            return found
        made = make(self.session)
        self._remember(made.id)
        return made

    def _remembered(self) -> IdempotencyRow | None:
        sender = self._sender
        if not sender.key and not sender.is_retry:
            return None
        row = self.session.get(IdempotencyRow, self._name)
        if row is None:
            return None
        if row.request_hash != self._request_hash:
            raise ApiError(
                400,
                "This Idempotency-Key was already used with another request. Use a new key for a new request.",
                code="idempotency_key_reused",
            )
        if not sender.key:
            if row.created_at < sender.arrived_at - sender.wait_seconds - _PAUSE_SECONDS:
                return None
            row.created_at = int(time.time())  # The answer to this copy may be lost again.
        return row

    def _remember(self, object_id: str) -> None:
        self.session.merge(
            IdempotencyRow(
                key=self._name, request_hash=self._request_hash, object_id=object_id, created_at=int(time.time())
            )
        )


@contextmanager
def creating(
    database: Database,
    kind: str,
    sender: Sender,
    request_hash: str,
    transaction: AbstractContextManager[Session] | None = None,
) -> Iterator[Creation]:
    """Open the transaction in which a request creates something.

    Args:
        database: Where it is remembered.
        kind: What is created.
        sender: Who asks.
        request_hash: Of what makes two requests the same.
        transaction: A writing session of the caller's; it is opened here.

    Raises:
        DatabaseUnavailableError: The database is away or too busy.
    """
    name = _name(kind, sender, request_hash)
    try:
        with transaction or database.write() as session:
            yield Creation(session, name, request_hash, sender)
    except DatabaseUnavailableError:
        raise
    except Exception:
        if not sender.key:
            _forget(database, name, sender)
        raise


def outdated(now: int) -> ColumnElement[bool]:
    """Condition on what is remembered: no copy of the request is to be expected any more."""
    created_at = IdempotencyRow.created_at
    has_no_key = IdempotencyRow.key.startswith(_WITHOUT_KEY)
    return or_(created_at < now - _KEYS_KEPT_SECONDS, and_(has_no_key, created_at < now - _COPIES_KEPT_SECONDS))


def _name(kind: str, sender: Sender, request_hash: str) -> str:
    if sender.key:
        return hash_of(kind, sender.identity, sender.key)
    return _WITHOUT_KEY + hash_of(kind, sender.identity, request_hash)


def _forget(database: Database, name: str, sender: Sender) -> None:
    # An equal request that has come since keeps what it made.
    is_older = IdempotencyRow.created_at <= int(sender.arrived_at)
    with database.write() as session:
        session.execute(delete(IdempotencyRow).where(IdempotencyRow.key == name, is_older))


def _wait_seconds(told: str | None) -> float:
    try:
        seconds = float(told or "")
    except ValueError:
        return _LONGEST_WAIT_SECONDS
    return seconds if 0 < seconds < _LONGEST_WAIT_SECONDS else _LONGEST_WAIT_SECONDS


async def _sender_of(
    idempotency_key: Annotated[str | None, Header()] = None,
    x_stainless_retry_count: Annotated[str | None, Header()] = None,
    x_stainless_read_timeout: Annotated[str | None, Header()] = None,
    authorization: Annotated[str | None, Header()] = None,
    api_key: Annotated[str | None, Header()] = None,
) -> Sender:
    return Sender(
        key=idempotency_key or None,
        is_retry=(x_stainless_retry_count or "0").strip() != "0",
        identity=hash_of(sent_key(authorization, api_key)),
        wait_seconds=_wait_seconds(x_stainless_read_timeout),
    )


SenderOf = Annotated[Sender, Depends(_sender_of)]
