"""`/v1/uploads`: create, add parts, complete, cancel.

Completing makes one file of the parts, which exists whole or not at all.
"""

import asyncio
import hashlib
from collections.abc import Sequence

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from retune.server import ids
from retune.server.api import idempotency
from retune.server.api.idempotency import RequestIdentity, RequestIdentityOf
from retune.server.api.multipart import SentForm, announced_size, read_form
from retune.server.errors import ApiError, unknown_parameter
from retune.server.files import rules
from retune.server.services import Services, ServicesOf
from retune.server.storage.content_store import ContentStore, Draft
from retune.server.storage.database import recording
from retune.server.storage.tables import UploadPartRow, UploadRow
from retune.server.uploads import store as upload_store
from retune.server.uploads.store import (
    CompleteUploadRequest,
    CreateUploadRequest,
    UploadObject,
    delete_parts_of_ended_uploads,
)

_PIECE_BYTES = 1024 * 1024
router = APIRouter(prefix="/uploads")
_PART_FIELD = "data"


def complete_upload(services: Services, upload_id: str, request: CompleteUploadRequest) -> UploadObject:
    """Make the file and return the Upload object; completing again with the same parts gets the same answer.

    The parts are copied with no database session open, and go once the file is on record. So whatever ends this in the
    middle leaves a pending upload with all its parts.

    Raises:
        ApiError: 404: there is no such upload; 400: it has ended, or its parts or the hash are wrong.
        OSError: The disk is full or failing.
    """
    with services.database.read() as session:
        upload = upload_store.get_upload(session, upload_id)
        if upload_store.is_completed_with(upload, request.part_ids):
            return upload_store.upload_object(session, upload)
        upload_store.require_pending(upload)
        upload_store.check_chosen_parts(session, upload, request.part_ids)
    services.contents.require_space(upload.bytes, spare_bytes=rules.SPARE_BYTES)
    draft = services.contents.new_draft(ids.new_id("file-"), spare_bytes=rules.SPARE_BYTES)
    try:
        _fill(draft, services.contents, request)
    except FileNotFoundError:
        draft.discard()
        return _completed_meanwhile(services, upload_id, request.part_ids)
    except BaseException:
        draft.discard()
        raise
    answer = _record(services, draft, upload_id, request.part_ids)
    delete_parts_of_ended_uploads(services.database, services.contents)
    return answer


def _fill(draft: Draft, contents: ContentStore, request: CompleteUploadRequest) -> None:
    digest = hashlib.md5(usedforsecurity=False) if request.md5 else None
    piece = memoryview(bytearray(_PIECE_BYTES))
    for part_id in request.part_ids:
        with contents.path(part_id).open("rb", buffering=0) as part:
            while size := part.readinto(piece):
                if digest:
                    digest.update(piece[:size])
                draft.write(piece[:size])
    if digest and request.md5 and digest.hexdigest() != request.md5.lower():
        raise ApiError(
            400,
            f"The file's md5 should be {request.md5}, but the parts in this order have {digest.hexdigest()}. "
            "The upload is still pending: complete it with the right parts, order and md5.",
            param="md5",
            code="invalid_value",
        )


def _record(services: Services, draft: Draft, upload_id: str, part_ids: Sequence[str]) -> UploadObject:
    with recording(services.database, draft) as session:
        upload = upload_store.get_upload(session, upload_id)
        if upload_store.is_completed_with(upload, part_ids):
            draft.discard()
        else:
            upload_store.require_pending(upload)
            upload_store.mark_completed(session, upload, draft.content_id, part_ids)
        return upload_store.upload_object(session, upload)


def _completed_meanwhile(services: Services, upload_id: str, part_ids: Sequence[str]) -> UploadObject:
    # Parts are gone because another request has ended the upload: completed it with the same parts, or otherwise.
    with services.database.read() as session:
        upload = upload_store.get_upload(session, upload_id)
        if not upload_store.is_completed_with(upload, part_ids):
            upload_store.require_pending(upload)
            raise FileNotFoundError(f"parts of the pending upload {upload_id} are missing in the data directory")
        return upload_store.upload_object(session, upload)


