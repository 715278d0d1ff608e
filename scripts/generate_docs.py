"""Writes the pages of docs/ that say what the code says: every command and flag, every setting, every known base model.

`make docs` runs it; with `--check` it only says which pages are out of date, and exits with 1.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from retune.cli.app import app
from retune.config import ProviderKind, RetrainConfig
from retune.data.cost.base_models import find_model, known_models, price_source, provider_dates
from retune.data.cost.model_dates import ModelDates, find_dates
from retune.files import atomic_write
from retune.split_config import describe_setting

DOCS = Path(__file__).parents[1] / "docs"
_WIDE_ENOUGH = 10_000
_NOT_KNOWN = "not known"


def commands_page() -> str:
    """Every command with its arguments and flags, in the words of `--help`."""
    root = typer.main.get_command(app)
    lines = ["# Commands", "", "What `--help` says, of every command."]
    for command, context in _commands(root, typer.Context(root, info_name="retune")):
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        lines += ["", f"## {context.command_path}", "", "```text", usage, "```", "", *_paragraphs(command.help or "")]
        for title, rows in _panels(command, context).items():
            lines += ["", f"**{title}**", "", *_table(["Name", "What it does"], rows)]
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    """Every setting of `RetrainConfig`, a table for each section."""
    lines = [
        "# Settings",
        "",
        "What a YAML file for `--config` may hold; the form in Prefect's UI and `retrain(config)` take the same.",
        "Flags override the file. [The pipeline](pipeline.md#settings) shows an example.",
    ]
    for title, about, rows in _sections(RetrainConfig, ""):
        lines += ["", f"## {title}", "", about, "", *_table(["Setting", "Default", "What it means"], rows)]
    return "\n".join(lines) + "\n"


def models_page() -> str:
    """What `models.json` knows: prices, contexts and methods, and when providers end their base models."""
    prices = price_source()
    facts = [(f"`{name}`", find_model(name)) for name in known_models()]
    rows = [
        [name, _price(model.usd_per_million_tokens, model.usd_per_hour), _count(model.training_context), methods]
        for name, model in facts
        if model and (methods := ", ".join(model.methods))
    ]
    lines = [
        "# Base models and prices",
        "",
        "What Retune knows of base models, without a network. Prices and dates change: these are estimates, and the",
        "provider's own pages decide. `retune models dates` also says which of them can be trained today.",
        "",
        "Retune's own server trains `baseline-text`, at no cost and without an end.",
        "",
        f"## Prices of {prices.as_of}",
        "",
        f"Source: {prices.source}; hourly prices: <{prices.source_per_hour}>.",
        "",
        *_table(["Model", "Training", "Longest example (tokens)", "Methods"], rows),
    ]
    for kind, name in (("openai", "OpenAI"), ("azure", "Azure")):
        lines += ["", f"## {name}: when base models end", "", *_dates_of(kind)]
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "settings.md": settings_page,
    "models.md": models_page,
}


def _commands(command: Any, context: Any) -> Iterator[tuple[Any, Any]]:
    """A command and all beneath it, in the order of `--help`; each with the context that its help is written in."""
    yield command, context
    for name, child in _children(command, context):
        yield from _commands(child, typer.Context(child, info_name=name, parent=context))


def _children(command: Any, context: Any) -> list[tuple[str, Any]]:
    """The commands of a group by their names; a group may load them only when it is asked."""
    names = command.list_commands(context) if hasattr(command, "list_commands") else []
    return [(name, command.get_command(context, name)) for name in names]


def _panels(command: Any, context: Any) -> dict[str, list[list[str]]]:
    panels: dict[str, list[list[str]]] = {}
    for parameter in command.get_params(context):
        if getattr(parameter, "hidden", False) or "--help" in parameter.opts:
            continue
        kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
        panels.setdefault(parameter.rich_help_panel or kind, []).append(_row(*parameter.get_help_record(context)))
    for name, child in _children(command, context):
        path = f"{context.command_path} {name}"
        link = f"[`{path}`](#{path.replace(' ', '-')})"
        panels.setdefault("Commands", []).append([link, child.get_short_help_str(limit=_WIDE_ENOUGH)])
    return panels


def _row(name: str, text: str) -> list[str]:
    """`--format <csv|jsonl>` names its choices in the text: GitHub and the site disagree on bars in a table's code."""
    flag, _, choices = name.partition(" <")
    if "|" not in choices:
        return [f"`{name}`".replace("|", "` or `"), text]
    listed = ", ".join(f"`{choice}`" for choice in choices.rstrip(">").split("|"))
    return [f"`{flag}`", f"{_escape(text)} One of {listed}."]


