"""`/health`: for load balancers, and for whoever started the server. It asks for no key."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from retune.server.jobs import store as job_store
from retune.server.jobs.statuses import PENDING, JobStatus
from retune.server.services import ServicesOf

router = APIRouter()


@router.api_route("/health", methods=["GET", "HEAD"])
def health(services: ServicesOf) -> JSONResponse:
    """Say that the server works, down to its database."""
    with services.database.read() as session:
        counts = job_store.count_by_status(session)
    return JSONResponse(
        {
            "status": "ok",
            "version": services.version,
            "instance": services.instance,
            "trainer": services.trainer.name,
            "running_jobs": counts.get(JobStatus.RUNNING, 0),
            "queued_jobs": sum(counts.get(status, 0) for status in PENDING),
        }
    )
