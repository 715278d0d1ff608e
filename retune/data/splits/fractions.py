"""The stable split, as far as each example can tell for itself."""

import numpy as np
import numpy.typing as npt

from retune.config import SplitConfig, SplitMethod
from retune.data.dataset.columns import SPLITS


def likely_splits(
    prompts: npt.NDArray[np.uint64], declared: npt.NDArray[np.uint8], split: SplitConfig
) -> npt.NDArray[np.uint8]:
    """Where the stable split puts examples, as far as each can tell for itself; train for every other split.

    Lines are kept apart by this from the start, so that in the usual case nothing has to be sorted out later. A keyed
    hash's first 53 bits, as a fraction in [0, 1): below `test` is test, from `1 - validation` on is validation. What
    the source declares comes before that.
    """
    splits = np.full(len(prompts), SPLITS.index("train"), np.uint8)
    if split.method is SplitMethod.STABLE:
        numbers = hash_fractions(prompts)
        if split.validation < 1:
            splits[numbers >= 1 - split.validation] = SPLITS.index("validation")
        if split.test < 1:
            splits[numbers < split.test] = SPLITS.index("test")
    return np.where(declared > 0, declared, splits)


def hash_fractions(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Hashes as numbers in [0, 1). 53 bits are what a float holds; rounding more of them could give 1.0."""
    return (hashes >> np.uint64(11)) / np.float64(2**53)