def _paragraphs(text: str) -> list[str]:
    return [line.strip() for line in text.replace("\f", "").strip().splitlines()]


def _sections(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, list[list[str]]]]:
    own, nested = [], []
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            nested.append((field.annotation, f"{key}."))
        else:
            own.append([f"`{key}`", _default(field), _meaning(field)])
    title = f"`{prefix.rstrip('.')}`" if prefix else "At the top"
    yield title, (model.__doc__ or "").partition("\n\n")[0].replace("\n    ", " "), own
    for section, key in nested:
        yield from _sections(section, key)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    plain = value.value if isinstance(value, Enum) else value
    if plain is None or plain == "":
        return ""
    return f"`{str(plain).lower() if isinstance(plain, bool) else plain}`"


def _meaning(field: FieldInfo) -> str:
    kind = field.annotation
    choices = [str(choice.value) for choice in kind] if isinstance(kind, type) and issubclass(kind, Enum) else []
    listed = f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else ""
    return f"{describe_setting(field)}{listed}"


def _dates_of(kind: str) -> list[str]:
    provider = next(known for known in get_args(ProviderKind) if known == kind)
    published = provider_dates(provider)
    if published is None:
        return []
    found = [dates for name in known_models() if (dates := find_dates(name, provider))]
    general = f"From {published.new_jobs_end} on, no new job on any model. " if published.new_jobs_end else ""
    return [
        f"{general}{published.note}",
        "",
        f"Each day is the first without. Source: <{published.source}> of {published.as_of}, checked on",
        f"{published.checked}.",
        "",
        *_table(
            ["Model", "No new jobs from", "Base model ends", "Fine-tuned models end"],
            [[f"`{dates.model}`", *_days(dates)] for dates in found],
        ),
    ]


def _days(dates: ModelDates) -> list[str]:
    earliest = dates.new_jobs_end_not_before
    jobs = (
        f"not before {earliest}" if earliest and dates.new_jobs_end is None else str(dates.new_jobs_end or _NOT_KNOWN)
    )
    return [jobs, *(str(day or _NOT_KNOWN) for day in (dates.base_shutdown, dates.fine_tuned_shutdown))]


def _price(per_million: float | None, per_hour: float | None) -> str:
    if per_million is not None:
        return f"${per_million:g} per million tokens"
    return f"${per_hour:g} per hour" if per_hour is not None else _NOT_KNOWN


def _count(number: int | None) -> str:
    return _NOT_KNOWN if number is None else f"{number:,}"


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    escaped = [[_escape(cell) for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *escaped]]


def _escape(cell: str) -> str:
    """Bars would end the cell, and braces and angle brackets outside of code would be markup."""
    plain = cell.replace("|", "\\|").replace("\n", " ")
    return plain if "`" in plain or "](" in plain else plain.replace("<", "&lt;").replace("*", "\\*")


def main() -> int:
    """Write the pages, or with `--check` compare them; the exit status is 1 where one is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    only_check = parser.parse_args().check
    stale = []
    for name, page in PAGES.items():
        text, path = page(), DOCS / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not only_check:
            with atomic_write(path, is_private=False) as stream:
                stream.write(text.encode())
    if only_check and stale:
        sys.stderr.write(f"Out of date: {', '.join(stale)}. Run `make docs` and commit the pages.\n")
    return 1 if only_check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
