"""What each process counts as it answers."""

import os
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values

UNKNOWN: Final = "unknown"
_DIRECTORY_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_METHODS = frozenset({"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"})
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)


class RequestMetrics:
    """Counts of requests and tokens. Labels hold nothing that a client could choose freely.

    Args:
        shared_directory: Where the server's processes keep their counts, so that any of them can add all up; None for
            a server that is one process.
    """

    def __init__(self, shared_directory: Path | None = None) -> None:
        if shared_directory:
            _keep_values_in(shared_directory)
        self.registry = CollectorRegistry()
        names = ["method", "route", "status"]
        self._requests = Counter("retune_http_requests", "Requests that were answered.", names, registry=self.registry)
        self._seconds = Histogram(
            "retune_http_request_duration_seconds",
            "Time from a request's headers to its answer's end.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._received = Counter(
            "retune_http_received_bytes", "Bytes of requests' bodies.", ["route"], registry=self.registry
        )
        self.in_flight = Gauge(
            "retune_http_requests_in_flight",
            "Requests that are being answered.",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self._tokens = Counter(
            "retune_completion_tokens", "Tokens of chats and completions.", ["kind"], registry=self.registry
        )
        self.models_loaded = Gauge(
            "retune_models_loaded",
            "Models that are in memory to answer, those of each worker.",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        # Finding a child by its labels takes longer than counting.
        self._request_children: dict[tuple[str, str, int], Counter] = {}
        self._route_children: dict[str, tuple[Histogram, Counter]] = {}

    def count_request(self, method: str, route: str, status: int, seconds: float, received_bytes: int) -> None:
        """Count one answer.

        Args:
            method: As the client named it.
            route: The route's template, or UNKNOWN.
            status: HTTP status; 0 where the client was gone before there was one.
            seconds: How long it took.
            received_bytes: How much of its body was read.
        """
        key = (method if method in _METHODS else "other", route, status)
        requests = self._request_children.get(key)
        if requests is None:
            requests = self._request_children.setdefault(key, self._requests.labels(*key))
        children = self._route_children.get(route)
        if children is None:
            children = (self._seconds.labels(route), self._received.labels(route))
            self._route_children[route] = children
        requests.inc()
        children[0].observe(seconds)
        if received_bytes:
            children[1].inc(received_bytes)

    def count_tokens(self, *, prompt: int, completion: int) -> None:
        """Count the tokens of one answer of a model."""
        self._tokens.labels("prompt").inc(prompt)
        self._tokens.labels("completion").inc(completion)


def _keep_values_in(directory: Path) -> None:
    os.environ[_DIRECTORY_VARIABLE] = str(directory)
    # The library reads the variable once, on import, which is before the settings are known.
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]  # has no types
