"""Reading the configuration, and describing what is wrong with it in plain words."""

import difflib
import os
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from retune.config import RetrainConfig
from retune.errors import ConfigError
from retune.training_lines.keys import JsonMapping, JsonObject

_EXAMPLE = Path("examples/support_tickets.yaml")


def load_config(path: str | PathLike[str] | None, overrides: JsonMapping | None = None) -> RetrainConfig:
    """Read settings from a YAML file, and override some of them, as the flags of the command line do.

    Args:
        path: YAML file, or None for the overrides alone.
        overrides: Nested mapping in the shape of `RetrainConfig`; None values and empty mappings are ignored.

    Raises:
        ConfigError: The file can't be read, a key is unknown, or a value is out of bounds.
    """
    settings = _read_yaml(Path(path)) if path else {}
    return parse_config(_merge(settings, _without_unset(overrides or {})))


def parse_config(settings: Mapping[str, object]) -> RetrainConfig:
    """Validate settings.

    Args:
        settings: Nested mapping in the shape of `RetrainConfig`.

    Raises:
        ConfigError: Every problem that was found, one per line; for an unknown key it names the most similar one.
        SecretInSettingsError: A setting holds a secret.
    """
    try:
        return RetrainConfig.model_validate(settings)
    except ValidationError as error:
        # A value that fits no branch of a union is reported once a branch, which reads the same.
        problems = dict.fromkeys(_describe(item) for item in error.errors())
        raise ConfigError("\n".join(problems)) from None


def _read_yaml(path: Path) -> JsonObject:
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Can't read the configuration file {path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path} must hold a mapping of settings, not {type(value).__name__}.")
    return value


def _without_unset(overrides: Mapping[str, object]) -> JsonObject:
    cleaned = {key: _without_unset(value) if isinstance(value, dict) else value for key, value in overrides.items()}
    return {key: value for key, value in cleaned.items() if value is not None and value != {}}


def _merge(base: JsonObject, over: JsonObject) -> JsonObject:
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        if not isinstance(value, dict):
            merged[key] = value
        elif inner is None or isinstance(inner, dict):
            merged[key] = _merge(inner or {}, value)
        # Any other value in the place of a section stays, so that the validation refuses it.
    return merged


def _describe(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "settings"
    if item["type"] == "extra_forbidden":
        *parents, name = item["loc"]
        known = list(_section(parents).model_fields)
        near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
        advice = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}."
        return f"{where}: unknown setting; {advice}"
    if item["type"] == "missing":
        return f"{where}: required, but missing."
    if item["type"] == "model_type":
        return f"{where}: must be a mapping of settings; found {item['input']!r}."
    if item["type"] == "value_error":
        # Raised by a section as a whole; the sentence holds the value that is wrong.
        return f"{where}: {item['msg'].removeprefix('Value error, ')}."
    return _describe_number_or_auto(item) or f"{where}: {item['msg']}; found {item['input']!r}."


def _describe_number_or_auto(item: Any) -> str | None:
    """Describe a value that is neither `auto` nor a number; None for every other problem."""
    *field, branch = item["loc"]
    if branch not in {"literal['auto']", "literal['unlimited']", "int", "float"}:
        return None
    *parents, name = field
    kinds = get_args(_section(parents).model_fields[name].annotation)
    number = "a number" if any(float in (kind, *get_args(kind)) for kind in kinds) else "a whole number"
    word = next(iter(get_args(kinds[0])))
    return f"{'.'.join(field)}: must be {word} or {number}; found {item['input']!r}."


def _section(path: list[str]) -> type[BaseModel]:
    section: type[BaseModel] = RetrainConfig
    for name in path:
        inner = section.model_fields[name].annotation
        assert isinstance(inner, type)  # noqa: S101 - every inner node of the configuration is a section
        assert issubclass(inner, BaseModel)  # noqa: S101 - as above
        section = inner
    return section


def scheduled_config_path() -> Path | None:
    """The file that says what is retrained on a schedule: RETUNE_RETRAIN_CONFIG, else the example's, if it is there."""
    if named := os.environ.get("RETUNE_RETRAIN_CONFIG"):
        return Path(named)
    return _EXAMPLE if _EXAMPLE.exists() else None
