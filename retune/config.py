"""Everything that a run needs, as one validated and serialisable value.

The same model reads a YAML file, the command line's flags and the flow's parameters; Prefect draws its run form
from it. Secrets are no part of it: API keys come from the environment.
"""

import difflib
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from retune.errors import ConfigError

Auto = Literal["auto"]

# The base model that Retune's own server always has.
LOCAL_MODEL = "baseline-text"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _empty_means_defaults(cls, value: Any) -> Any:
        # YAML reads a section whose lines are all commented out as None.
        return {} if value is None else value


class SourceFormat(StrEnum):
    """How the source is read; `auto` goes by the file's name."""

    AUTO = "auto"
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    PICKLE = "pickle"


class DataConfig(_Section):
    """Where the examples come from and which columns hold what."""

    path: Path = Field(description="CSV, JSONL, Parquet or pandas pickle file with the examples.")
    format: SourceFormat = Field(SourceFormat.AUTO, description="How to read the file; auto goes by its name.")
    user_column: str | None = Field(None, description="Column with what the user says.")
    assistant_column: str | None = Field(None, description="Column with the answer to learn.")
    system: str | None = Field(None, description="System prompt put before every example.")
    messages_column: str = Field(
        "messages",
        description="Column with ready chat messages, used where no user and assistant columns are named.",
    )

    @model_validator(mode="after")
    def _columns_come_in_pairs(self) -> Self:
        if (self.user_column is None) != (self.assistant_column is None):
            missing = "user_column" if self.user_column is None else "assistant_column"
            raise ValueError(f"user_column and assistant_column go together; {missing} is missing")
        return self


class SplitMethod(StrEnum):
    """How examples are dealt to train, validation and test.

    `stable` goes by a keyed hash of each example's content, so an example never changes sides as the data grows;
    `random` is scikit-learn's shuffle.
    """

    STABLE = "stable"
    RANDOM = "random"


class SplitConfig(_Section):
    """Fractions of the data for validation and test; the rest is trained on."""

    method: SplitMethod = Field(SplitMethod.STABLE, description="stable: by content; random: shuffled.")
    validation: float = Field(0.1, ge=0, le=0.5, description="Fraction held out to watch the training.")
    test: float = Field(0.1, ge=0, le=0.5, description="Fraction held out to judge the finished model.")
    seed: int = Field(42, ge=0, le=2**31 - 1, description="Another seed deals another split.")


class HyperparametersConfig(_Section):
    """Hyperparameters: a number, or auto for the provider's choice."""

    n_epochs: Auto | int = Field("auto", description="Passes over the training file, 1 to 50.")
    batch_size: Auto | int = Field("auto", description="Examples per step, 1 to 256.")
    learning_rate_multiplier: Auto | float = Field("auto", description="Scales the learning rate; above 0.")

    @model_validator(mode="after")
    def _within_the_published_bounds(self) -> Self:
        for name, low, high in (("n_epochs", 1, 50), ("batch_size", 1, 256)):
            value = getattr(self, name)
            if value != "auto" and not low <= value <= high:
                raise ValueError(f"{name} must be auto or between {low} and {high}, not {value}")
        if self.learning_rate_multiplier != "auto" and self.learning_rate_multiplier <= 0:
            raise ValueError(f"learning_rate_multiplier must be auto or above 0, not {self.learning_rate_multiplier}")
        return self


class TrainingConfig(_Section):
    """The fine-tuning job."""

    model: str = Field(LOCAL_MODEL, min_length=1, description="Base model to fine-tune.")
    method: Literal["supervised"] = Field("supervised", description="Training method.")
    hyperparameters: HyperparametersConfig = Field(
        default_factory=HyperparametersConfig, description="Numbers, or auto."
    )
    suffix: str | None = Field(None, min_length=1, max_length=64, description="Put into the fine-tuned model's name.")
    seed: int | None = Field(42, ge=0, le=2**31 - 1, description="Seed of the training.")
    poll_interval_seconds: Auto | float = Field(
        "auto", description="First pause between two looks at the job; auto: 0.5 on this machine, 10 elsewhere."
    )
    max_poll_interval_seconds: float = Field(
        60.0, gt=0, le=600, description="Longest pause between two looks at the job."
    )

    @model_validator(mode="after")
    def _pauses_are_not_zero(self) -> Self:
        if self.poll_interval_seconds != "auto" and not 0 < self.poll_interval_seconds <= 600:
            raise ValueError(
                f"poll_interval_seconds must be auto, or above 0 up to 600, not {self.poll_interval_seconds}"
            )
        return self


