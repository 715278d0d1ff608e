"""What examples are dealt by: arrays of hashes, a value for each example."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retune.config import SplitConfig, SplitMethod
from retune.data.dataset.columns import SPLITS
from retune.data.dataset.example_store import ExampleStore

TRAIN, VALIDATION, TEST = (SPLITS.index(name) for name in ("train", "validation", "test"))

Splits = npt.NDArray[np.uint8]
"""For each example the place of its split in `SPLITS`."""

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Keys:
    """Of each example, in the source's order, what its split depends on. None where the method doesn't ask for it.

    Attributes:
        prompts: Hashes of what is asked, keyed with the split's seed.
        groups: Hashes of the group column's values, not keyed; 0 where there is none.
        strata: Hashes of the labels whose mixture should be the same in every split.
        splits: Places in `SPLITS` as the source declares them; 0 where it doesn't, None where nothing is declared.
    """

    prompts: Hashes
    groups: Hashes | None = None
    strata: Hashes | None = None
    splits: Splits | None = None

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.prompts)

    def where(self, chosen: npt.NDArray[np.bool_]) -> "Keys":
        """Those of some examples, of which nothing is declared."""
        groups, strata = (None if values is None else values[chosen] for values in (self.groups, self.strata))
        return Keys(self.prompts[chosen], groups, strata)


def read_keys(store: ExampleStore, config: SplitConfig, chosen: npt.NDArray[np.bool_]) -> Keys:
    """Read what the split's method asks for.

    Args:
        store: The examples.
        config: The split.
        chosen: `bool[n]`: which of the examples to read of.

    Raises:
        ValueError: The store's hashes are keyed with another seed.
    """
    if config.seed != store.facts.seed:
        raise ValueError(f"the examples were read for a split with the seed {store.facts.seed}, not {config.seed}")
    every = bool(chosen.all())

    def read(name: str) -> npt.NDArray[np.generic]:
        values = store.column(name)
        return values if every else values[chosen]

    def hashes(name: str) -> Hashes:
        return read(name).astype(np.uint64, copy=False)

    return Keys(
        prompts=hashes("prompt"),
        groups=hashes("group") if config.method is SplitMethod.GROUP else None,
        strata=hashes("stratum" if config.stratify_column else "answer") if is_stratified(config) else None,
        splits=read("side").astype(np.uint8, copy=False),
    )


def with_groups(store: ExampleStore, config: SplitConfig) -> SplitConfig:
    """How the examples are really assigned: the stable split goes by groups where the source itself tells them."""
    if config.method is not SplitMethod.STABLE or store.facts.group_column is None:
        return config
    return config.model_copy(update={"method": SplitMethod.GROUP, "column": store.facts.group_column})


def is_stratified(config: SplitConfig) -> bool:
    """Whether the splits should have the same mixture of labels."""
    return config.stratify or config.stratify_column is not None
