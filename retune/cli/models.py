"""`retune models`: what can be fine-tuned and what can be talked to, and until when."""

from typing import TYPE_CHECKING, Annotated

import typer

from retune.choices import ProviderKind
from retune.cli.connection import BaseUrl, DataDirectory, ask
from retune.cli.terminal import as_local_time, print_json, print_quietly, print_table

if TYPE_CHECKING:
    from datetime import date

    from openai.types import Model

_NOT_KNOWN = "not known"

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
    """List base models, fine-tuned models and checkpoints, the newest first, and when the provider ends them."""
    from retune.config import ProviderConfig  # noqa: PLC0415 - pydantic takes a while to import
    from retune.provider import models  # noqa: PLC0415 - the SDK takes over a second to import
    from retune.provider.endpoint import resolve_endpoint  # noqa: PLC0415 - likewise

    found = ask(base_url, data_dir, models.list_models)
    if as_json:
        print_json([model.model_dump(mode="json") for model in found])
        return
    endpoint = resolve_endpoint(ProviderConfig(base_url=base_url))
    days = [_days_of(model, endpoint.kind if endpoint else "retune") for model in found]
    has_days = any(any(pair) for pair in days)
    rows = [[model.id, model.owned_by, as_local_time(model.created)] for model in found]
    if has_days:
        rows = [[*row, *pair] for row, pair in zip(rows, days, strict=True)]
    print_table(["model", "owned by", "created", *(("no new jobs from", "ends") if has_days else ())], rows)


def _days_of(model: "Model", kind: ProviderKind) -> tuple[str, str]:
    """From when no job is taken and the model does not answer; its own `shutdown_date` goes before what we know."""
    from retune.data.cost.base_models import base_model  # noqa: PLC0415
    from retune.data.cost.model_dates import find_dates  # noqa: PLC0415 - as above

    dates = find_dates(model.id, kind)
    if dates is None:
        return "", model.shutdown_date or ""
    ends = dates.base_shutdown if base_model(model.id) == model.id else dates.fine_tuned_shutdown
    return str(dates.new_jobs_end or ""), model.shutdown_date or str(ends or "")


@app.command("dates")
def show_dates(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show when OpenAI and Azure end their base models, as far as published. No account, no network.

    Each day is the first without: no new job, no answer. On other hosts, and on Retune's own server, no model has such
    a day.
    """
    from retune.data.cost.base_models import known_models, provider_dates  # noqa: PLC0415
    from retune.data.cost.model_dates import ModelDates, find_dates, utc_today  # noqa: PLC0415

    kinds: tuple[ProviderKind, ...] = ("openai", "azure")
    found = [dates for kind in kinds for name in known_models() if (dates := find_dates(name, kind))]
    if as_json:
        print_json([dates.model_dump(mode="json") for dates in found])
        return
    today = utc_today()

    def row(dates: ModelDates) -> list[str]:
        mark = "yes" if dates.takes_jobs(today) else ""
        earliest = dates.new_jobs_end_not_before
        jobs = f"not before {earliest}" if earliest and dates.new_jobs_end is None else _day(dates.new_jobs_end)
        return [dates.provider, dates.model, mark, jobs, _day(dates.base_shutdown), _day(dates.fine_tuned_shutdown)]

    columns = ["provider", "model", "trains today", "no new jobs from", "base ends", "fine-tuned models end"]
    print_table(columns, [row(dates) for dates in found])
    for kind in kinds:
        if published := provider_dates(kind):
            print_quietly(f"{kind}: {published.source}, of {published.as_of}, checked {published.checked}.")
            print_quietly(f"  {published.note}")


def _day(day: "date | None") -> str:
    return _NOT_KNOWN if day is None else day.isoformat()
