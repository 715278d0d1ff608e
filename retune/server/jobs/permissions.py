"""`/v1/fine_tuning/checkpoints/{checkpoint}/permissions`: which other projects may use a checkpoint.

They are stored and listed, but not enforced: the server has one organization, and every key may use every model.
"""

import time
from typing import Annotated, Literal, TypedDict

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from retune.server import ids
from retune.server.api.pagination import After, Limit, list_object, page
from retune.server.api.request_bodies import RequestModel
from retune.server.errors import ApiError
from retune.server.services import ServicesOf
from retune.server.storage.tables import CheckpointPermissionRow, ModelRow

# A checkpoint's name may hold what a client had to escape: `path` takes slashes too.
router = APIRouter(prefix="/fine_tuning/checkpoints/{checkpoint:path}/permissions")

_MAX_PROJECTS = 1000

ProjectId = Annotated[str, Field(min_length=1, max_length=256)]


class CreatePermissionsRequest(RequestModel):
    """The projects that may use the checkpoint from now on."""

    project_ids: list[ProjectId] = Field(max_length=_MAX_PROJECTS, fail_fast=True)


@router.post("")
def create_permissions(checkpoint: str, body: CreatePermissionsRequest, services: ServicesOf) -> JSONResponse:
    """Permit projects; one that is permitted already keeps its permission."""
    with services.database.write() as session:
        _require_checkpoint(session, checkpoint)
        rows = [_permit(session, checkpoint, project_id) for project_id in dict.fromkeys(body.project_ids)]
    return JSONResponse(list_object([_permission_object(row) for row in rows], has_more=False, ends=True))


@router.get("")
def list_permissions(
    checkpoint: str,
    services: ServicesOf,
    *,
    project_id: str | None = None,
    after: After = None,
    limit: Limit = 10,
    order: Annotated[Literal["ascending", "descending"], Query()] = "descending",
) -> JSONResponse:
    """List a checkpoint's permissions, newest first unless asked otherwise."""
    of_the_checkpoint = CheckpointPermissionRow.checkpoint == checkpoint
    query = select(CheckpointPermissionRow).where(of_the_checkpoint)
    if project_id is not None:
        query = query.where(CheckpointPermissionRow.project_id == project_id)
    with services.database.read() as session:
        _require_checkpoint(session, checkpoint)
        rows, has_more = page(
            session,
            query,
            CheckpointPermissionRow,
            after=after,
            limit=limit,
            ascending=order == "ascending",
            within=of_the_checkpoint,
        )
    return JSONResponse(list_object([_permission_object(row) for row in rows], has_more=has_more, ends=True))


@router.delete("/{permission_id}")
def delete_permission(checkpoint: str, permission_id: str, services: ServicesOf) -> JSONResponse:
    """Delete a permission."""
    query = select(CheckpointPermissionRow).where(
        CheckpointPermissionRow.id == permission_id, CheckpointPermissionRow.checkpoint == checkpoint
    )
    with services.database.write() as session:
        _require_checkpoint(session, checkpoint)
        row = session.scalar(query)
        if row is None:
            message = f"The checkpoint '{checkpoint}' has no permission '{permission_id}'."
            raise ApiError(404, message, param="permission_id", code="permission_not_found")
        session.delete(row)
    return JSONResponse({"id": permission_id, "object": "checkpoint.permission", "deleted": True})


def _require_checkpoint(session: Session, checkpoint: str) -> None:
    if session.scalar(select(ModelRow.position).where(ModelRow.name == checkpoint)) is None:
        raise ApiError(
            404,
            f"The checkpoint '{checkpoint}' does not exist, or the job that it belongs to has not succeeded.",
            param="fine_tuned_model_checkpoint",
            code="model_not_found",
        )


def _permit(session: Session, checkpoint: str, project_id: str) -> CheckpointPermissionRow:
    row = session.scalar(
        select(CheckpointPermissionRow).where(
            CheckpointPermissionRow.checkpoint == checkpoint, CheckpointPermissionRow.project_id == project_id
        )
    )
    if row is None:
        row = CheckpointPermissionRow(
            id=ids.new_id("cp_"), checkpoint=checkpoint, project_id=project_id, created_at=int(time.time())
        )
        session.add(row)
        session.flush()
    return row


class _PermissionObject(TypedDict):
    object: Literal["checkpoint.permission"]
    id: str
    created_at: int
    project_id: str


def _permission_object(row: CheckpointPermissionRow) -> _PermissionObject:
    return {
        "object": "checkpoint.permission",
        "id": row.id,
        "created_at": row.created_at,
        "project_id": row.project_id,
    }
