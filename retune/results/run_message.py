"""What people are told when a run has ended, in Slack, an e-mail or a webhook alike: plain text."""

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict

from retune.data.cost.estimate import format_usd
from retune.evaluation.comparison import format_seconds

_LONGEST_LINE = 300
_ENDED_AS = {
    "failed": "failed",
    "over-budget": "too expensive, not started",
    "approval-needed": "waits for your approval",
    "ends-soon": "the base model ends soon",
    "unchanged": "nothing has changed since the last run, so no job was started",
}
# Slack reads <…> as links and calls; elsewhere these look nearly the same.
_NEUTRAL = str.maketrans({"<": "‹", ">": "›"})


class RunNotice(BaseModel):
    """How a run ended, in few words.

    Attributes:
        outcome: `over-budget` is a run that was refused before its upload, as it would have cost too much;
            `approval-needed` is one that waits for somebody's word before its upload; `ends-soon` is one whose base
            model or provider ends within 60 days: it runs all the same; `unchanged` is one whose data and settings are
            those of a complete run.
        model: The base model.
        data: A short name of the data.
        exact_match: Share of held-out examples that the fine-tuned model answered exactly, 0 to 1.
        exact_match_base: The same of the base model.
        n_test: Number of held-out examples.
        seconds: How long the training ran.
        cost_usd: None where training is free or no price is known.
        report: Where the report is: an address, or a path.
        flow_run_url: The run in Prefect's UI.
        error: Why it failed or waits, or what ends, as one line.
        advice: What to do about it, as one line.
        days_left: Days until the first end, of `ends-soon`.
    """

    model_config = ConfigDict(frozen=True)

    outcome: Literal["succeeded", "failed", "over-budget", "approval-needed", "ends-soon", "unchanged"]
    model: str
    data: str
    fine_tuned_model: str | None = None
    exact_match: float | None = None
    exact_match_base: float | None = None
    n_test: int | None = None
    seconds: float | None = None
    cost_usd: float | None = None
    cost_is_estimated: bool = False
    report: str | None = None
    flow_run_url: str | None = None
    error: str | None = None
    advice: str | None = None
    days_left: int | None = None

    @property
    def title(self) -> str:
        """One line: what, and how it ended."""
        what = f"{self.model} on {self.data}"
        if self.outcome == "succeeded":
            score = f": {self.exact_match:.1%} exact match" if self.exact_match is not None else " retrained"
            return _line(f"{what}{score}")
        if self.outcome == "ends-soon" and self.days_left is not None:
            return _line(f"{what}: the base model ends in {self.days_left} day{'' if self.days_left == 1 else 's'}")
        return _line(f"{what}: {_ENDED_AS[self.outcome]}")

    @property
    def message(self) -> str:
        """A few lines: how good, how long, what it cost, and where to look."""
        return "\n".join(_line(line) for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield self.title
        if self.error:
            yield self.error
        if self.advice:
            yield self.advice
        if self.exact_match is not None and self.exact_match_base is not None:
            points = 100 * (self.exact_match - self.exact_match_base)
            of = f" of {self.n_test:,} held-out examples" if self.n_test is not None else ""
            yield f"Exact match: {self.exact_match:.1%}{of}, {points:+.1f} points on the base model's"
        if self.fine_tuned_model:
            yield f"Model: {self.fine_tuned_model}"
        facts = [f"trained {format_seconds(self.seconds)}"] if self.seconds is not None else []
        if self.cost_usd is not None:
            facts.append(f"cost {format_usd(self.cost_usd)}{' (estimate)' if self.cost_is_estimated else ''}")
        if facts:
            text = ", ".join(facts)
            yield text[0].upper() + text[1:]
        if self.report:
            yield f"Report: {self.report}"
        if self.flow_run_url:
            yield f"Run: {self.flow_run_url}"


def _line(text: str) -> str:
    line = " ".join(text.split()).translate(_NEUTRAL)
    return line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 1] + "…"
