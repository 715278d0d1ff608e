"""`retune evaluate`: any models, wherever they are, on the same examples."""

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack, nullcontext
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from retune.cli.check_view import ReadingBar
from retune.cli.connection import BaseUrl, DataDirectory
from retune.cli.setting_flags import SettingsCommand, given_settings
from retune.cli.terminal import print_json, print_line, print_quietly, print_unfolded, visible
from retune.cli.working_directory import working_directory
from retune.errors import AuthenticationFailedError, ConfigError, SourceError
from retune.local.connection import key_is_for, provider_connection
from retune.private_files import home_directory

if TYPE_CHECKING:
    import openai
    from rich.table import Table

    from retune.config import ProviderConfig, RetrainConfig
    from retune.evaluation.evaluate_models import EvaluatedModel, ModelsEvaluation
    from retune.evaluation.examples import EvaluationExample

_EXIT_SILENT = 1


class EvaluateCommand(SettingsCommand):
    """`retune evaluate` with the settings of the data and of the evaluation."""

    panels: ClassVar = {"Data": ["data"], "Evaluation": ["evaluation"]}


Models = Annotated[
    list[str],
    typer.Argument(
        help="Models to compare; the first is what the others are compared with. MODEL@URL for one at another address.",
        metavar="MODEL...",
    ),
]
KeyFor = Annotated[
    list[str] | None,
    typer.Option(
        "--key-for",
        help="The environment variable with the key for an address: URL=VARIABLE. Repeatable. OPENAI_API_KEY is for "
        "--base-url, else OPENAI_BASE_URL, else OpenAI.",
        metavar="URL=VARIABLE",
    ),
]


def evaluate(
    context: typer.Context,
    models: Models,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    key_for: KeyFor = None,
    base_url: BaseUrl = None,
    data_dir: DataDirectory = None,
) -> None:
    """Ask models the questions of your examples, and compare their scores, with 95 % intervals.

    The expected answers are the last assistant messages, or completions, of the data. Nothing is trained. Answers are
    kept in .retune/evaluations, so that a question is asked and paid once.

    Exit status 0: every model answered; 1: one answered nothing.
    """
    given = given_settings(context)
    if "data.source" not in given.values and given.config is None:
        raise typer.BadParameter("Name the examples with --data, or a --config that names them.", param_hint="--data")
    settings = given.load()
    if given.config is not None:
        print_quietly("All examples of the data are asked, also those that a model was trained on.")
    examples = _read(settings)
    keys = _parse_keys(key_for or [])
    addresses = [address for _, address in map(_parse_model, models)]
    # Where every model has an address no server is started; OPENAI_API_KEY stays with what --base-url names.
    named = key_is_for(base_url) if base_url else nullcontext()
    with provider_connection(base_url, data_dir) if None in addresses else named as provider:
        found = _ask(models, keys, provider, examples, settings)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        _show(found)
    if found.silent:
        raise typer.Exit(_EXIT_SILENT)


def _read(settings: "RetrainConfig") -> "list[EvaluationExample]":
    with working_directory() as directory, ReadingBar().shown() as bar:
        from retune.data.ingest.load import LoadOptions, load_examples  # noqa: PLC0415 - takes half a second
        from retune.evaluation.examples import read_examples  # noqa: PLC0415 - likewise

        options = LoadOptions(model=settings.training.model, method=None, checks=False, counts_tokens=False)
        store = load_examples(settings.data, settings.split, options, directory / "examples", on_progress=bar.read)
        lines = directory / "examples.jsonl"
        with lines.open("wb") as stream:
            stream.writelines(line if line.endswith(b"\n") else line + b"\n" for line in store.lines())
        limit = settings.evaluation.max_examples
        examples = read_examples(lines, limit=None if limit == "auto" else limit)
        n_read = len(store)
    if not examples:
        raise SourceError(
            f"{settings.data.label} has no example with an answer in text to compare with.",
            hint="The last message of an example must be the assistant's; for columns, name --assistant-column.",
        )
    if len(examples) < n_read and limit == "auto":
        print_quietly(f"{n_read - len(examples):,} of {n_read:,} examples have no answer in text and are left out.")
    return examples


def _parse_model(text: str) -> tuple[str, str | None]:
    """A model's name, and its address where one stands behind an @."""
    for scheme in ("@https://", "@http://"):
        name, found, rest = text.rpartition(scheme)
        if found:
            return name, f"{scheme[1:]}{rest}"
    return text, None


def _parse_keys(given: Sequence[str]) -> dict[str, str]:
    """Keys by the addresses that they are for."""
    keys = {}
    for text in given:
        address, _, variable = text.rpartition("=")
        key = os.environ.get(variable)
        if not address or not key:
            # Not what was given: it may be the key itself.
            found = "no variable has the name given" if address else "what was given lacks the ="
            raise ConfigError(
                f"--key-for needs an address and the name of a variable that holds its key; {found}.",
                hint="For example: --key-for https://api.openai.com/v1=OPENAI_KEY, after export OPENAI_KEY=...",
            )
        keys[address.rstrip("/")] = key
    return keys


