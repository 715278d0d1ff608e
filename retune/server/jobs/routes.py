"""`/v1/fine_tuning/jobs`: create, list, retrieve, pause, resume, cancel, events, checkpoints.

`/v1/fine_tuning/alpha/graders` is refused: graders belong to reinforcement fine-tuning, which no trainer offers.
"""

import re
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from sqlalchemy import ColumnElement, Row, exists, select
from sqlalchemy.orm import Session

from retune.server.api import idempotency
from retune.server.api.idempotency import RequestIdentityOf
from retune.server.api.pagination import After, Limit, list_object, page
from retune.server.errors import ApiError
from retune.server.files import store as file_store
from retune.server.jobs import checkpoints as checkpoint_store
from retune.server.jobs import store as job_store
from retune.server.jobs import transitions
from retune.server.jobs.events import event_object
from retune.server.jobs.requests import CreateJobRequest
from retune.server.models import find_model
from retune.server.services import Services, ServicesOf
from retune.server.storage.statuses import JobStatus
from retune.server.storage.tables import CheckpointRow, EventRow, JobMetadataRow, JobRow

router = APIRouter(prefix="/fine_tuning/jobs")

_MAX_METADATA_PAIRS = 16
_METADATA_PARAMETER = re.compile(r"metadata\[(?P<key>.*)\]", re.DOTALL)
graders_router = APIRouter(prefix="/fine_tuning/alpha/graders")


@router.post("")
def create_job(body: CreateJobRequest, services: ServicesOf, identity: RequestIdentityOf) -> JSONResponse:
    """Accept a job; its files are validated afterwards, so this answers at once."""
    request_hash = idempotency.hash_of_body(body)
    with idempotency.idempotent_create(services.database, "job", identity, request_hash) as creation:
        job = creation.get_or_create(
            find=job_store.get_job,
            is_unmodified=lambda job: job.status != JobStatus.CANCELLED,
            make=lambda session: _add_job(session, services, body),
        )
    services.wake()
    return JSONResponse(job_store.job_object(job))


@router.get("")
def list_jobs(request: Request, services: ServicesOf, after: After = None, limit: Limit = 20) -> JSONResponse:
    """List jobs, newest first; `metadata[key]=value` and `metadata=null` narrow the list down."""
    query = select(JobRow).where(*_metadata_conditions(request))
    with services.database.read() as session:
        rows, has_more = page(session, query, JobRow, after=after, limit=limit)
        data = [_object(session, row) for row in rows]
    return JSONResponse(list_object(data, has_more=has_more))


@router.get("/{job_id}")
async def retrieve_job(job_id: str, services: ServicesOf) -> JSONResponse:
    """Retrieve one job."""
    return JSONResponse(await services.database.look_up(lambda session: _read_object(session, job_id)))


@router.post("/{job_id}/pause")
def pause_job(job_id: str, services: ServicesOf) -> JSONResponse:
    """Pause a job: its slot is free for another job, and its checkpoints are kept."""
    with services.database.write() as session:
        job = transitions.mark_paused(session, job_id)
    services.wake()
    return JSONResponse(job_store.job_object(job))


@router.post("/{job_id}/resume")
def resume_job(job_id: str, services: ServicesOf) -> JSONResponse:
    """Queue a paused job again; it resumes from its last checkpoint."""
    with services.database.write() as session:
        job = transitions.mark_resumed(session, job_id)
    services.wake()
    return JSONResponse(job_store.job_object(job))


@router.post("/{job_id}/cancel")
def cancel_job(job_id: str, services: ServicesOf) -> JSONResponse:
    """Cancel a job at once, wherever it stands."""
    with services.database.write() as session:
        has_process = transitions.is_running(session, job_id)
        job = transitions.mark_cancelled(session, job_id, webhook_urls=services.settings.webhook_urls)
    services.wake()
    if not has_process:
        checkpoint_store.remove_unneeded(services.database, services.directory, job.id)
    return JSONResponse(job_store.job_object(job))


@router.get("/{job_id}/events")
def list_events(job_id: str, services: ServicesOf, after: After = None, limit: Limit = 20) -> JSONResponse:
    """List a job's events, newest first."""
    of_the_job = EventRow.job_id == job_id
    with services.database.read() as session:
        job_store.read_job(session, job_id)
        query = select(EventRow).where(of_the_job)
        rows, has_more = page(session, query, EventRow, after=after, limit=limit, within=of_the_job)
    return JSONResponse(list_object([event_object(row) for row in rows], has_more=has_more))


@router.get("/{job_id}/checkpoints")
def list_checkpoints(job_id: str, services: ServicesOf, after: After = None, limit: Limit = 10) -> JSONResponse:
    """List a job's checkpoints, latest step first."""
    of_the_job = CheckpointRow.job_id == job_id
    with services.database.read() as session:
        job_store.read_job(session, job_id)
        query = select(CheckpointRow).where(of_the_job)
        rows, has_more = page(session, query, CheckpointRow, after=after, limit=limit, within=of_the_job)
    data = [checkpoint_store.checkpoint_object(row) for row in rows]
    return JSONResponse(list_object(data, has_more=has_more, ends=True))


def _read_object(session: Session, job_id: str) -> job_store.JobObject:
    return _object(session, job_store.read_job(session, job_id))


def _object(session: Session, job: JobRow | Row[Any]) -> job_store.JobObject:
    return job_store.job_object(job, estimated_finish=job_store.estimate_finish(session, job))


def _add_job(session: Session, services: Services, request: CreateJobRequest) -> JobRow:
    model = find_model(session, services.trainer, request.model)
    if model is None:
        raise ApiError(
            400,
            f"Model {request.model} is not available for fine-tuning or does not exist.",
            code="model_not_available",
        )
    _check_file(session, "training_file", request.training_file)
    if request.validation_file is not None:
        _check_file(session, "validation_file", request.validation_file)
    job_store.refuse_past_limit(session, request.model, services.settings.max_queued_jobs)
    return job_store.add_job(session, request, model)


def _check_file(session: Session, param: str, file_id: str) -> None:
    row = file_store.find_file(session, file_id)
    if row is None:
        raise ApiError(400, f"invalid {param}: {file_id}", param=param)
    if row.purpose != "fine-tune":
        message = f"invalid {param}: {file_id} has the purpose '{row.purpose}'; it must be 'fine-tune'"
        raise ApiError(400, message, param=param)


def _metadata_conditions(request: Request) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    for name, value in request.query_params.multi_items():
        if name == "metadata":
            if value != "null":
                raise ApiError(400, "metadata must be 'null', or be given as metadata[key]=value.", param="metadata")
            conditions.append(~exists().where(JobMetadataRow.job_position == JobRow.position))
        elif match := _METADATA_PARAMETER.fullmatch(name):
            # Not `exists`: that scans every job where few have the pair.
            pair = (JobMetadataRow.key == match["key"], JobMetadataRow.value == value)
            conditions.append(JobRow.position.in_(select(JobMetadataRow.job_position).where(*pair)))
        if len(conditions) > _MAX_METADATA_PAIRS:
            raise ApiError(400, f"Jobs have at most {_MAX_METADATA_PAIRS} pairs of metadata.", param="metadata")
    return conditions


@graders_router.post("/run")
@graders_router.post("/validate")
def refuse_grader() -> None:
    """Refuse to run or validate a grader.

    Raises:
        ApiError: 400, whatever the grader.
    """
    raise ApiError(
        400,
        "Graders are not supported by this server: they belong to reinforcement fine-tuning, and its trainer offers "
        "supervised fine-tuning alone.",
        param="grader",
        code="unsupported_value",
    )
