"""Flags for settings: their names, types, defaults and descriptions are those of `RetrainConfig`.

A command with `cls=` a subclass of `SettingsCommand` has `--config` and a flag for every setting that the subclass
names; nothing of a setting is written twice. What the user gave is `given_settings(context)`. The flags are generated
when the command is called or its help is shown: pydantic takes a while to import, and the list of commands needs none.
"""

import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from inspect import Parameter, Signature
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args, get_origin

import typer
from typer.core import TyperCommand

from retune.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from retune.config import RetrainConfig

_GIVEN = "retune.given_settings"

# All others are called like their setting: --user-column for data.user_column.
_FLAGS = {
    "data.source": ("--data", "-d"),
    "data.validation_source": ("--validation-data",),
    "data.test_source": ("--test-data",),
    "data.message_rows.day_first": ("--day-first/--month-first",),
    "split.method": ("--split",),
    "split.seed": ("--split-seed",),
    "split.column": ("--split-column",),
    "split.stratify": ("--stratify/--no-stratify",),
    "training.model": ("--model", "-m"),
    "output_dir": ("--output-dir", "-o"),
}
# Placeholders of values in help, by the end of the setting's name; others are TEXT, NUMBER or INTEGER.
_METAVARS = {
    "column": "NAME",
    "sheet": "NAME",
    "model": "NAME",
    "source": "SOURCE",
    "query": "SQL",
    "url": "URL",
    "dir": "DIR",
}
_NUMBERS = {int: "INTEGER", float: "NUMBER"}


@dataclass(frozen=True, slots=True)
class GivenSettings:
    """The settings that a user gave on the command line.

    Attributes:
        config: The file of `--config`.
        values: The value of each flag that was given, by the setting's place: "split.seed".
        words: Each flag as it can be repeated, by the setting's place: ["--split-seed", "7"].
    """

    config: Path | None
    values: Mapping[str, Any]
    words: Mapping[str, list[str]]

    def load(self) -> "RetrainConfig":
        """Read the file and let the flags override it.

        Raises:
            ConfigError: A setting is not valid, or the file can't be read.
        """
        from retune.config_file import load_config  # noqa: PLC0415 - pydantic takes a while to import

        overrides: dict[str, Any] = {}
        for place, value in self.values.items():
            *sections, name = place.split(".")
            section = overrides
            for part in sections:
                section = section.setdefault(part, {})
            section[name] = value
        return load_config(self.config, overrides)


class SettingsCommand(TyperCommand):
    """A command with settings as flags.

    Attributes:
        panels: The settings, by the title of their panel in `--help`; None is the panel of other options. A section,
            such as "split", stands for all settings in it.
        source_is_argument: `data.source` is the command's argument, instead of the flag `--data`.
    """

    panels: ClassVar[Mapping[str | None, Collection[str]]]
    source_is_argument: ClassVar[bool] = False

    @cached_property
    def _settings(self) -> list[Any]:
        def settings() -> None: ...

        parameters = [self._parameter(place, field, panel) for place, field, panel in self._fields()]
        config = typer.Option(
            "--config",
            "-c",
            help="YAML file with settings; flags override it.",
            metavar="FILE",
            rich_help_panel=next(iter(self.panels)),
        )
        parameters.insert(1, _keyword("config", Path, config))
        settings.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # typer reads it, as inspect does
        single = typer.Typer(add_completion=False)
        single.command()(settings)
        return typer.main.get_command(single).params

    def _fields(self) -> "Iterator[tuple[str, FieldInfo, str | None]]":
        from retune.config import RetrainConfig  # noqa: PLC0415 - pydantic takes a while to import

        for panel, places in self.panels.items():
            for place in places:
                for inner, field in _leaves(RetrainConfig, place):
                    yield inner, field, panel

    def _parameter(self, place: str, field: "FieldInfo", panel: str | None) -> Parameter:
        kind, metavar, parser = _kind(place, field)
        text = _help(field)
        if place == "data.source" and self.source_is_argument:
            return _keyword(_name(place), kind, typer.Argument(help=text, metavar=metavar, show_default=False))
        flags = _FLAGS.get(place) or ("--" + place.rpartition(".")[2].replace("_", "-"),)
        option = typer.Option(*flags, help=text, metavar=metavar, parser=parser, rich_help_panel=panel)
        return _keyword(_name(place), kind, option)

    def get_params(self, ctx: typer.Context) -> list[Any]:  # type: ignore[override]  # typer types it with its own copy of click
        """The settings, then the command's own parameters, panel by panel."""
        panels = list(self.panels)
        parameters = [*self._settings, *super().get_params(ctx)]

        def rank(parameter: Any) -> int:
            if parameter.param_type_name == "argument":
                return -1
            panel = getattr(parameter, "rich_help_panel", None)
            return panels.index(panel) if panel in panels else len(panels)

        return sorted(parameters, key=rank)

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # as above
        """Keep the settings for `given_settings`, and call the command with its own parameters."""
        given = {one.name: (one, ctx.params.pop(one.name)) for one in self._settings}
        _, config = given["config"]
        present = {_place(name): pair for name, pair in given.items() if pair[1] is not None}
        ctx.meta[_GIVEN] = GivenSettings(
            config=config,
            values={place: value for place, (_, value) in present.items() if place != "config"},
            words={place: _words(parameter, value) for place, (parameter, value) in present.items()},
        )
        return super().invoke(ctx)


