"""`/v1/files`: upload, list, retrieve, delete, download."""

import asyncio
import time
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, JSONResponse
from sqlalchemy import select

from retune.server import ids
from retune.server.api import idempotency
from retune.server.api.errors import ApiError, unrecognized_argument
from retune.server.api.idempotency import Sender, SenderOf
from retune.server.api.multipart import Upload, read_upload
from retune.server.api.pagination import MAX_LIMIT, After, Limit, list_object, page
from retune.server.files import store as file_store
from retune.server.services import Services, ServicesOf
from retune.server.storage.tables import FileRow

router = APIRouter(prefix="/files")

_PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
_JSONL_ONLY = {"fine-tune": "Fine-Tuning", "batch": "Batch"}
_FIELDS = {"purpose", "expires_after[anchor]", "expires_after[seconds]"}
_BATCH_SECONDS = 30 * 24 * 3600


@router.post("")
async def create_file(request: Request, services: ServicesOf, sender: SenderOf) -> JSONResponse:
    """Store an upload; it is answered once it is on disk."""
    stream, temporary = services.contents.new_temporary()
    try:
        upload = await read_upload(request, stream, max_file_bytes=services.settings.max_file_bytes)
        _check(upload)
        file_id = ids.new_file_id()
        await asyncio.to_thread(services.contents.keep, stream, temporary, file_id)
    finally:
        services.contents.discard(stream, temporary)
    try:
        row = await asyncio.to_thread(_record, services, upload, file_id, sender)
    except BaseException:
        services.contents.remove(file_id)
        raise
    return JSONResponse(file_store.file_object(row))


@router.get("")
def list_files(
    services: ServicesOf,
    purpose: str | None = None,
    after: After = None,
    limit: Limit = MAX_LIMIT,
    order: Annotated[Literal["asc", "desc"], Query()] = "desc",
) -> JSONResponse:
    """List files, newest first unless asked otherwise."""
    query = select(FileRow).where(file_store.is_present())
    if purpose is not None:
        query = query.where(FileRow.purpose == purpose)
    with services.database.read() as session:
        rows, has_more = page(session, query, FileRow, after=after, limit=limit, ascending=order == "asc")
    data = [file_store.file_object(row) for row in rows]
    return JSONResponse(list_object(data, has_more=has_more, ends=True))


@router.get("/{file_id}")
def retrieve_file(file_id: str, services: ServicesOf) -> JSONResponse:
    """Retrieve one file's object."""
    with services.database.read() as session:
        return JSONResponse(file_store.file_object(file_store.get_file(session, file_id)))


@router.delete("/{file_id}")
def delete_file(file_id: str, services: ServicesOf) -> JSONResponse:
    """Delete a file that no unfinished job needs."""
    with services.database.write() as session:
        file_store.delete_file(session, file_id)
    services.contents.remove(file_id)
    return JSONResponse({"id": file_id, "object": "file", "deleted": True})


@router.get("/{file_id}/content")
def retrieve_file_content(file_id: str, services: ServicesOf) -> FileResponse:
    """Download a file, byte for byte."""
    with services.database.read() as session:
        row = file_store.get_file(session, file_id)
    return FileResponse(services.contents.path(row.id), media_type="application/octet-stream", filename=row.filename)


def _check(upload: Upload) -> None:
    for name in upload.fields.keys() - _FIELDS:
        raise unrecognized_argument(name)
    purpose = upload.fields.get("purpose")
    if purpose is None:
        raise ApiError(
            400, "Missing required parameter: 'purpose'.", param="purpose", code="missing_required_parameter"
        )
    if purpose not in _PURPOSES:
        raise ApiError(
            400, f"'{purpose}' is not one of {list(_PURPOSES)} - 'purpose'", param="purpose", code="invalid_value"
        )
    if purpose in _JSONL_ONLY and not str(upload.filename).lower().endswith(".jsonl"):
        raise ApiError(400, f"Invalid file format for {_JSONL_ONLY[purpose]} API. Must be .jsonl")
    _lifetime_seconds(upload)


def _lifetime_seconds(upload: Upload) -> int | None:
    anchor = upload.fields.get("expires_after[anchor]")
    seconds = upload.fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return _BATCH_SECONDS if upload.fields["purpose"] == "batch" else None
    if anchor != "created_at":
        raise ApiError(400, "expires_after.anchor must be 'created_at'.", param="expires_after.anchor")
    if not (seconds or "").isdecimal() or not 3600 <= int(seconds or "") <= 2_592_000:
        raise ApiError(
            400,
            "expires_after.seconds must be an integer from 3600 to 2592000.",
            param="expires_after.seconds",
            code="invalid_value",
        )
    return int(seconds or "")


def _record(services: Services, upload: Upload, file_id: str, sender: Sender) -> FileRow:
    request_hash = idempotency.hash_of(str(sorted(upload.fields.items())), str(upload.filename), upload.sha256)
    lifetime = _lifetime_seconds(upload)
    with services.database.write() as session:
        earlier = idempotency.find(session, "file", sender, request_hash)
        row = file_store.find_file(session, earlier) if earlier else None
        if row is None:
            row = file_store.add_file(
                session,
                file_id=file_id,
                filename=str(upload.filename),
                purpose=upload.fields["purpose"],
                size=upload.size,
                expires_at=int(time.time()) + lifetime if lifetime else None,
            )
            idempotency.remember(session, "file", sender, request_hash, file_id)
        expired = file_store.mark_expired(session)
    for gone in expired if row.id == file_id else [*expired, file_id]:
        services.contents.remove(gone)
    return row
