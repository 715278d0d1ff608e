"""What is known of each stored example: numbers and hashes, no text."""

from typing import Any

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[Any]
"""One value for each example; its type is in `COLUMNS`."""

COLUMNS: dict[str, npt.DTypeLike] = {
    "file": np.uint16,  # index of the source's file
    "number": np.uint32,  # row or line in it
    "part": np.uint8,  # index in SIDES of the part of the store that its line is in
    "length": np.uint32,  # bytes of its line, with the LF
    "tokens": np.uint32,  # 0 where they were not counted
    "prompt": np.uint64,  # hash, keyed with the split's seed, of what is asked; the stable split goes by it
    "instructions": np.uint64,  # hash of the system and developer messages; 0 where there are none
    "answer": np.uint64,  # hash of the answer's text
    "rest": np.uint64,  # hash of what else there is, also white space at the ends of what is asked; 0 for nothing
    "group": np.uint64,  # hashes of the columns that a split goes by; 0 where there is none
    "stratum": np.uint64,
    "side": np.uint8,  # index in SIDES; 0 where the source doesn't say
    "sound": np.uint8,  # 1 where nothing is wrong with its structure: only these are compared with one another
}
"""One value of each for every example."""

CONTENT_COLUMNS = ("prompt", "instructions", "answer", "rest")
"""Hashes of all that is trained on: two examples are the same where all of these are."""

SIDES = ("", "train", "validation", "test")


def zero_columns(n: int) -> dict[str, Column]:
    """All columns for `n` examples, zeros."""
    return {name: np.zeros(n, dtype) for name, dtype in COLUMNS.items()}
