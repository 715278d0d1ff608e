"""What the tasks that watch data pass to one another."""

from typing import Self

from pydantic import BaseModel, ConfigDict

from retune.data.watching.memory import Counted, Judgement, Verdict
from retune.data.watching.sight import Sight


class Look(BaseModel):
    """What came of a look at a source, as far as it got.

    Attributes:
        judgement: What follows from it.
        sight: What was seen from outside; None where another process was looking.
        wait_seconds: How long the data has to stay as it is before it is read; 0 unless it is settling.
        counted: What was counted in it; None where it was not read.
        event_id: The announcement; None unless this look made it.
    """

    model_config = ConfigDict(frozen=True)

    judgement: Judgement
    sight: Sight | None = None
    wait_seconds: float = 0.0
    counted: Counted | None = None
    event_id: str | None = None

    @classmethod
    def of(cls, sight: Sight, verdict: Verdict) -> Self:
        """A look with what was found to follow from it."""
        counted = verdict.memory.counted
        return cls(
            judgement=verdict.judgement,
            sight=sight,
            wait_seconds=verdict.wait_seconds,
            counted=counted if counted and counted.fingerprint == sight.fingerprint else None,
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
        """What was seen, and what follows."""
        seen = f"{self.sight.what}; " if self.sight else ""
        new = f" ({self.n_new:,} new of {self.n_examples:,})" if self.counted else ""
        return f"{seen}{self.consequence}{new}"

    @property
    def consequence(self) -> str:
        """What follows, in words."""
        if self.judgement == "settling":
            return f"changed, and complete if it stays so for {self.wait_seconds:,.0f} s"
        return _CONSEQUENCES[self.judgement]


_CONSEQUENCES: dict[Judgement, str] = {
    "busy": "another process is looking at it at this moment",
    "empty": "there is nothing in it, so nothing is announced",
    "unchanged": "no new examples",
    "too few": "too few new examples so far",
    "to be counted": "changed and complete",
    "enough": "enough new examples",
    "announced": "announced",
}
