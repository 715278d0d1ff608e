"""Completing an upload: its parts become one file, which is there whole or not at all."""

import hashlib
from collections.abc import Sequence
from typing import Any

from retune.server import ids
from retune.server.errors import ApiError
from retune.server.files import rules
from retune.server.services import Services
from retune.server.storage.content_store import ContentStore, Draft
from retune.server.storage.recording import recording
from retune.server.uploads import store as upload_store
from retune.server.uploads.parts import drop_parts_of_ended_uploads
from retune.server.uploads.requests import CompleteUploadRequest

_PIECE_BYTES = 1024 * 1024


def complete_upload(services: Services, upload_id: str, request: CompleteUploadRequest) -> dict[str, Any]:
    """Make the file and return the Upload object; an upload that these parts completed before answers the same again.

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
    services.contents.require_room(upload.bytes, spare_bytes=rules.SPARE_BYTES)
    draft = services.contents.new_draft(ids.new_file_id(), spare_bytes=rules.SPARE_BYTES)
    try:
        _fill(draft, services.contents, request)
    except FileNotFoundError:
        draft.discard()
        return _completed_meanwhile(services, upload_id, request.part_ids)
    except BaseException:
        draft.discard()
        raise
    answer = _record(services, draft, upload_id, request.part_ids)
    drop_parts_of_ended_uploads(services.database, services.contents)
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


def _record(services: Services, draft: Draft, upload_id: str, part_ids: Sequence[str]) -> dict[str, Any]:
    with recording(services.database, draft) as session:
        upload = upload_store.get_upload(session, upload_id)
        if upload_store.is_completed_with(upload, part_ids):
            draft.discard()
        else:
            upload_store.require_pending(upload)
            upload_store.mark_completed(session, upload, draft.content_id, part_ids)
        return upload_store.upload_object(session, upload)


def _completed_meanwhile(services: Services, upload_id: str, part_ids: Sequence[str]) -> dict[str, Any]:
    # Parts are gone because another request has ended the upload: completed it with the same parts, or otherwise.
    with services.database.read() as session:
        upload = upload_store.get_upload(session, upload_id)
        if not upload_store.is_completed_with(upload, part_ids):
            upload_store.require_pending(upload)
            raise FileNotFoundError(f"parts of the pending upload {upload_id} are missing in the data directory")
        return upload_store.upload_object(session, upload)
