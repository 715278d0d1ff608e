"""`retune deploy`: register with a Prefect server everything that Retune needs."""

import os
from pathlib import Path
from typing import Annotated

import typer

from retune.extras import require
from retune.local.prefect_server import configured_api_url, running_address, running_server


def deploy(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="YAML file, as for `retune run --config`: what is retrained; default: RETUNE_RETRAIN_CONFIG, else "
            "examples/support_tickets.yaml.",
        ),
    ] = None,
) -> None:
    """Create or update the work pool, deployments, automations, limits and notifications.

    Prefect's server is the one that PREFECT_API_URL or the active Prefect profile names, else Retune's own, which has
    to be running.
    """
    require("`retune deploy`", "pipeline")
    if not configured_api_url() and running_address():
        address, password = running_server()
        os.environ.update(PREFECT_API_URL=f"{address}/api", PREFECT_API_AUTH_STRING=password)
    from deployments.register import Registration, register  # noqa: PLC0415 - Prefect takes seconds to import

    if config is not None:
        os.environ["RETUNE_RETRAIN_CONFIG"] = str(config)
    import asyncio  # noqa: PLC0415 - takes a while to import

    asyncio.run(register(Registration.from_environment(), typer.echo))
