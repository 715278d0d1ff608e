"""What the tasks that watch a source pass on, and the Prefect Variable in which all workers share its state."""

from typing import Self

from prefect import get_run_logger
from prefect.variables import Variable
from pydantic import BaseModel, ConfigDict, ValidationError

from retune.config import RetrainConfig
from retune.watch.files import watch_key
from retune.watch.snapshot import SourceSnapshot
from retune.watch.state import Counted, WatchDecision, WatchState, WatchStatus


class WatchResult(BaseModel):
    """Result of a check of a source, as far as it got.

    Attributes:
        status: What to do next.
        snapshot: What was seen from outside; None where another process was checking.
        wait_seconds: How long the data has to stay as it is before it is read; 0 unless it is settling.
        counted: What was counted in it; None where it was not read.
        event_id: The announcement; None unless this check made it.
    """

    model_config = ConfigDict(frozen=True)

    status: WatchStatus
    snapshot: SourceSnapshot | None = None
    wait_seconds: float = 0.0
    counted: Counted | None = None
    event_id: str | None = None

    @classmethod
    def of(cls, snapshot: SourceSnapshot, decision: WatchDecision) -> Self:
        """A result from what was decided."""
        counted = decision.state.counted
        return cls(
            status=decision.status,
            snapshot=snapshot,
            wait_seconds=decision.wait_seconds,
            counted=counted if counted and counted.fingerprint == snapshot.fingerprint else None,
        )

    @property
    def n_examples(self) -> int | None:
        """How many examples there are; None where they were not counted."""
        return self.counted.n_examples if self.counted else None

    @property
    def n_new(self) -> int | None:
        """How many of them are new since the last announcement; None where they were not counted."""
        return self.counted.n_new if self.counted else None

    @property
    def summary(self) -> str:
        """What was seen, and what to do next."""
        seen = f"{self.snapshot.what}; " if self.snapshot else ""
        new = f" ({self.n_new:,} new of {self.n_examples:,})" if self.counted else ""
        return f"{seen}{self.consequence}{new}"

    @property
    def consequence(self) -> str:
        """What to do next, in words."""
        if self.status == "settling":
            return f"changed, and complete if it stays so for {self.wait_seconds:,.0f} s"
        return _CONSEQUENCES[self.status]


_CONSEQUENCES: dict[WatchStatus, str] = {
    "busy": "another process is checking it right now",
    "empty": "there is nothing in it, so nothing is announced",
    "unchanged": "no new examples",
    "too few": "too few new examples so far",
    "to be counted": "changed and complete",
    "enough": "enough new examples",
    "announced": "announced",
}


def variable_name(config: RetrainConfig) -> str:
    """Name of the Variable with a watch's state; where it is deleted, all data is announced again."""
    return f"retune_watch_{watch_key(config)}"


async def load_state(config: RetrainConfig) -> WatchState:
    """The saved state; empty before the first check."""
    value = await Variable.aget(variable_name(config))
    try:
        return WatchState() if value is None else WatchState.model_validate(value)
    except ValidationError:
        get_run_logger().warning(
            "The Variable %s is not one that Retune wrote; all data counts as new.", variable_name(config)
        )
        return WatchState()


async def save_state(config: RetrainConfig, state: WatchState) -> None:
    """Save the state for the next check, on whatever machine it runs."""
    value = state.model_dump(mode="json")
    await Variable.aset(variable_name(config), value, tags=["retune", "watch"], overwrite=True)
