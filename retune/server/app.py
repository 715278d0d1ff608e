"""The application: routers, middleware, and the services behind them."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from inspect import iscoroutinefunction

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, FastAPI
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from retune.server import completions, models, monitoring
from retune.server.api.middleware import ApiMiddleware
from retune.server.api.origins import ListedOrigins
from retune.server.api.request_bodies import JsonRoute
from retune.server.batches import routes as batches
from retune.server.batches.runner import BatchRunner
from retune.server.chat import routes as chat
from retune.server.errors import add_error_handlers
from retune.server.files import routes as files
from retune.server.jobs import permissions
from retune.server.jobs import routes as jobs
from retune.server.jobs.runner import JobRunner
from retune.server.responses import routes as responses
from retune.server.retention import Retention
from retune.server.services import Services
from retune.server.settings import ServerSettings
from retune.server.uploads import routes as uploads
from retune.server.webhooks.outbox import WebhookDelivery
from retune.server.work_queue import BackgroundWork

_READING = frozenset({"GET", "HEAD"})
# One writes at a time; the others only wait in their threads.
_WRITING_THREADS = 16


def open_services(settings: ServerSettings) -> Services:
    """Open a data directory, with all background work.

    Raises:
        ServerError: Another server has the directory, it can't be written, or its database is damaged.
    """
    services = Services.open(settings)
    try:
        services.background.extend(_background_work(services))
    except BaseException:
        services.close()
        raise
    return services


def _background_work(services: Services) -> Iterator[BackgroundWork]:
    settings, database, contents = services.settings, services.database, services.contents
    yield Retention(database, contents)
    yield JobRunner(
        database,
        services.directory,
        contents,
        services.trainer,
        max_concurrent_jobs=settings.max_concurrent_jobs,
        webhook_urls=settings.webhook_urls,
    )
    yield BatchRunner(services)
    yield WebhookDelivery(database, settings)


def build_app(services: Services) -> FastAPI:
    """Build the application; its lifespan starts the background work, and closes all services at its end."""
    # No pages of documentation: they would load scripts from elsewhere, and unknown addresses are 404 here.
    app = FastAPI(lifespan=_lifespan, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.services = services
    app.add_middleware(ApiMiddleware, services=services)
    if services.settings.allowed_origins:
        # Around all else: a preflight has no key, and pages must be able to read refusals too.
        app.add_middleware(ListedOrigins, settings=services.settings)
    app.router.route_class = JsonRoute
    add_error_handlers(app)
    writers = CapacityLimiter(_WRITING_THREADS)
    # Paths are matched in this order: the most requested first.
    for module in (jobs, chat, responses, files, models, batches, uploads, permissions, completions):
        _add_routes(app, module.router, writers, prefix="/v1")
    _add_routes(app, jobs.graders_router, writers, prefix="/v1")
    _add_routes(app, monitoring.router, writers, prefix="")
    return app


def _add_routes(app: FastAPI, router: APIRouter, writers: CapacityLimiter, *, prefix: str) -> None:
    """Add a router's routes to the application's own.

    `include_router` would keep the router, and FastAPI would search it three times for each request.
    """
    for route in router.routes:
        if isinstance(route, APIRoute):
            methods = sorted(route.methods or ())
            endpoint = route.endpoint
            if not iscoroutinefunction(endpoint) and not _READING.issuperset(methods):
                endpoint = _in_own_threads(endpoint, writers)
            app.add_api_route(prefix + route.path, endpoint, methods=methods)


def _in_own_threads(endpoint: Callable[..., Response], limiter: CapacityLimiter) -> Callable[..., Awaitable[Response]]:
    """Run an endpoint in threads of its own, so that requests that wait to write do not block those that read."""

    @functools.wraps(endpoint)
    async def run(**arguments: object) -> Response:
        return await to_thread.run_sync(functools.partial(endpoint, **arguments), limiter=limiter)

    return run


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    await run_in_threadpool(services.start)
    try:
        yield
    finally:
        await run_in_threadpool(services.close)
