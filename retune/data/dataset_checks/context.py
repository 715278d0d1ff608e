"""What the checks across examples share: the examples, their split, and which checks did not apply."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from retune.config import SplitConfig
from retune.data.dataset.example_store import ExampleStore
from retune.data.problems.problems import Further, Problem, problem_at
from retune.data.problems.rules import MOST_KEPT_PER_KIND

Indices = npt.NDArray[np.int64]

# Places of so many examples are in memory at a time.
_BATCH = 20_000
_IMAGE = b'"image_url"'


@dataclass
class CheckContext:
    """Examples that are compared with each other.

    Attributes:
        store: The examples.
        split: How they are assigned.
        model: The base model.
        valid: `bool[n]`: which examples are whole; only these are compared.
        splits: `uint8[n]`, for each the place of its split in `SPLITS`; None where they can't be assigned.
        not_applied: Checks that could not apply, by name, and why; the checks write into it.
        most_kept_per_kind: Problems of one kind that are kept with their places.
        sample_size: How many examples, all over the data, are read for what shows in a few.
    """

    store: ExampleStore
    split: SplitConfig
    model: str
    valid: npt.NDArray[np.bool_]
    splits: npt.NDArray[np.uint8] | None = None
    not_applied: dict[str, str] = field(default_factory=dict)
    most_kept_per_kind: int = MOST_KEPT_PER_KIND
    sample_size: int = 1_000

    @classmethod
    def of(cls, store: ExampleStore, split: SplitConfig, model: str) -> Self:
        """The valid examples of a store, not assigned yet."""
        return cls(store, split, model, valid=store.column("sound").astype(np.bool_))

    @property
    def n_valid(self) -> int:
        """How many examples are whole."""
        return int(self.valid.sum())

    def skip(self, check: str, reason: str) -> None:
        """Say of a check that it could not apply, or not wholly."""
        self.not_applied[check] = reason

    def problems_at(self, kind: str, indices: Indices, messages: Iterator[str]) -> Iterator[Problem | Further]:
        """Problems of one kind with their places, made as they are asked for: the first ones, and how many more.

        Args:
            kind: A key of `RULES`.
            indices: The examples.
            messages: One for each.
        """
        kept = indices[: self.most_kept_per_kind]
        for location, file, number in self.locations(kept):
            yield problem_at(location, kind, next(messages), file=file, number=number)
        if len(indices) > len(kept):
            yield Further(kind, len(indices) - len(kept))

    def locations(self, indices: Indices) -> Iterator[tuple[str, str, int]]:
        """The same as `ExampleStore.locations`, with few in memory at a time."""
        for start in range(0, len(indices), _BATCH):
            yield from self.store.locations(indices[start : start + _BATCH])

    def sample(self) -> Iterator[bytes]:
        """The lines of at most `sample_size` valid examples, evenly spread."""
        indices = np.flatnonzero(self.valid)
        places = np.linspace(0, max(len(indices) - 1, 0), min(self.sample_size, len(indices))).astype(np.int64)
        yield from self.store.read_lines(indices[places])

    @cached_property
    def has_images(self) -> bool:
        """Whether some of a sample of the examples have images."""
        return any(map(holds_image, self.sample()))


def holds_image(line: bytes) -> bool:
    """Whether an example has an image; the words in a text don't count, as JSON escapes their quotes."""
    return _IMAGE in line
