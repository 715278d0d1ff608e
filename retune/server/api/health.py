"""`/health`: for load balancers, and for whoever started the server. It asks for no key."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from retune.server.jobs import store as job_store
from retune.server.jobs.statuses import PENDING, JobStatus
from retune.server.services import ServicesOf

router = APIRouter()


@router.api_route("/health", methods=["GET", "HEAD"])
async def health(services: ServicesOf) -> JSONResponse:
    """Say that the server works, down to its database; 503 where the work behind requests has come to a stop.

    With several workers that work is in another process, which is not asked.
    """
    counts = await services.database.look_up(job_store.count_by_status)
    works = all(work.is_alive() for work in services.background)
    return JSONResponse(
        status_code=200 if works else 503,
        content={
            "status": "ok" if works else "degraded",
            "version": services.version,
            "instance": services.instance,
            "trainer": services.trainer.name,
            "running_jobs": counts.get(JobStatus.RUNNING, 0),
            "queued_jobs": sum(counts.get(status, 0) for status in PENDING),
        },
    )
