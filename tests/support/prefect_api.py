"""Prefect servers for the tests: one that a session shares, and one on a SQLite file that can be read."""

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
from prefect_process import PrefectServer
from prefect_template import prefect_on_postgresql, shared_directory

# Otherwise whoever waits for an event to be recorded waits five seconds.
_QUICK_EVENTS_SECONDS = 0.2


@contextmanager
def session_prefect_server(directories: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A Prefect server with a password, on a PostgreSQL of its own; the test is skipped where there is none."""
    if why := missing():
        pytest.skip(why)
    flush = {"PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": str(_QUICK_EVENTS_SECONDS)}
    with prefect_on_postgresql(shared_directory(directories), directories.mktemp("prefect"), **flush) as server:
        yield server


@contextmanager
def clients_of(server: PrefectServer) -> Iterator[None]:
    """While the block runs, clients in this process speak to the server."""
    with temporary_settings({PREFECT_API_URL: f"{server.url}/api", PREFECT_API_AUTH_STRING: server.auth_string}):
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
