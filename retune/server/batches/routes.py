"""`/v1/batches`: create, retrieve, list, cancel."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from sqlalchemy import select

from retune.server.api import idempotency
from retune.server.api.idempotency import RequestIdentityOf
from retune.server.api.pagination import After, list_object, page
from retune.server.batches import store as batch_store
from retune.server.batches.requests import CreateBatchRequest
from retune.server.services import ServicesOf
from retune.server.storage.statuses import BatchStatus
from retune.server.storage.tables import BatchRow

router = APIRouter(prefix="/batches")

_CANCELLED = (BatchStatus.CANCELLING, BatchStatus.CANCELLED)


@router.post("")
def create_batch(body: CreateBatchRequest, services: ServicesOf, identity: RequestIdentityOf) -> JSONResponse:
    """Accept a batch; its input file is checked afterwards, so this answers at once."""
    request_hash = idempotency.hash_of_body(body)
    with idempotency.idempotent_create(services.database, "batch", identity, request_hash) as creation:
        batch = creation.get_or_create(
            find=batch_store.get_batch,
            is_unmodified=lambda batch: batch.status not in _CANCELLED,
            make=lambda session: batch_store.add_batch(session, body),
        )
    services.wake()
    return JSONResponse(batch_store.batch_object(batch))


@router.get("")
def list_batches(
    services: ServicesOf, after: After = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> JSONResponse:
    """List batches, newest first."""
    with services.database.read() as session:
        rows, has_more = page(session, select(BatchRow), BatchRow, after=after, limit=limit)
    data = [batch_store.batch_object(row) for row in rows]
    return JSONResponse(list_object(data, has_more=has_more, ends=True))


@router.get("/{batch_id}")
async def retrieve_batch(batch_id: str, services: ServicesOf) -> JSONResponse:
    """Retrieve one batch."""
    row = await services.database.look_up(lambda session: batch_store.get_batch(session, batch_id))
    return JSONResponse(batch_store.batch_object(row))


@router.post("/{batch_id}/cancel")
def cancel_batch(batch_id: str, services: ServicesOf) -> JSONResponse:
    """Cancel a batch; it is `cancelling` until its result files are written."""
    with services.database.write() as session:
        batch = batch_store.mark_cancelling(session, batch_id)
    services.wake()
    return JSONResponse(batch_store.batch_object(batch))
