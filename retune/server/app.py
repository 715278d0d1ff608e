"""The application: routers, middleware, and the services behind them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from retune.server.api import health
from retune.server.api.authentication import ApiKeyCheck
from retune.server.api.errors import add_error_handlers
from retune.server.api.middleware import ApiMiddleware
from retune.server.batches import routes as batches
from retune.server.chat import completions
from retune.server.chat import routes as chat
from retune.server.files import routes as files
from retune.server.jobs import permissions
from retune.server.jobs import routes as jobs
from retune.server.models import routes as models
from retune.server.services import Services
from retune.server.settings import ServerSettings
from retune.server.uploads import routes as uploads


def create_app(settings: ServerSettings) -> FastAPI:
    """Build the server's application on its data directory, which it holds from now on.

    Its lifespan starts the work behind requests, and at its end stops it and gives the directory back.

    Raises:
        ServerError: Another server has the directory, it can't be written, or its database is damaged.
    """
    services = Services.open(settings)
    # No pages of documentation: they would load scripts from elsewhere, and unknown addresses are 404 here.
    app = FastAPI(lifespan=_lifespan, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.services = services
    app.add_middleware(ApiMiddleware, key_check=ApiKeyCheck(settings.api_key))
    add_error_handlers(app)
    app.include_router(health.router)
    for module in (files, uploads, jobs, permissions, models, chat, completions, batches):
        app.include_router(module.router, prefix="/v1")
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    await run_in_threadpool(services.start)
    try:
        yield
    finally:
        await run_in_threadpool(services.close)
