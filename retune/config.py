"""Everything that a run needs, as one validated and serialisable value.

The same model reads a YAML file, the command line's flags and the flow's parameters; Prefect draws its run form
from it. Secrets are no part of it: API keys come from the environment.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from retune.choices import LOCAL_MODEL, Auto, ExampleShape, ProviderKind, SourceFormat, SplitMethod
from retune.errors import SecretInSettingsError
from retune.message_rows_config import MessageRowsConfig
from retune.redaction.addresses import find_secret, source_label
from retune.split_config import Bounds, Section, SplitConfig

__all__ = [
    "LOCAL_MODEL",
    "Auto",
    "DataConfig",
    "EvaluationConfig",
    "ExampleShape",
    "HyperparametersConfig",
    "LimitsConfig",
    "MessageRowsConfig",
    "ProviderConfig",
    "ProviderKind",
    "RetrainConfig",
    "SourceFormat",
    "SplitConfig",
    "SplitMethod",
    "TrainingConfig",
]


class LimitsConfig(Section):
    """Limits above which a source is refused. The defaults are far above what fine-tuning needs."""

    max_source_gb: float = Field(50, gt=0, le=1e6, description="Refuse a larger source: gigabytes, unpacked.")
    max_unpacked_ratio: float = Field(
        200, ge=1, le=1e9, description="Refuse a compressed file that unpacks to more than this many times its size."
    )
    max_row_mb: int = Field(32, ge=4, le=1024, description="Refuse a larger row, line or cell: megabytes.")
    max_pickle_mb: int = Field(
        512,
        ge=1,
        le=1_000_000,
        description="Refuse a pickle or workbook that needs more megabytes of memory; both are read whole.",
    )
    max_rows: int = Field(
        20_000_000, ge=1, le=2_000_000_000, description="Refuse a source with more examples; each takes some memory."
    )
    max_errors: int = Field(
        1_000_000, ge=1, le=2_000_000_000, description="Stop reading after more errors than this, and report these."
    )
    max_disk_gb: float = Field(
        100, gt=0, le=1e6, description="Refuse a source whose examples take more gigabytes of disk while it is read."
    )
    max_minutes: float = Field(240, gt=0, le=1e6, description="Refuse a source that takes more minutes to read.")


class DataConfig(Section):
    """Where the examples come from and which columns hold what."""

    source: str = Field(
        min_length=1,
        description="File, folder, pattern ('data/*.csv') or address (s3://…, https://…) of CSV, TSV, JSONL, JSON, "
        "Parquet, Arrow, Excel or pandas pickle; or a database's address (postgresql://…, sqlite:///…) for a query.",
    )
    format: SourceFormat = Field(SourceFormat.AUTO, description="Format of the source; auto goes by its name.")
    sheet: str | None = Field(
        None, min_length=1, description="Sheet of a workbook to read; by default the first that is not empty."
    )
    no_header: bool = Field(
        False, description="The first row of a CSV or TSV file is an example; columns are called column 1, column 2, …"
    )
    query: str | None = Field(None, description="SQL query whose rows are the source; for a database's address.")
    trust_pickle: bool = Field(
        False, description="Let a pickle run the code in it. Only for files that you made yourself."
    )
    follow_links: bool = Field(
        False, description="In a folder or pattern, read links that lead out of it, which are refused otherwise."
    )
    validation_source: str | None = Field(
        None,
        min_length=1,
        description="File, folder, pattern or address of the validation split; none is drawn then.",
    )
    test_source: str | None = Field(
        None, min_length=1, description="File, folder, pattern or address of the test split; it is never trained on."
    )
    ignore_splits: bool = Field(
        False,
        description="Draw new splits, whatever file names, keys or a column named split declare; rows declared as test "
        "are then trained on too.",
    )
    limits: LimitsConfig = Field(default_factory=LimitsConfig, description="Limits above which a source is refused.")
    shape: ExampleShape = Field(ExampleShape.AUTO, description="What a row holds; auto goes by the columns.")
    user_column: str | None = Field(None, description="Column with the user's message.")
    assistant_column: str | None = Field(None, description="Column with the answer to learn.")
    user_template: str | None = Field(
        None, description="User's message, built from columns, such as '{subject}: {body}'."
    )
    assistant_template: str | None = Field(None, description="Answer to learn, built from columns.")
    system: str | None = Field(
        None, description="System prompt of every example; may name columns in braces where a template does."
    )
    messages_column: str = Field(
        "messages",
        description="Column with ready chat messages, used if no user and assistant columns are named.",
    )
    message_rows: MessageRowsConfig = Field(
        default_factory=MessageRowsConfig, description="Columns of a table with one message a row."
    )

    @field_validator("source", "validation_source", "test_source")
    @classmethod
    def _holds_no_secret(cls, value: str | None, info: ValidationInfo) -> str | None:
        # It is written into manifests, reports and Prefect's database, as all settings are.
        if value is not None and (found := find_secret(value)):
            name = info.field_name
            # Not a ValueError: pydantic would add the value, and Prefect would log it.
            raise SecretInSettingsError(
                f"data.{name}: {name} holds {found}; write ${{NAME}} in its place, and put it into that variable."
            )
        return value

    @model_validator(mode="after")
    def _columns_come_in_pairs(self) -> Self:
        for role in ("user", "assistant"):
            column, template = getattr(self, f"{role}_column"), getattr(self, f"{role}_template")
            if column is not None and template is not None:
                raise ValueError(f"{role}_column and {role}_template exclude each other; name one of them")
        has_user = self.user_column is not None or self.user_template is not None
        has_assistant = self.assistant_column is not None or self.assistant_template is not None
        if has_user != has_assistant:
            missing = "assistant_column" if has_user else "user_column"
            raise ValueError(f"user_column and assistant_column go together; {missing} is missing")
        return self

    @property
    def held_out_sources(self) -> dict[str, str]:
        """The sources of single splits that are named, by the split: validation, test."""
        named = {"validation": self.validation_source, "test": self.test_source}
        return {split: source for split, source in named.items() if source is not None}

    @property
    def label(self) -> str:
        """A short name for the source, for file names and titles: "tickets" for data/tickets.csv.gz."""
        return source_label(self.source)


_Epochs = Annotated[int, Bounds(1, 50)]
_BatchSize = Annotated[int, Bounds(1, 256)]
_Multiplier = Annotated[float, Bounds(0, excludes_low=True)]
_Seed = Annotated[int, Bounds(0, 2**31 - 1)]
_Minutes = Annotated[float, Bounds(0, 1440)]
_Pause = Annotated[float, Bounds(0, 600, excludes_low=True)]
_Count = Annotated[int, Bounds(1)]
_Dollars = Annotated[float, Bounds(0)]


class HyperparametersConfig(Section):
    """Hyperparameters: a number, or auto for the provider's choice."""

    n_epochs: Auto | _Epochs = Field("auto", description="Passes over the training file.")
    batch_size: Auto | _BatchSize = Field("auto", description="Examples per step.")
    learning_rate_multiplier: Auto | _Multiplier = Field("auto", description="Scales the learning rate.")


