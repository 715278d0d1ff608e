"""What a complete run leaves as figures."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from retune.config import RetrainConfig
from retune.data.text.jsonl import FileFacts
from retune.evaluation.comparison import ComparisonRow, ReferenceRow
from retune.evaluation.scorers import Scores
from retune.results.report_data import DataFacts, JobFacts, StepDuration


class EvaluationFacts(BaseModel):
    """How both models did on the test split, the same set beside each other, and what must be known beside it.

    Attributes:
        references: What answers are worth that need no language model; empty for open text.
    """

    model_config = ConfigDict(frozen=True)

    base: Scores
    fine_tuned: Scores
    comparison: list[ComparisonRow]
    references: list[ReferenceRow] = []
    notes: list[str] = []


class RunManifest(BaseModel):
    """Every figure that the terminal showed, and where the rest is.

    Written last and atomically: where it exists, the run is complete.

    Attributes:
        directory: The run's directory.
        completed_at: ISO 8601, with its time zone.
        files: Files of the run by their names, with size and hash.
        metrics: The last value of each training metric.
        evaluation: None where no test examples were held out.
        flow_run_id: The Prefect flow run that completed it; None where an older version did. A flow run that finds
            nothing changed leaves it as it is.
    """

    model_config = ConfigDict(frozen=True)

    manifest_version: Literal[1] = 1
    retune_version: str
    run_key: str
    directory: Path
    completed_at: str
    fine_tuned_model: str
    data: DataFacts
    job: JobFacts
    files: dict[str, FileFacts]
    metrics: dict[str, float]
    evaluation: EvaluationFacts | None
    warnings: list[str]
    durations: list[StepDuration]
    report: Path
    config: RetrainConfig
    flow_run_id: str | None = None
