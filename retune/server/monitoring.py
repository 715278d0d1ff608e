"""`/health`, for load balancers and supervisors; `/metrics`, for Prometheus.

`/health` needs no key; `/metrics` needs one wherever the API does.
"""

import os
from collections.abc import Iterator

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import Select, func, select
from sqlalchemy.orm import InstrumentedAttribute

from retune.server.files import store as file_store
from retune.server.jobs import store as job_store
from retune.server.services import ServicesOf
from retune.server.storage.database import Database
from retune.server.storage.statuses import PENDING_JOBS, BatchStatus, JobStatus
from retune.server.storage.tables import BatchRow, FileRow, JobRow

router = APIRouter()


@router.api_route("/health", methods=["GET", "HEAD"])
async def health(services: ServicesOf) -> JSONResponse:
    """Report whether the server works, down to its database; 503 if background work has stopped.

    With several workers, background work runs in another process, which is not checked.
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
            "queued_jobs": sum(counts.get(status, 0) for status in PENDING_JOBS),
        },
    )


@router.get("/metrics")
def metrics(services: ServicesOf) -> Response:
    """All figures: of requests, of what the database holds, and of the server's main process."""
    is_alone = services.settings.workers == 1
    registry = CollectorRegistry()
    registry.register(_StoredObjects(services.database))
    ProcessCollector(pid=os.getpid if is_alone else os.getppid, registry=registry)
    if is_alone:
        figures = generate_latest(services.metrics.registry) + generate_latest(registry)
    else:
        MultiProcessCollector(registry, str(services.directory.metrics))  # type: ignore[no-untyped-call]  # has no types
        figures = generate_latest(registry)
    return Response(figures, media_type=CONTENT_TYPE_LATEST)


class _StoredObjects(Collector):
    """Counts jobs, batches and files in the database, once for each scrape."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterator[Metric]:
        present = select(func.count(), func.coalesce(func.sum(FileRow.bytes), 0)).where(file_store.is_present())
        with self._database.read() as session:
            jobs = dict(session.execute(_counts(JobRow.status)).tuples().all())
            batches = dict(session.execute(_counts(BatchRow.status)).tuples().all())
            files, stored_bytes = session.execute(present).one()
        yield _by_status("retune_jobs", "Fine-tuning jobs.", {status: jobs.get(status, 0) for status in JobStatus})
        yield _by_status("retune_batches", "Batches.", {status: batches.get(status, 0) for status in BatchStatus})
        queued = sum(jobs.get(status, 0) for status in PENDING_JOBS)
        yield GaugeMetricFamily("retune_queued_jobs", "Jobs that wait for their training.", queued)
        yield GaugeMetricFamily("retune_files", "Files that are there.", files)
        yield GaugeMetricFamily("retune_stored_bytes", "Bytes of the files that are there.", int(stored_bytes))


def _counts(status: InstrumentedAttribute[str]) -> Select[tuple[str, int]]:
    return select(status, func.count()).group_by(status)


def _by_status(name: str, text: str, counts: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=["status"])
    for status, count in counts.items():
        family.add_metric([str(status)], count)
    return family