@router.post("")
def create_upload(body: CreateUploadRequest, services: ServicesOf, identity: RequestIdentityOf) -> JSONResponse:
    """Create an upload."""
    body = _checked(services, body)

    def make(session: Session) -> UploadRow:
        rules.check_total(session, body.bytes, services.settings.max_total_bytes)
        return upload_store.add_upload(session, body)

    request_hash = idempotency.hash_of_body(body)
    with idempotency.idempotent_create(services.database, "upload", identity, request_hash) as creation:
        upload = creation.get_or_create(find=upload_store.get_upload, is_unmodified=upload_store.is_pending, make=make)
        return JSONResponse(upload_store.upload_object(creation.session, upload))


@router.post("/{upload_id}/parts")
async def create_part(
    upload_id: str, request: Request, services: ServicesOf, identity: RequestIdentityOf
) -> JSONResponse:
    """Add a part; it is answered once it is on disk."""
    max_part_bytes = services.settings.max_part_bytes
    draft = await asyncio.to_thread(_begin_part, services, upload_id, announced_size(request))
    try:
        sent = await read_form(request, draft, file_field=_PART_FIELD, max_file_bytes=max_part_bytes)
        _check_part(sent)
    except BaseException:
        draft.discard()
        raise
    # In one go, in a thread: a request that is cut off here leaves a whole part or none.
    row = await asyncio.to_thread(_record_part, services, upload_id, sent, draft, identity)
    return JSONResponse(upload_store.part_object(row))


@router.post("/{upload_id}/complete")
def complete(upload_id: str, body: CompleteUploadRequest, services: ServicesOf) -> JSONResponse:
    """Make one file of the parts."""
    return JSONResponse(complete_upload(services, upload_id, body))


@router.post("/{upload_id}/cancel")
def cancel_upload(upload_id: str, services: ServicesOf) -> JSONResponse:
    """Cancel an upload and drop its parts."""
    with services.database.write() as session:
        upload = upload_store.mark_cancelled(session, upload_id)
        answer = upload_store.upload_object(session, upload)
    delete_parts_of_ended_uploads(services.database, services.contents)
    return JSONResponse(answer)


def _checked(services: Services, body: CreateUploadRequest) -> CreateUploadRequest:
    filename = rules.base_name(body.filename, "filename")
    rules.check_purpose(body.purpose, filename)
    most = services.settings.max_upload_bytes
    if body.bytes > most:
        raise ApiError(
            400,
            f"Invalid value for 'bytes': an upload may have {most} bytes, but this one promises {body.bytes}.",
            param="bytes",
            code="invalid_value",
        )
    return body.model_copy(update={"filename": filename})


def _check_part(sent: SentForm) -> None:
    for name in sent.fields:
        raise unknown_parameter(name)


def _begin_part(services: Services, upload_id: str, size: int) -> Draft:
    services.contents.require_space(size, spare_bytes=rules.SPARE_BYTES)
    with services.database.read() as session:
        upload_store.check_part(session, upload_id, size, max_part_bytes=services.settings.max_part_bytes)
        rules.check_total(session, size, services.settings.max_total_bytes)
    return services.contents.new_draft(ids.new_id("part_"), spare_bytes=rules.SPARE_BYTES)


def _record_part(
    services: Services, upload_id: str, sent: SentForm, draft: Draft, identity: RequestIdentity
) -> UploadPartRow:
    def make(session: Session) -> UploadPartRow:
        rules.check_total(session, sent.size, services.settings.max_total_bytes)
        return upload_store.add_part(session, part_id=draft.content_id, upload_id=upload_id, size=sent.size)

    request_hash = idempotency.hash_of(upload_id, sent.sha256)
    transaction = recording(services.database, draft)
    with idempotency.idempotent_create(
        services.database, "upload part", identity, request_hash, transaction
    ) as creation:
        upload_store.check_part(creation.session, upload_id, sent.size, max_part_bytes=services.settings.max_part_bytes)
        # Parts may be alike, so being sent again by the SDK does not make two of them one; a key of the client's does.
        row = creation.get_or_create(find=upload_store.find_part, is_unmodified=lambda _: False, make=make)
        if row.id != draft.content_id:
            draft.discard()
    return row
