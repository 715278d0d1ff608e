"""The split that the source itself says."""

import numpy as np

from retune.data.repeats import Repeats, find_repeats
from retune.data.splits.keys import TRAIN, Keys, Sides


def deal_as_said(keys: Keys) -> Sides:
    """Deal every example to the split that its row names, and to train where it names none."""
    assert keys.sides is not None  # noqa: S101 - the method asks for it
    return np.where(keys.sides == 0, np.uint8(TRAIN), keys.sides)


def find_contradictions(keys: Keys, sides: Sides) -> Repeats:
    """Examples that ask the same as one before them and are not on its side."""
    repeats = find_repeats(keys.prompts, np.ones(len(keys), np.bool_))
    return repeats.where(sides[repeats.again] != sides[repeats.first])
