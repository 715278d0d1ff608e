"""The base model against the fine-tuned one, in the figures that the terminal, the report and the artifact all show."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from retune.evaluation.examples import Answer
from retune.evaluation.measures import quality_measures
from retune.evaluation.references import TITLES, ReferenceName
from retune.evaluation.scorers import Scores
from retune.evaluation.statistics import Difference, Interval, difference, interval

Unit = Literal["fraction", "seconds", "count"]

_COSTS: tuple[tuple[str, str, Unit, int], ...] = (
    ("latency_p50_seconds", "Latency, median", "seconds", -1),
    ("latency_p95_seconds", "Latency, 95th percentile", "seconds", -1),
    ("prompt_tokens", "Prompt tokens", "count", 0),
    ("completion_tokens", "Completion tokens", "count", 0),
)
_LATENCY_NOISE = 0.1
_MOST_FIELDS = 12
_NOT_MEASURED = "–"
_NO_ANSWER = "no answer"


class ComparisonRow(BaseModel):
    """One score of both models.

    Attributes:
        name: The score's name in `Scores`; `field_accuracy.intent` for one field.
        title: The same for people to read.
        unit: What `base` and `fine_tuned` count.
        base: The base model's score; None where it does not apply or the model answered nothing.
        fine_tuned: The fine-tuned model's score; likewise.
        difference: fine_tuned - base, where both are there.
        better: Whether the fine-tuned model's is the better one; None where they are equal, one is missing, neither
            more nor less is better, or the difference may be chance: of scores of quality where the paired test says
            so at 95 %, of latencies where they are within a tenth of each other.
        base_interval: 95 % interval of `base`; None where it has none. Likewise `fine_tuned_interval`.
        difference_interval: 95 % interval of `difference`.
        p_value: Of the paired test, where both would be equally good; see `retune.evaluation.statistics.difference`.
        base_text: `base` with its unit.
        fine_tuned_text: `fine_tuned` with its unit.
        difference_text: `difference` with its sign; that of fractions in percentage points.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    unit: Unit
    base: float | None
    fine_tuned: float | None
    difference: float | None
    better: bool | None
    base_interval: Interval | None = None
    fine_tuned_interval: Interval | None = None
    difference_interval: Interval | None = None
    p_value: float | None = None
    base_text: str
    fine_tuned_text: str
    difference_text: str

    def shown(self, value: Literal["base", "fine_tuned", "difference"]) -> str:
        """A value's text, with its 95 % interval in brackets where it has one: 90.0% (77–96)."""
        text: str = getattr(self, f"{value}_text")
        return f"{text} {self.around(value)}".rstrip()

    def around(self, value: Literal["base", "fine_tuned", "difference"]) -> str:
        """A value's 95 % interval in brackets; empty where it has none."""
        ends: Interval | None = getattr(self, f"{value}_interval")
        if ends is None:
            return ""
        low, high = (round(end * 100) for end in ends)
        if value != "difference":
            return f"({low}–{high})"
        return f"({low} to {high})" if low >= 0 else f"({_signed(low)} to {_signed(high)})"


class ReferenceRow(BaseModel):
    """What answers are worth that need no language model, and whether the fine-tuned model is better.

    Attributes:
        exact_match: Fraction of right answers, and `interval` its 95 % interval.
        difference: The fine-tuned model against it, in exact match.
    """

    model_config = ConfigDict(frozen=True)

    name: ReferenceName
    title: str
    exact_match: float
    interval: Interval
    difference: Difference

    @property
    def sentence(self) -> str:
        """All of it in one line."""
        low, high = self.interval
        verdict = "The fine-tuned model is not better beyond chance"
        if self.difference.is_certain:
            verdict = f"The fine-tuned model is {'better' if self.difference.interval[0] > 0 else 'worse'}"
        return (
            f"{self.title}: exact match {self.exact_match:.1%} ({low * 100:.0f}–{high * 100:.0f}) without a language "
            f"model. {verdict} (p {format_p_value(self.difference.p_value)})."
        )


def reference_row(name: ReferenceName, answers: Sequence[Answer], fine_tuned: Sequence[Answer]) -> ReferenceRow:
    """Compare a reference's answers with the fine-tuned model's, to the same examples."""
    measure = quality_measures(answers)["exact_match"]
    return ReferenceRow(
        name=name,
        title=TITLES[name],
        exact_match=measure.score,
        interval=interval(measure),
        difference=difference(measure, quality_measures(fine_tuned)["exact_match"]),
    )


def format_p_value(p_value: float) -> str:
    """The right side of "p": = 0.041, or < 0.001."""
    return "< 0.001" if p_value < 0.001 else f"= {p_value:.3f}"


def compare(
    base: Scores, fine_tuned: Scores, differences: Mapping[str, Difference] | None = None
) -> list[ComparisonRow]:
    """Set the scores that apply to this task beside each other, the most telling one first.

    `differences` are those of the same answers, as `score_differences` gives them. Without them nothing is known of
    how certain a difference is. A model that answered nothing shows as such: its scores of quality are "no answer"
    rather than 0 %.
    """
    certain = differences or {}
    rows = [
        _quality_row(name, title, base, fine_tuned, certain.get(name)) for name, title in _quality_scores(fine_tuned)
    ]
    if differences is not None:
        # What was not tested is neither better nor worse.
        rows = [row if row.name in certain else row.model_copy(update={"better": None}) for row in rows]
    rows.append(_row("n_answered", "Examples answered", "count", base.n_answered, fine_tuned.n_answered, better_if=1))
    for name, title, unit, better_if in _COSTS:
        rows.append(_row(name, title, unit, getattr(base, name), getattr(fine_tuned, name), better_if=better_if))
    return [row for row in rows if row.base is not None or row.fine_tuned is not None or row.unit == "fraction"]


