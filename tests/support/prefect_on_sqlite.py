"""A Prefect API on a SQLite file, which can be looked into."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import (
    PREFECT_SERVER_ANALYTICS_ENABLED,
    PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL,
    temporary_settings,
)

# Otherwise whoever waits for an event to be recorded waits five seconds.
QUICK_EVENTS_SECONDS = 0.2


@contextmanager
def prefect_on_sqlite() -> Iterator[None]:
    """While the block runs, clients in this process speak to it."""
    # Takes seconds, as it imports the server.
    from prefect.testing.utilities import prefect_test_harness

    settings = {
        PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL: QUICK_EVENTS_SECONDS,
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
