"""The requests that `retune up` sends to Prefect's API, about flow runs and workers."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from retune.local.prefect_access import as_basic

_TIMEOUT_SECONDS = 5
_PAUSES_SECONDS = (0.5, 1.0)
_UNAVAILABLE = 503
_UNDER_WAY = {"PENDING", "RUNNING"}


class PrefectApi:
    """A client of Prefect's API for a few requests, without importing Prefect.

    Args:
        address: Such as http://127.0.0.1:4200/api.
        password: `name:password`.
    """

    def __init__(self, address: str, password: str) -> None:
        self._address = address
        self._client = str(uuid4())
        self._headers = {"Content-Type": "application/json", "Authorization": f"Basic {as_basic(password)}"}

    def has_worker(self, work_pool: str, name: str) -> bool:
        """Whether a worker of this name is online."""
        try:
            workers = self._ask("POST", f"/work_pools/{work_pool}/workers/filter", {})
        except (OSError, ValueError):
            return False
        return any(worker["name"] == name and worker["status"] == "ONLINE" for worker in workers)

    def reschedule(self, flow_runs: Iterable[str], why: str) -> int:
        """Reschedule flow runs whose process has ended, for the next worker.

        Args:
            flow_runs: Their ids. Those that have ended meanwhile, or are being cancelled, are left alone.
            why: The message of their new state.

        Returns:
            How many were rescheduled.

        Raises:
            OSError: Prefect can't be reached, or refuses.
        """
        n_rescheduled = 0
        for flow_run in flow_runs:
            state = self._ask("GET", f"/flow_runs/{flow_run}")["state"]
            if state["type"] in _UNDER_WAY:
                again = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": why}
                self._ask("POST", f"/flow_runs/{flow_run}/set_state", {"state": again, "force": True})
                n_rescheduled += 1
        return n_rescheduled

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = dict(self._headers)
        if method != "GET":
            token = self._ask("GET", f"/csrf-token?client={self._client}")["token"]
            headers |= {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": self._client}
        request = urllib.request.Request(  # noqa: S310  (our own server's address)
            f"{self._address}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers=headers,
        )
        for pause in (*_PAUSES_SECONDS, None):
            try:
                with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                # Prefect's answer while its SQLite file is locked by another writer.
                if error.code != _UNAVAILABLE or pause is None:
                    raise
                time.sleep(pause)
        raise AssertionError("the last round returns or raises")
