"""`/v1/files`: create, list, retrieve, delete, and download, whole or by ranges."""

import asyncio
import re
import time
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, JSONResponse
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.types import Message, Receive, Scope, Send

from retune.server import ids
from retune.server.api import idempotency
from retune.server.api.idempotency import RequestIdentity, RequestIdentityOf
from retune.server.api.multipart import SentForm, announced_size, read_form
from retune.server.api.pagination import MAX_LIMIT, After, Limit, list_object, page
from retune.server.errors import ApiError, missing_parameter, unknown_parameter
from retune.server.files import rules
from retune.server.files import store as file_store
from retune.server.files.store import no_such_file
from retune.server.services import Services, ServicesOf
from retune.server.storage.content_store import Draft
from retune.server.storage.database import recording
from retune.server.storage.tables import FileRow

_SEPARATORS = re.compile(r"[/\\]")
router = APIRouter(prefix="/files")
_FIELDS = {"purpose", "expires_after[anchor]", "expires_after[seconds]"}


class FileDownload(FileResponse):
    """A file, or the ranges of it that the request names.

    Args:
        file: Its object.
        content: Where its bytes are.
    """

    def __init__(self, file: FileRow, content: Path) -> None:
        # The name is the uploader's: saving the file under it must not leave the target directory.
        name = _SEPARATORS.split(file.filename)[-1] or file.id
        super().__init__(content, media_type="application/octet-stream", filename=name)
        self._file_id = file.id
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it.

        Raises:
            ApiError: 404: it was deleted meanwhile; 400 or 416: the request asks for a range that it has not.
        """
        start = _HeldStart(send)
        try:
            await super().__call__(scope, receive, start.pass_on)
        except (FileNotFoundError, RuntimeError) as error:
            if start.is_sent or self._content.exists():
                raise
            raise no_such_file(self._file_id) from error


class _HeldStart:
    """Holds an answer's start back until its body comes: then the file is open, and the range was understood."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self.is_sent = False

    async def pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._start is not None:
            start, self._start = self._start, None
            _refuse_failure(start, message)
            self.is_sent = True
            await self._send(start)
        await self._send(message)


def _refuse_failure(start: Message, body: Message) -> None:
    if start["status"] == 416:
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        size = headers["content-range"].removeprefix("bytes */")
        raise ApiError(
            416,
            f"The requested range begins behind the end of the file, which has {size} bytes.",
            headers={"content-range": headers["content-range"]},
        )
    if start["status"] == 400:
        reason = body["body"].decode().rstrip(".")
        raise ApiError(400, f"The Range header can't be read: {reason}. Expected such as bytes=0-99.")


@router.post("")
async def create_file(request: Request, services: ServicesOf, identity: RequestIdentityOf) -> JSONResponse:
    """Store a file; it is answered once it is on disk."""
    max_file_bytes = services.settings.max_file_bytes
    draft = await asyncio.to_thread(_begin, services, announced_size(request))
    try:
        form = await read_form(request, draft, file_field="file", max_file_bytes=max_file_bytes)
        _check(form)
    except BaseException:
        draft.discard()
        raise
    # In one go, in a thread: a request that is cut off here leaves a whole file or none.
    row = await asyncio.to_thread(_record, services, form, draft, identity)
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
async def retrieve_file(file_id: str, services: ServicesOf) -> JSONResponse:
    """Retrieve one file's object."""
    row = await services.database.look_up(lambda session: file_store.get_file(session, file_id))
    return JSONResponse(file_store.file_object(row))


@router.delete("/{file_id}")
def delete_file(file_id: str, services: ServicesOf) -> JSONResponse:
    """Delete a file; what an unfinished job still reads stays on disk, unseen, until the job ends."""
    with services.database.write() as session:
        is_unneeded = file_store.delete_file(session, file_id)
    if is_unneeded:
        services.contents.remove(file_id)
    return JSONResponse({"id": file_id, "object": "file", "deleted": True})


@router.get("/{file_id}/content")
def retrieve_file_content(file_id: str, services: ServicesOf) -> FileDownload:
    """Download a file, byte for byte."""
    with services.database.read() as session:
        row = file_store.get_file(session, file_id)
    return FileDownload(row, services.contents.path(row.id))


def _begin(services: Services, size: int) -> Draft:
    services.contents.require_space(size, spare_bytes=rules.SPARE_BYTES)
    with services.database.read() as session:
        rules.check_total(session, size, services.settings.max_total_bytes)
    return services.contents.new_draft(ids.new_id("file-"), spare_bytes=rules.SPARE_BYTES)


def _check(form: SentForm) -> None:
    for name in form.fields.keys() - _FIELDS:
        raise unknown_parameter(name)
    form.filename = rules.base_name(form.filename or "", "file")
    purpose = form.fields.get("purpose")
    if purpose is None:
        raise missing_parameter("purpose")
    rules.check_purpose(purpose, form.filename)
    _lifetime_seconds(form)


def _lifetime_seconds(form: SentForm) -> int | None:
    anchor = form.fields.get("expires_after[anchor]")
    seconds = form.fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise ApiError(400, "expires_after.anchor must be 'created_at'.", param="expires_after.anchor")
    shortest, longest = rules.SHORTEST_LIFETIME_SECONDS, rules.LONGEST_LIFETIME_SECONDS
    if not (seconds or "").isdecimal() or not shortest <= int(seconds or "") <= longest:
        raise ApiError(
            400,
            f"expires_after.seconds must be an integer from {shortest} to {longest}.",
            param="expires_after.seconds",
            code="invalid_value",
        )
    return int(seconds or "")


def _record(services: Services, form: SentForm, draft: Draft, identity: RequestIdentity) -> FileRow:
    def make(session: Session) -> FileRow:
        rules.check_total(session, form.size, services.settings.max_total_bytes)
        return _add(session, form, draft.content_id)

    request_hash = idempotency.hash_of(str(sorted(form.fields.items())), str(form.filename), form.sha256)
    with idempotency.idempotent_create(
        services.database, "file", identity, request_hash, recording(services.database, draft)
    ) as creation:
        row = creation.get_or_create(find=file_store.find_file, is_unmodified=lambda _: True, make=make)
        if row.id != draft.content_id:
            draft.discard()
    return row


def _add(session: Session, form: SentForm, file_id: str) -> FileRow:
    now = int(time.time())
    purpose = form.fields["purpose"]
    return file_store.add_file(
        session,
        file_id=file_id,
        filename=str(form.filename),
        purpose=purpose,
        size=form.size,
        created_at=now,
        expires_at=rules.end_of_life(now, _lifetime_seconds(form), purpose),
    )
