"""Creating once: a repeated request finds what its first copy created.

A client marks copies with `Idempotency-Key`, whose values are its own: other callers may use the same.

The official SDKs send no such key, yet retry a POST whose answer they missed, and count the copies in
`x-stainless-retry-count`. A copy without a key finds only what the first copy of its own call can have created:

* The object that an equal request of the same caller created last. A later one replaces it, and a request that is
  refused removes it: its copies must not get something older.
* Not longer ago than an SDK waits: for its answer, by `x-stainless-read-timeout`, and between two retries.
* An object that no client has ended: a client that cancelled a job, or completed an upload, had its answer. What ended
  by itself is found: a small job may be done before its copy arrives, and must not be paid for twice.

Two equal requests at once that both lose their answers can't be distinguished, nor can a call whose first copy never
arrived completely from an earlier call: only a key can do that.
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

# The SDKs' default timeout, and their longest pause between retries with some time to spare.
_LONGEST_WAIT_SECONDS = 600.0
_PAUSE_SECONDS = 10.0
_COPIES_KEPT_SECONDS = 3600
_KEYS_KEPT_SECONDS = 30 * 24 * 3600
_WITHOUT_KEY = "retry-"


@dataclass(frozen=True, slots=True)
class RequestIdentity:
    """What distinguishes copies of one request from two separate but equal requests.

    Attributes:
        key: The client's Idempotency-Key.
        is_retry: The SDK says that it has sent this before.
        caller: Hash of the caller's key: copies come from one caller.
        wait_seconds: How long the client waits for an answer.
        arrived_at: When the request came, in Unix seconds.
    """

    key: str | None
    is_retry: bool
    caller: str
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
    """Hash of a request that is fully described by its JSON body."""
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
    _identity: RequestIdentity

    def get_or_create(
        self,
        *,
        find: Callable[[Session, str], Made | None],
        is_unmodified: Callable[[Made], bool],
        make: Callable[[Session], Made],
    ) -> Made:
        """Find what an earlier copy of the request made, or make it.

        Args:
            find: Finds the object of an id; None where it is gone.
            is_unmodified: Returns whether no client has ended the object.
            make: Makes the object.

        Raises:
            ApiError: 400: the key came with another request before.
        """
        row = self._find_record()
        found = find(self.session, row.object_id) if row else None
        if found is not None and (self._identity.key or is_unmodified(found)):
            return found
        made = make(self.session)
        self._record(made.id)
        return made

    def _find_record(self) -> IdempotencyRow | None:
        identity = self._identity
        if not identity.key and not identity.is_retry:
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
        if not identity.key:
            if row.created_at < identity.arrived_at - identity.wait_seconds - _PAUSE_SECONDS:
                return None
            row.created_at = int(time.time())  # The answer to this copy may be lost again.
        return row

    def _record(self, object_id: str) -> None:
        self.session.merge(
            IdempotencyRow(
                key=self._name, request_hash=self._request_hash, object_id=object_id, created_at=int(time.time())
            )
        )


@contextmanager
def idempotent_create(
    database: Database,
    kind: str,
    identity: RequestIdentity,
    request_hash: str,
    transaction: AbstractContextManager[Session] | None = None,
) -> Iterator[Creation]:
    """Open the transaction in which a request creates something.

    Args:
        database: Where the request is recorded.
        kind: What is created, such as `job`.
        identity: The caller, and whether this is a copy.
        request_hash: Hash of everything that makes two requests the same.
        transaction: A writing session to enter instead of a new one.

    Raises:
        DatabaseUnavailableError: The database is unreachable or too busy.
    """
    name = _name(kind, identity, request_hash)
    try:
        with transaction or database.write() as session:
            yield Creation(session, name, request_hash, identity)
    except DatabaseUnavailableError:
        raise
    except Exception:
        if not identity.key:
            _delete_record(database, name, identity)
        raise


def outdated(now: int) -> ColumnElement[bool]:
    """Condition on stored requests: no further copy is expected."""
    created_at = IdempotencyRow.created_at
    has_no_key = IdempotencyRow.key.startswith(_WITHOUT_KEY)
    return or_(created_at < now - _KEYS_KEPT_SECONDS, and_(has_no_key, created_at < now - _COPIES_KEPT_SECONDS))


def _name(kind: str, identity: RequestIdentity, request_hash: str) -> str:
    if identity.key:
        return hash_of(kind, identity.caller, identity.key)
    return _WITHOUT_KEY + hash_of(kind, identity.caller, request_hash)


def _delete_record(database: Database, name: str, identity: RequestIdentity) -> None:
    # An equal request that has come since keeps what it made.
    is_older = IdempotencyRow.created_at <= int(identity.arrived_at)
    with database.write() as session:
        session.execute(delete(IdempotencyRow).where(IdempotencyRow.key == name, is_older))


def _wait_seconds(header: str | None) -> float:
    try:
        seconds = float(header or "")
    except ValueError:
        return _LONGEST_WAIT_SECONDS
    return seconds if 0 < seconds < _LONGEST_WAIT_SECONDS else _LONGEST_WAIT_SECONDS


async def _identity_of(
    idempotency_key: Annotated[str | None, Header()] = None,
    x_stainless_retry_count: Annotated[str | None, Header()] = None,
    x_stainless_read_timeout: Annotated[str | None, Header()] = None,
    authorization: Annotated[str | None, Header()] = None,
    api_key: Annotated[str | None, Header()] = None,
) -> RequestIdentity:
    return RequestIdentity(
        key=idempotency_key or None,
        is_retry=(x_stainless_retry_count or "0").strip() != "0",
        caller=hash_of(sent_key(authorization, api_key)),
        wait_seconds=_wait_seconds(x_stainless_read_timeout),
    )


RequestIdentityOf = Annotated[RequestIdentity, Depends(_identity_of)]
