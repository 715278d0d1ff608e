"""Rows as splits see them: what they ask, and what else a split may go by."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from retune.data.example.hashes import prompt_hash, text_hash
from retune.data.splits.keys import TEST, TRAIN, VALIDATION, Keys, Splits


class AskedRow(NamedTuple):
    """One row."""

    question: int
    answer: str = "a"
    group: str | None = None


def make_keys(rows: Sequence[AskedRow], seed: int, *, is_stratified: bool = False) -> Keys:
    """The keys of rows, hashed as they are when examples are read; stratified by the answers."""
    asked = [prompt_hash([{"role": "user", "content": f"question {row.question}"}], seed) for row in rows]
    return Keys(
        prompts=np.array(asked, np.uint64),
        groups=np.array([text_hash(row.group) for row in rows], np.uint64),
        strata=np.array([text_hash(row.answer) for row in rows], np.uint64) if is_stratified else None,
    )


def rows_on(split: int, splits: Splits) -> list[int]:
    """Indices of the rows in a split."""
    return [index for index, here in enumerate(splits.tolist()) if here == split]


def rows_by_split(splits: Splits) -> tuple[list[int], list[int], list[int]]:
    """Indices of the rows in train, validation and test."""
    train, validation, test = (rows_on(split, splits) for split in (TRAIN, VALIDATION, TEST))
    return train, validation, test