def comparison_notes(base: Scores, fine_tuned: Scores, difference: Difference | None = None) -> list[str]:
    """What must be known beside the figures.

    Examples that a model left unanswered, and why, or refused; and whether the difference in exact match, where it is
    given, may be chance.
    """
    models = (("base model", base), ("fine-tuned model", fine_tuned))
    unanswered = [
        f"The {title} answered {_how_many(scores)} of the {scores.n:,} examples: {scores.commonest_error}"
        for title, scores in models
        if scores.n_errors
    ]
    refused = [
        f"The {title} refused {scores.n_refused:,} of the {scores.n:,} examples; refusals count as wrong answers."
        for title, scores in models
        if scores.n_refused
    ]
    is_chance = difference is not None and not difference.is_certain and base.n_answered and fine_tuned.n_answered
    return [*unanswered, *refused, *([_chance_note(difference)] if difference and is_chance else [])]


def _chance_note(difference: Difference) -> str:
    text = (
        f"The difference in exact match may be chance (p = {difference.p_value:.2f}, McNemar's exact test): the "
        f"fine-tuned model alone has {difference.n_second_only:,} examples right, the base model alone "
        f"{difference.n_first_only:,}."
    )
    if difference.n_needed is None:
        return text
    return f"{text} To confirm a difference of this size, about {difference.n_needed:,} test examples are needed."


def _how_many(scores: Scores) -> str:
    return f"{scores.n_answered:,}" if scores.n_answered else "none"


def _quality_scores(scores: Scores) -> Iterator[tuple[str, str]]:
    if scores.chrf is not None:
        yield "chrf", "chrF"
    yield "exact_match", "Exact match"
    if scores.task == "json":
        yield "accuracy", "Fields right"
    if scores.task == "labels":
        yield "sets_right", "Label sets right"
        yield "micro_f1", "Micro-F1"
    if scores.macro_f1 is not None:
        yield "macro_f1", "Macro-F1"
    fields = scores.field_accuracy or {}
    for field in list(fields)[:_MOST_FIELDS] if len(fields) > 1 else []:
        yield f"field_accuracy.{field}", f"{field} right"
    if scores.task in ("json", "labels"):
        yield "valid_json_rate", "Valid JSON"


def _quality_row(
    name: str, title: str, base: Scores, fine_tuned: Scores, difference: Difference | None
) -> ComparisonRow:
    row = _row(name, title, "fraction", _quality(base, name), _quality(fine_tuned, name), better_if=1)
    update: dict[str, object] = {}
    for side, value, scores in (("base", row.base, base), ("fine_tuned", row.fine_tuned, fine_tuned)):
        if not scores.n_answered:
            update[f"{side}_text"] = _NO_ANSWER
        elif value is not None and (around := scores.intervals.get(name)):
            update[f"{side}_interval"] = around
    if difference and row.difference is not None:
        update |= {
            "difference_interval": difference.interval,
            "p_value": difference.p_value,
            "better": row.better if difference.is_certain else None,
        }
    return row.model_copy(update=update)


def _signed(points: int) -> str:
    return f"{'+' if points > 0 else '−' if points < 0 else '±'}{abs(points)}"


def _quality(scores: Scores, name: str) -> float | None:
    if not scores.n_answered:
        return None
    score, _, field = name.partition(".")
    value: float | Mapping[str, float] | None = getattr(scores, score)
    return value.get(field) if isinstance(value, Mapping) else value


def _row(
    name: str, title: str, unit: Unit, base: float | None, fine_tuned: float | None, *, better_if: int
) -> ComparisonRow:
    difference = None if base is None or fine_tuned is None else fine_tuned - base
    by_chance = _LATENCY_NOISE * base if unit == "seconds" and base else 0.0
    return ComparisonRow(
        name=name,
        title=title,
        unit=unit,
        base=base,
        fine_tuned=fine_tuned,
        difference=difference,
        better=difference * better_if > 0 if better_if and difference and abs(difference) > by_chance else None,
        base_text=_format(base, unit),
        fine_tuned_text=_format(fine_tuned, unit),
        difference_text=_format_difference(difference, unit),
    )


def _format(value: float | None, unit: Unit) -> str:
    if value is None:
        return _NOT_MEASURED
    if unit == "fraction":
        return f"{value:.1%}"
    if unit == "seconds":
        return format_seconds(value)
    return f"{value:,.0f}"


def _format_difference(value: float | None, unit: Unit) -> str:
    if value is None:
        return _NOT_MEASURED
    sign = "+" if value > 0 else "−" if value < 0 else "±"
    size = f"{abs(value) * 100:.1f} points" if unit == "fraction" else _format(abs(value), unit)
    return f"{sign}{size}"


def format_seconds(seconds: float) -> str:
    """A duration for people: 4.2 ms, 850 ms, 3.4 s, 2 min 5 s, 1 h 12 min."""
    if seconds < 0.9995:
        milliseconds = seconds * 1000
        return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
