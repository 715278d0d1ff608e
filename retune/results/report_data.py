"""All that a report says, as serialisable values: the report and the artifact are only drawn from it."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field

from retune.evaluation.comparison import ComparisonRow, ReferenceRow, compare, comparison_notes, reference_row
from retune.evaluation.correctness import right_answers
from retune.evaluation.examples import Answer
from retune.evaluation.measures import score_differences
from retune.evaluation.references import ReferenceName
from retune.evaluation.scorers import Scores, score_answers
from retune.training_lines.keys import JsonObject

MOST_EXAMPLES_SHOWN = 200
_LONGEST_TEXT = 4_000
# Which examples a reader wants to see first, where not all fit.
_WORTH_SEEING = {"broken": 0, "wrong": 1, "fixed": 2, "right": 3}

Outcome = Literal["fixed", "broken", "right", "wrong"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class SplitFacts(_Part):
    """One split.

    Attributes:
        name: `train`, `validation` or `test`.
        n_examples: Examples in it.
        n_tokens: Tokens in it, as the provider would count them; None where that is not known.
        origin: Where it comes from, in words; None where that is not known.
    """

    name: str
    n_examples: int
    n_tokens: int | None = None
    origin: str | None = None


class DataFacts(_Part):
    """Where the examples came from.

    Attributes:
        source: What people call it: a path, or an address without its secrets.
        shape: What its rows hold; None where that is not known.
        unused: Columns and keys of the source that reach no example; the first 100.
        n_rows: Rows that were read; None where that is not known.
        splits: What became of them.
    """

    source: str
    shape: str | None = None
    unused: list[str] = []
    n_rows: int | None = None
    splits: list[SplitFacts]


class StepDuration(_Part):
    """How long one step of the run took.

    Attributes:
        seconds: Wall time.
        note: Such as `from an earlier run`.
    """

    name: str
    seconds: float
    note: str | None = None


class JobFacts(_Part):
    """The fine-tuning job.

    Attributes:
        trained_tokens: As the provider counted them.
        running_seconds: How long the training ran; None where the provider tells no times.
        steps: Training steps; None where no metrics tell them.
        cost_usd: The trained tokens at OpenAI's list price; None where training is free or no price is known.
        cost_is_estimated: The provider did not tell the trained tokens: `cost_usd` goes by a count of the training
            file and the epochs that were asked for.
        best_checkpoint: Which checkpoint is the best and by what, as a sentence.
        metrics_sources: Where the metrics came from: `result file`, `events`, `checkpoints`.
        new_jobs_end: From this day on the provider takes no new job on the base model; None where it is not known.
        shutdown: From this day on the fine-tuned model does not answer; None where it is not known.
    """

    id: str
    status: str
    provider_url: str
    base_model: str
    fine_tuned_model: str | None
    method: str = "supervised"
    seed: int | None = None
    hyperparameters: dict[str, int | float | str]
    trained_tokens: int | None = None
    running_seconds: float | None = None
    steps: int | None = None
    cost_usd: float | None = None
    cost_is_estimated: bool = False
    best_checkpoint: str | None = None
    metrics_sources: list[str] = []
    new_jobs_end: date | None = None
    shutdown: date | None = None


class ModelAnswer(_Part):
    """One model's answer to one example, and whether it is right."""

    content: str | None
    error: str | None
    is_right: bool
    latency_seconds: float | None
    prompt_tokens: int | None
    completion_tokens: int | None


class ExampleRow(_Part):
    """One test example with the answers of both models.

    Attributes:
        index: Its place in the test split, counted from 0.
        prompt: The conversation that both were asked.
        outcome: `fixed`: only the fine-tuned model is right; `broken`: only the base model is; `right`: both are;
            `wrong`: neither is.
    """

    index: int
    prompt: list[JsonObject]
    expected: str
    base: ModelAnswer
    fine_tuned: ModelAnswer

    @computed_field  # type: ignore[prop-decorator]
    @property
    def outcome(self) -> Outcome:  # noqa: D102 - said above
        if self.fine_tuned.is_right:
            return "right" if self.base.is_right else "fixed"
        return "broken" if self.base.is_right else "wrong"


