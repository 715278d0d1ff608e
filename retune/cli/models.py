"""`retune models`: what can be fine-tuned and what can be talked to."""

from typing import Annotated

import typer

from retune.cli.connection import BaseUrl, DataDirectory, ask
from retune.cli.terminal import as_local_time, print_json, print_table

app = typer.Typer(no_args_is_help=True, help="Models that the provider has.")


@app.callback()
def describe() -> None:
    """Models that the provider has."""


@app.command("list")
def list_models(
    base_url: BaseUrl = None,
    data_dir: DataDirectory = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List base models, fine-tuned models and checkpoints, the newest first."""
    from retune.provider import models  # noqa: PLC0415 - the SDK takes over a second to import

    found = ask(base_url, data_dir, models.list_models)
    if as_json:
        print_json([model.model_dump(mode="json") for model in found])
        return
    rows = [[model.id, model.owned_by, as_local_time(model.created)] for model in found]
    print_table(["model", "owned by", "created"], rows)