class EvaluationConfig(_Section):
    """How base and fine-tuned model are judged on the test split."""

    concurrency: int = Field(8, ge=1, le=256, description="Requests under way at once.")
    max_tokens: int = Field(512, ge=1, le=16_384, description="Longest answer, in tokens.")
    temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature.")
    max_examples: Auto | int = Field("auto", description="Judge on at most so many test examples; auto takes all.")

    @model_validator(mode="after")
    def _at_least_one_example(self) -> Self:
        if self.max_examples != "auto" and self.max_examples < 1:
            raise ValueError(f"max_examples must be auto or at least 1, not {self.max_examples}")
        return self


class ProviderConfig(_Section):
    """Who trains."""

    base_url: str | None = Field(
        None,
        description="The API's address. Empty: OPENAI_BASE_URL, else the local server that `retune run` starts.",
    )
    timeout_seconds: float = Field(120.0, gt=0, le=3600, description="Longest wait for one answer.")
    is_embedded: bool = Field(False, description="Set by `retune run` for the server that it started.")


class RetrainConfig(_Section):
    """Everything that a run needs."""

    data: DataConfig = Field(description="Where the examples come from.")
    split: SplitConfig = Field(default_factory=SplitConfig, description="Train, validation and test.")
    training: TrainingConfig = Field(default_factory=TrainingConfig, description="The fine-tuning job.")
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig, description="How the models are judged.")
    provider: ProviderConfig = Field(default_factory=ProviderConfig, description="Who trains.")
    output_dir: Path | None = Field(
        None, description="The run's directory. Empty: one named by the run key, under .retune/runs/."
    )
    attempt: str | None = Field(
        None,
        max_length=64,
        description="Any text; another text makes a new job for the same data and settings.",
    )


def load_config(path: Path | None, overrides: dict[str, Any]) -> RetrainConfig:
    """Read a YAML file and lay the overrides (the command line's flags) over it.

    Args:
        path: YAML file, or None for the overrides alone.
        overrides: Nested mapping in the shape of `RetrainConfig`; None values and empty mappings are left out.

    Raises:
        ConfigError: The file can't be read, a key is unknown, or a value is out of bounds.
    """
    settings = _read_yaml(path) if path else {}
    return parse_config(_merge(settings, _without_unset(overrides)))


def parse_config(settings: dict[str, Any]) -> RetrainConfig:
    """Validate settings, saying of every unknown key which known one is nearest.

    Raises:
        ConfigError: With every problem that was found, one a line.
    """
    try:
        return RetrainConfig.model_validate(settings)
    except ValidationError as error:
        # A value that fits no branch of a union is reported once a branch, which reads the same.
        problems = dict.fromkeys(_describe(item) for item in error.errors())
        raise ConfigError("\n".join(problems)) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Can't read the configuration file {path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path} must hold a mapping of settings, not {type(value).__name__}.")
    return value


def _without_unset(overrides: dict[str, Any]) -> dict[str, Any]:
    cleaned = {key: _without_unset(value) if isinstance(value, dict) else value for key, value in overrides.items()}
    return {key: value for key, value in cleaned.items() if value is not None and value != {}}


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
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
    if branch not in {"literal['auto']", "int", "float"}:
        return None
    *parents, name = field
    kinds = get_args(_section(parents).model_fields[name].annotation)
    number = "a number" if float in kinds else "a whole number"
    return f"{'.'.join(field)}: must be auto or {number}; found {item['input']!r}."


def _section(path: list[str]) -> type[BaseModel]:
    section: type[BaseModel] = RetrainConfig
    for name in path:
        inner = section.model_fields[name].annotation
        assert isinstance(inner, type)  # noqa: S101 - every inner node of the configuration is a section
        assert issubclass(inner, BaseModel)  # noqa: S101 - as above
        section = inner
    return section