class TrainingConfig(Section):
    """The fine-tuning job."""

    model: str = Field(LOCAL_MODEL, min_length=1, description="Base model to fine-tune.")
    method: Literal["supervised"] = Field("supervised", description="Training method.")
    hyperparameters: HyperparametersConfig = Field(
        default_factory=HyperparametersConfig, description="Numbers, or auto."
    )
    suffix: str | None = Field(None, min_length=1, max_length=64, description="Added to the fine-tuned model's name.")
    seed: Auto | _Seed = Field(42, description="Seed of the training; auto lets the provider choose.")
    max_cost_usd: Literal["unlimited"] | _Dollars = Field(
        "unlimited", description="Refuse a run that would cost more US dollars, before anything is uploaded."
    )
    approve_above_usd: Literal["never"] | _Dollars = Field(
        "never",
        description="Ask for approval of a run that would cost more US dollars, before anything is uploaded.",
    )
    ignore_dates: bool = Field(
        False,
        description="Train even if the provider has ended the base model by its published dates, which it may "
        "postpone.",
    )
    poll_interval_seconds: Auto | _Pause = Field(
        "auto",
        description="First pause between two polls of the job; auto: 0.5 on this machine, 10 elsewhere.",
    )
    max_poll_interval_seconds: float = Field(
        60.0, gt=0, le=600, description="Longest pause between two polls of the job."
    )

    max_wait_hours: float = Field(
        72.0,
        gt=0,
        le=8760,
        description="Longest wait for the end of the job; another run waits for the same job.",
    )
    unclear_answer_wait_minutes: Auto | _Minutes = Field(
        "auto",
        description="How long to search for a job whose creation was not confirmed; auto: 10, and 0 at the server of "
        "`retune run`.",
    )
    trust_incomplete_job_list: bool = Field(
        False, description="Create a job even if the provider's list of jobs could not be read to its end."
    )
    job_id: str | None = Field(None, min_length=1, description="Job of this run, if its creation was not confirmed.")


class EvaluationConfig(Section):
    """How the base and the fine-tuned model are evaluated on the test split."""

    concurrency: int = Field(8, ge=1, le=256, description="Number of requests at once.")
    max_tokens: int = Field(512, ge=1, le=16_384, description="Longest answer, in tokens.")
    temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature.")
    max_examples: Auto | _Count = Field(
        "auto", description="Largest number of test examples to evaluate on; auto takes all."
    )


class ProviderConfig(Section):
    """Who trains."""

    base_url: str | None = Field(
        None,
        description="Address of the API; by default OPENAI_BASE_URL, else the local server that `retune run` starts.",
    )
    timeout_seconds: float = Field(120.0, gt=0, le=3600, description="Longest wait for one answer.")
    api_key_block: str = Field(
        "",
        max_length=255,
        pattern=r"^[a-z0-9-]*$",
        description="Name of the Prefect Secret block that holds the API key and the address that it is for; never the "
        "key itself. Empty: OPENAI_API_KEY in the worker's environment, which is for OPENAI_BASE_URL there.",
    )
    is_embedded: bool = Field(False, description="Set by `retune run` for the server that it started.")


class RetrainConfig(Section):
    """Everything that a run needs."""

    data: DataConfig = Field(description="Where the examples come from.")
    split: SplitConfig = Field(default_factory=SplitConfig, description="Train, validation and test.")
    training: TrainingConfig = Field(default_factory=TrainingConfig, description="The fine-tuning job.")
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig, description="How the models are evaluated.")
    provider: ProviderConfig = Field(default_factory=ProviderConfig, description="Who trains.")
    output_dir: Path | None = Field(
        None, description="Directory of the run; by default one named by the run key under .retune/runs/."
    )
    attempt: str | None = Field(
        None,
        max_length=64,
        description="Any text; with another text, the same data and settings are trained again.",
    )

    @property
    def name(self) -> str:
        """How people tell these models from others: their suffix, else the label of the data."""
        return self.training.suffix or self.data.label