def _ask(
    models: Sequence[str],
    keys: dict[str, str],
    provider: "ProviderConfig | None",
    examples: "Sequence[EvaluationExample]",
    settings: "RetrainConfig",
) -> "ModelsEvaluation":
    import asyncio  # noqa: PLC0415 - takes a while to import

    from retune.config import ProviderConfig  # noqa: PLC0415 - likewise
    from retune.evaluation.evaluate_models import ModelToAsk, evaluate_models  # noqa: PLC0415 - the SDK: a second
    from retune.provider.endpoint import require_endpoint  # noqa: PLC0415 - likewise

    async def ask_all() -> "ModelsEvaluation":
        async with AsyncExitStack() as stack:
            asked: list[ModelToAsk] = []
            for text in models:
                model, address = _parse_model(text)
                config = ProviderConfig(base_url=address) if address else provider
                assert config is not None  # noqa: S101 - `evaluate` connects where a model has no address
                client = await stack.enter_async_context(_client(config, keys))
                endpoint = require_endpoint(config)
                host = "local" if endpoint.identity == "local" else endpoint.base_url
                asked.append(ModelToAsk(model, host, client))
            _refuse_unused(keys, [str(one.client.base_url) for one in asked])
            with ReadingBar().shown() as bar:
                return await evaluate_models(
                    asked,
                    examples,
                    settings.evaluation,
                    answers_directory=home_directory() / "evaluations",
                    on_progress=lambda model, done, total: bar.count(done, total, f"asking {visible(model)}"),
                )

    return asyncio.run(ask_all())


def _refuse_unused(keys: dict[str, str], addresses: Sequence[str]) -> None:
    from retune.provider.keys import covers  # noqa: PLC0415 - pydantic takes a while to import

    for named in keys:
        if not any(covers(named, address) for address in addresses):
            raise ConfigError(
                f"--key-for {named}: none of the models is at that address; they are at {', '.join(addresses)}.",
                hint="Name the address as it stands behind the model's @, or in --base-url.",
            )


def _client(config: "ProviderConfig", keys: dict[str, str]) -> "openai.AsyncOpenAI":
    from retune.provider.client import NO_KEY, build_client  # noqa: PLC0415 - the SDK takes over a second to import
    from retune.provider.endpoint import is_local, require_endpoint  # noqa: PLC0415 - likewise
    from retune.provider.keys import covers, environment_address  # noqa: PLC0415 - likewise

    address = require_endpoint(config).base_url
    for named, key in keys.items():
        if covers(named, address):
            return build_client(config, key)
    if covers(environment_address(), address):
        return build_client(config)
    if is_local(address):
        return build_client(config, NO_KEY)
    raise AuthenticationFailedError(
        f"No key is known for {address}: OPENAI_API_KEY is for {environment_address()}.",
        hint=f"Name the variable that holds its key: --key-for {address}=VARIABLE",
    )


def _show(found: "ModelsEvaluation") -> None:
    print_unfolded(_table(found))
    first = found.titles[0]
    for title, model in list(zip(found.titles, found.models, strict=True))[1:]:
        print_line(visible(f"{title} against {first}: {_verdict(found.models[0], model)}"))
    for title, model in zip(found.titles, found.models, strict=True):
        scores = model.scores
        if scores.n_errors:
            answered = f"{title} answered {scores.n_answered:,} of the {found.n:,} examples"
            print_line(visible(f"{answered}: {scores.commonest_error}"))


def _verdict(first: "EvaluatedModel", other: "EvaluatedModel") -> str:
    from retune.evaluation.comparison import format_p_value  # noqa: PLC0415 - pydantic takes a while to import

    difference = other.difference
    if difference is None or not (first.scores.n_answered and other.scores.n_answered):
        return "nothing to compare."
    certain = "more than chance" if difference.is_certain else "may be chance"
    needed = "" if difference.n_needed is None else f"; about {difference.n_needed:,} examples are needed to tell"
    moved = f"{other.rows[0].title} {other.rows[0].shown('difference')}"
    return f"{moved}, p {format_p_value(difference.p_value)}, {certain}{needed}."


def _table(found: "ModelsEvaluation") -> "Table":
    from rich.table import Table  # noqa: PLC0415 - only where there is a result
    from rich.text import Text  # noqa: PLC0415 - likewise

    table = Table(title=f"{found.n:,} examples", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("")
    for title in found.titles:
        table.add_column(Text(visible(title)), justify="right")
    titles = {row.name: row.title for model in found.models for row in model.rows}
    values = [{row.name: row.shown("fine_tuned") for row in model.rows} for model in found.models]
    for name, title in titles.items():
        table.add_row(Text(visible(title)), *(model.get(name, "–") for model in values))
    return table
