"""The application: routers, middleware, and the services behind them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from retune.server.api import health, metrics
from retune.server.api.errors import add_error_handlers
from retune.server.api.middleware import ApiMiddleware
from retune.server.batches import routes as batches
from retune.server.batches.runner import BatchRunner
from retune.server.chat import completions
from retune.server.chat import routes as chat
from retune.server.files import routes as files
from retune.server.jobs import graders, permissions
from retune.server.jobs import routes as jobs
from retune.server.models import routes as models
from retune.server.services import Services
from retune.server.settings import ServerSettings
from retune.server.uploads import routes as uploads


def create_app(settings: ServerSettings) -> FastAPI:
    """Build the server's application on its data directory, which it holds from now on.

    Raises:
        ServerError: Another server has the directory, it can't be written, or its database is damaged.
    """
    return build_app(open_services(settings))


def open_services(settings: ServerSettings) -> Services:
    """Open a data directory, with all the work behind requests.

    Raises:
        ServerError: Another server has the directory, it can't be written, or its database is damaged.
    """
    opened = Services.open(settings)
    # Batches answer with the routes' own functions, which know Services: so their runner joins it here.
    return replace(opened, background=(*opened.background, BatchRunner(opened)))


def build_app(services: Services) -> FastAPI:
    """Build the application; its lifespan starts the work behind requests, and at its end closes all services."""
    # No pages of documentation: they would load scripts from elsewhere, and unknown addresses are 404 here.
    app = FastAPI(lifespan=_lifespan, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.services = services
    app.add_middleware(ApiMiddleware, services=services)
    add_error_handlers(app)
    # Whose a path is they are asked in this order: the most wanted first.
    for module in (jobs, chat, files, models, batches, uploads, permissions, graders, completions):
        _add_routes(app, module.router, prefix="/v1")
    for module in (health, metrics):
        _add_routes(app, module.router, prefix="")
    return app


def _add_routes(app: FastAPI, router: APIRouter, *, prefix: str) -> None:
    """Add a router's routes to the application's own.

    `include_router` would keep the router, and FastAPI would look through it three times at each request.
    """
    for route in router.routes:
        if isinstance(route, APIRoute):
            app.add_api_route(prefix + route.path, route.endpoint, methods=sorted(route.methods or ()))


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    await run_in_threadpool(services.start)
    try:
        yield
    finally:
        await run_in_threadpool(services.close)
