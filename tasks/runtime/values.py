"""What tasks pass to one another: small values that serialise, never tables.

Every value has a `summary`, one line for people.
"""

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from retune.data.cost.estimate import CostEstimate, format_usd
from retune.data.cost.model_dates import ModelDates
from retune.data.splits.origins import describe_splits
from retune.data.text.jsonl import FileFacts
from retune.evaluation.references import TITLES, ReferenceName
from retune.evaluation.scorers import Scores
from retune.provider.files import UploadedFile
from retune.provider.one_job import StartedJob
from retune.redaction.masking import listed
from retune.run import Run

Role = Literal["base", "fine_tuned"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class StoredExamples(_Value):
    """Examples on disk; see `retune.data.dataset.example_store`.

    Attributes:
        directory: What an `ExampleStore` reads.
        content_sha256: Hash of everything that a training depends on.
        places_sha256: Hash of where in the source each comes from: reports say it.
    """

    directory: Path
    content_sha256: str
    places_sha256: str
    n_examples: int


class LoadedData(_Value):
    """The source, read into examples.

    Attributes:
        source: What people call it.
        shape: What people call the shape of its rows.
        unused: Columns and keys of the source that reach no example; the first 100.
    """

    run: Run
    examples: StoredExamples
    source: str
    shape: str
    unused: list[str] = []

    @property
    def summary(self) -> str:
        """Count, source and shape, and what of the source is not used."""
        unused = f"; not used: {listed(self.unused)}" if self.unused else ""
        return f"{self.examples.n_examples:,} examples from {self.source} ({self.shape}){unused}"


class CheckedData(_Value):
    """Examples without errors.

    Attributes:
        warnings: One line each kind of warning.
        cost: For the whole job.
    """

    run: Run
    examples: StoredExamples
    report: Path
    warnings: list[str]
    cost: CostEstimate

    @property
    def summary(self) -> str:
        """What the checks found."""
        return "no errors" + (f"; {'; '.join(self.warnings)}" if self.warnings else ", no warnings")


class SplitData(_Value):
    """Which example goes where.

    Attributes:
        splits: NumPy file: for each example its split, as an index in `retune.data.dataset.columns.SPLITS`.
        origins: Where each split comes from, in words.
    """

    run: Run
    examples: StoredExamples
    # Runs begun by an earlier version call it `sides`.
    splits: Path = Field(validation_alias=AliasChoices("splits", "sides"))
    origins: dict[str, str]
    train: int
    validation: int
    test: int

    @property
    def summary(self) -> str:
        """Counts, and where the splits come from."""
        sizes = {"train": self.train, "validation": self.validation, "test": self.test}
        return describe_splits(sizes, self.origins, "{size:,} {name}")


class TrainingFiles(_Value):
    """The splits as JSONL.

    Attributes:
        split_tokens: Tokens in each file by its split, counted by OpenAI's rule for the base model.
        split_origins: Where each split comes from, in words.
        cost: For the whole job, as the checks estimated it.
    """

    run: Run
    train: FileFacts
    validation: FileFacts | None
    test: FileFacts | None
    split_tokens: dict[str, int]
    split_origins: dict[str, str]
    encoding: str
    cost: CostEstimate

    @property
    def tokens(self) -> int:
        """Tokens in the training file."""
        return self.split_tokens["train"]

    @property
    def estimated_cost_usd(self) -> float | None:
        """US dollars for the whole job; None where training is free or the base model's price is not known."""
        return self.cost.usd or None

    @property
    def summary(self) -> str:
        """Sizes, tokens and cost."""
        files = [file for file in (self.train, self.validation, self.test) if file]
        names = ", ".join(f"{file.path.name} {file.bytes / 1000:,.0f} kB" for file in files)
        cost = f", estimated cost {format_usd(self.estimated_cost_usd)}" if self.estimated_cost_usd else ""
        return f"{names}; {self.tokens:,} training tokens an epoch{cost}"


class JobTerms(_Value):
    """On which terms the run may have a job.

    Attributes:
        needs_approval: Somebody is to approve the cost first.
        dates: When the provider ends the base model; None where nothing is published.
    """

    needs_approval: bool
    dates: ModelDates | None


class Upload(_Value):
    """A file that the provider has.

    Attributes:
        name: Its name in the run's directory.
    """

    name: str
    file: UploadedFile

    @property
    def summary(self) -> str:
        """Name and id."""
        return f"{self.name} → {self.file.file_id}" + (" (was there already)" if self.file.adopted else "")


class Job(_Value):
    """The job of this run."""

    started: StartedJob
    model: str

    @property
    def summary(self) -> str:
        """Id, and whether it is new."""
        job = self.started
        if not job.adopted:
            return f"{job.job_id} created on {self.model}"
        extra = f"; cancelled its duplicates {', '.join(job.duplicates_cancelled)}" if job.duplicates_cancelled else ""
        return f"{job.job_id}, which an earlier run on the same data and settings made ({job.status}){extra}"


class FinishedJob(_Value):
    """A job that succeeded.

    Attributes:
        running_seconds: From the event that it started to the last one; None where the provider tells no times.
    """

    run: Run
    job_id: str
    model: str
    fine_tuned_model: str
    result_files: list[str]
    trained_tokens: int | None
    n_epochs: int | str | None
    batch_size: int | str | None
    learning_rate_multiplier: float | str | None
    seed: int | None
    running_seconds: float | None
    events: Path
    n_events: int

    @property
    def summary(self) -> str:
        """The model and what it took."""
        took = f" in {self.running_seconds:,.1f} s" if self.running_seconds is not None else ""
        tokens = f", {self.trained_tokens:,} trained tokens" if self.trained_tokens else ""
        return f"{self.fine_tuned_model}, {self.n_epochs} epochs{tokens}{took}"


class JobResults(_Value):
    """The job's metrics as one table.

    Attributes:
        sources: Where the metrics came from: result files, events, checkpoints.
    """

    run: Run
    metrics: Path
    checkpoints: Path
    files: list[Path]
    sources: list[str]
    steps: int
    n_epochs: int | None
    last: dict[str, float]

    @property
    def summary(self) -> str:
        """Steps and the last losses."""
        names = {"train_loss": "training loss", "full_valid_loss": "full validation loss"}
        last = "".join(f", {label} {self.last[key]:.3f}" for key, label in names.items() if key in self.last)
        return f"{self.steps:,} steps from {' and '.join(self.sources)}{last}"


class Figures(_Value):
    """The training's figures.

    Attributes:
        figures: Plotly figures as JSON, by name.
        images: The same as SVG.
    """

    run: Run
    figures: dict[str, Path]
    images: dict[str, Path]

    @property
    def summary(self) -> str:
        """Names of the figures."""
        return ", ".join(self.figures)


class Evaluation(_Value):
    """One model's answers on the test split, scored."""

    run: Run
    role: Role
    model: str
    answers: Path
    scores: Scores

    @property
    def summary(self) -> str:
        """The headline score."""
        scores = self.scores
        if scores.n_answered == 0:
            return f"{self.model} answered none of {scores.n:,}: {scores.commonest_error}"
        chrf = "" if scores.chrf is None else f"chrF {scores.chrf:.1%}, "
        return f"{self.model}: {chrf}exact match {scores.exact_match:.1%} of {scores.n:,}"


class References(_Value):
    """What answers are worth that need no language model, and the files of them; empty for open text."""

    run: Run
    answers: dict[ReferenceName, Path] = {}
    scores: dict[ReferenceName, Scores] = {}

    @property
    def summary(self) -> str:
        """The exact match of each."""
        shown = [f"{TITLES[name]} {scores.exact_match:.1%}" for name, scores in self.scores.items()]
        return ", ".join(shown) or "none for open answers"