def given_settings(context: typer.Context) -> GivenSettings:
    """The settings that the user gave to a command of the class `SettingsCommand`."""
    given = context.meta[_GIVEN]
    assert isinstance(given, GivenSettings)  # noqa: S101 - put there by the command itself
    return given


def refuse_more_sources(context: typer.Context, source: str | None, usage: str) -> None:
    """Refuse further arguments: often the shell has replaced a pattern by the files that match it.

    Args:
        context: The command's context, with the arguments that it has no parameter for.
        source: The source that was given.
        usage: How the command names a source: "retune check".

    Raises:
        ConfigError: All arguments are files; the hint quotes the pattern.
        typer.BadParameter: They are not.
    """
    more = context.args
    if not more:
        return
    if source is None or not all(Path(name).exists() for name in [source, *more]):
        raise typer.BadParameter(f"Got unexpected extra argument(s) ({' '.join(more)})")
    paths = [Path(name) for name in [source, *more]]
    parents, suffixes = {path.parent for path in paths}, {path.suffix for path in paths}
    pattern = f"{parents.pop() if len(parents) == 1 else '**'}/*{suffixes.pop() if len(suffixes) == 1 else ''}"
    raise ConfigError(
        f"Expected one source, found {len(paths):,} files: {source}, {more[0]}{', …' if more[1:] else ''}.",
        hint=f"The shell expands a pattern that isn't quoted: use {usage} "
        f"{shlex.quote(pattern.removeprefix('./'))}, or name the folder.",
    )


def _leaves(model: "type[BaseModel]", place: str) -> "Iterator[tuple[str, FieldInfo]]":
    """The settings at a place: itself, or all in a section, in the order of the model."""
    section: Any = model
    *sections, name = place.split(".")
    for part in sections:
        section = section.model_fields[part].annotation
    field = section.model_fields[name]
    inner = getattr(field.annotation, "model_fields", None)
    if inner is None:
        yield place, field
    else:
        for key in inner:
            yield from _leaves(model, f"{place}.{key}")


def _kind(place: str, field: "FieldInfo") -> tuple[Any, str | None, Any]:
    """A flag's type, what its value is called, and how it is parsed where a type is not enough."""
    kinds = [kind for kind in _union(field.annotation) if kind is not NoneType]
    words = [get_args(kind)[0] for kind in kinds if get_origin(kind) is Literal]
    (kind,) = (kind for kind in kinds if get_origin(kind) is not Literal)
    if words:
        return Any, f"{words[0]}|{_NUMBERS[kind]}", _number_or_word
    if kind in _NUMBERS:
        return kind, _NUMBERS[kind], None
    is_text = kind in {str, Path}
    ending = next((shown for end, shown in _METAVARS.items() if place.endswith(end)), "TEXT")
    return kind, ending if is_text else None, None


def _union(annotation: object) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from _union(get_args(annotation)[0])
    elif get_origin(annotation) is None or get_origin(annotation) is Literal:
        yield annotation
    else:
        for kind in get_args(annotation):
            yield from _union(kind)


def _help(field: "FieldInfo") -> str:
    from retune.split_config import describe_setting  # noqa: PLC0415 - pydantic takes a while to import

    default = field.get_default(call_default_factory=True, validated_data={})
    is_plain = field.is_required() or default is None or default == "" or isinstance(default, bool)
    text = describe_setting(field)
    return text if is_plain else f"{text} Default: {_shown(default)}."


def _shown(default: object) -> str:
    if isinstance(default, int | float):
        return f"{default:,}".removesuffix(".0")
    return str(default)


def _number_or_word(text: str) -> int | float | str:
    """A number as a number; the validation of the settings reports any other word that is not allowed."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _words(parameter: Any, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [(parameter.opts if value else parameter.secondary_opts)[0]]
    return [parameter.opts[0], str(value)]


def _keyword(name: str, kind: Any, info: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, info])


def _name(place: str) -> str:
    return place.replace(".", "__")


def _place(name: str) -> str:
    return name.replace("__", ".")
