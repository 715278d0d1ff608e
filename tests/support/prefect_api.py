"""Prefect APIs for tests in this process: one that a session shares, and one on a SQLite file that can be read."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from postgresql import missing
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_SERVER_ANALYTICS_ENABLED,
    PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL,
    temporary_settings,
)
from prefect_template import prefect_on_postgresql, shared_directory

# Otherwise whoever waits for an event to be recorded waits five seconds.
_QUICK_EVENTS_SECONDS = 0.2


@contextmanager
def session_prefect_api(directories: pytest.TempPathFactory) -> Iterator[None]:
    """On PostgreSQL where there is one: a busy SQLite stays locked for a minute now and then."""
    if missing():
        with prefect_on_sqlite():
            yield
        return
    flush = {"PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": str(_QUICK_EVENTS_SECONDS)}
    shared = shared_directory(directories)
    with prefect_on_postgresql(shared, directories.mktemp("prefect"), **flush) as server:
        settings = {PREFECT_API_URL: f"{server.url}/api", PREFECT_API_AUTH_STRING: server.auth_string}
        with temporary_settings(settings):
            yield


@contextmanager
def prefect_on_sqlite() -> Iterator[None]:
    """While the block runs, clients in this process speak to it."""
    # Takes seconds, as it imports the server.
    from prefect.testing.utilities import prefect_test_harness

    settings = {
        PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL: _QUICK_EVENTS_SECONDS,
        PREFECT_SERVER_ANALYTICS_ENABLED: False,
    }
    _forget_the_api()
    with temporary_settings(settings), prefect_test_harness(server_startup_timeout=180):
        yield
        _forget_the_api()


def _forget_the_api() -> None:
    # Those that send logs and events keep to the API that they were started with.
    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=10)