class EvaluationReport(_Part):
    """Both models on the test split.

    Attributes:
        comparison: The scores beside each other, as the terminal shows them too.
        references: What answers are worth that need no language model; empty for open text.
        notes: What must be known beside them.
        outcomes: How many examples have which outcome, of all.
        examples: At most `MOST_EXAMPLES_SHOWN`, in the order of the test split; where that is not all, what went
            wrong comes before what went well.
    """

    base: Scores
    fine_tuned: Scores
    comparison: list[ComparisonRow]
    references: list[ReferenceRow] = []
    notes: list[str]
    outcomes: dict[Outcome, int]
    examples: list[ExampleRow]


class ReportFigure(_Part):
    """One interactive figure.

    Attributes:
        name: As in `figures_svg`.
        title: Its heading.
        caption: What it shows, and what to look for.
        spec: The plotly figure as JSON values: `data` and `layout`.
    """

    name: str
    title: str
    caption: str
    spec: JsonObject


class ReportData(_Part):
    """Everything that the report shows.

    Attributes:
        run_key: Hash of the data and of every setting that changes the model.
        finished_at: With its time zone.
        warnings: What the checks found and let pass, one sentence each.
        evaluation: None where no test examples were held out.
    """

    run_key: str
    finished_at: datetime
    job: JobFacts
    data: DataFacts
    durations: list[StepDuration] = []
    warnings: list[str] = []
    evaluation: EvaluationReport | None = None
    figures: list[ReportFigure] = []


def report_evaluation(
    base_answers: Sequence[Answer],
    fine_tuned_answers: Sequence[Answer],
    *,
    references: Mapping[ReferenceName, Sequence[Answer]] | None = None,
    most_examples: int = MOST_EXAMPLES_SHOWN,
) -> EvaluationReport:
    """Score both models' answers to the same examples, in the same order, and set them beside each other.

    `references` hold the answers to them that need no language model.
    """
    base, fine_tuned = score_answers(base_answers), score_answers(fine_tuned_answers)
    differences = score_differences(base_answers, fine_tuned_answers)
    rows = _side_by_side(base_answers, fine_tuned_answers)
    shown = sorted(rows, key=lambda row: _WORTH_SEEING[row.outcome])[:most_examples]
    return EvaluationReport(
        base=base,
        fine_tuned=fine_tuned,
        comparison=compare(base, fine_tuned, differences),
        references=[reference_row(name, answers, fine_tuned_answers) for name, answers in (references or {}).items()],
        # Open texts are hardly ever equal, and nobody expects it.
        notes=comparison_notes(base, fine_tuned, None if fine_tuned.task == "text" else differences.get("exact_match")),
        outcomes={outcome: sum(row.outcome == outcome for row in rows) for outcome in _WORTH_SEEING},
        examples=sorted(shown, key=lambda row: row.index),
    )


def _side_by_side(base: Sequence[Answer], fine_tuned: Sequence[Answer]) -> list[ExampleRow]:
    marks = zip(right_answers(base), right_answers(fine_tuned), strict=True)
    return [
        ExampleRow(
            index=one.index,
            prompt=[_shortened_message(message) for message in one.prompt],
            expected=_shortened(one.expected),
            base=_model_answer(one, is_right=one_is_right),
            fine_tuned=_model_answer(other, is_right=other_is_right),
        )
        for one, other, (one_is_right, other_is_right) in zip(base, fine_tuned, marks, strict=True)
    ]


def _model_answer(answer: Answer, *, is_right: bool) -> ModelAnswer:
    return ModelAnswer(
        content=None if answer.shown is None else _shortened(answer.shown),
        error=answer.error,
        is_right=is_right,
        latency_seconds=answer.latency_seconds,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
    )


def _shortened_message(message: JsonObject) -> JsonObject:
    return {"role": str(message.get("role", "")), "content": _shortened(text_of(message.get("content")))}


def text_of(content: object) -> str:
    """A message's content as text; parts that are not text appear as their type in brackets."""
    if isinstance(content, list):
        parts = [part if isinstance(part, dict) else {"text": str(part)} for part in content]
        return "\n".join(str(part["text"]) if "text" in part else f"[{part.get('type', 'part')}]" for part in parts)
    return "" if content is None else str(content)


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST_TEXT:
        return text
    return f"{text[:_LONGEST_TEXT]}… ({len(text) - _LONGEST_TEXT:,} more characters)"
