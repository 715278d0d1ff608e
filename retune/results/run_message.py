"""What people are told when a run has ended."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from retune.data.cost import format_usd


class RunNotice(BaseModel):
    """How a run ended, in few words."""

    model_config = ConfigDict(frozen=True)

    outcome: Literal["succeeded", "failed", "over-budget"]
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

    @property
    def title(self) -> str:
        """One line."""
        return f"{self.model} on {self.data}: {self.outcome}"

    @property
    def message(self) -> str:
        """A few lines."""
        cost = format_usd(self.cost_usd) if self.cost_usd is not None else None
        parts = (self.title, self.fine_tuned_model, self.error, cost, self.report, self.flow_run_url)
        return "\n".join(part for part in parts if part)
