"""The process of one flow run: python -P -m deployments.flow_run_process ENTRY_POINT, started by `deployments.worker`.

Prefect's own command asks its API what code to run, after the worker has asked: in between it may be other code. Here
the flow comes from the command line, and Prefect's API gives a run's parameters and states alone.
"""

import sys
from uuid import UUID

from deployments.definitions import entry_points


def main() -> int:
    """Run the flow; Prefect's own exit status."""
    [entry_point] = sys.argv[1:]
    if entry_point not in entry_points():
        print(f"error: {entry_point} is not a flow of Retune's deployments.", file=sys.stderr)  # noqa: T201
        return 1
    from prefect import flow_engine  # noqa: PLC0415 - Prefect takes seconds to import

    _keep_results_here()
    return flow_engine._main([entry_point])  # noqa: SLF001 - what Prefect's own launcher calls


def _keep_results_here() -> None:
    """Whoever may write to Prefect's API could name another storage for results, and a result may be a pickle."""
    from prefect import results  # noqa: PLC0415

    def none() -> UUID | None:
        return None

    async def none_later() -> UUID | None:
        return None

    results._read_server_default_result_storage_block_id = none  # noqa: SLF001
    results._aread_server_default_result_storage_block_id = none_later  # noqa: SLF001


if __name__ == "__main__":
    sys.exit(main())
