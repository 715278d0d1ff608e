"""The splits that the source itself declares: by a column, by the names of its files, by keys of a document."""

from collections.abc import Callable, Sequence

import numpy as np

from retune.config import SplitConfig
from retune.data.dataset.repeats import Repeats, find_repeats
from retune.data.example.example import Example
from retune.data.problems.problems import Finding
from retune.data.splits.keys import TEST, TRAIN, VALIDATION, Keys, Splits

Found = list[tuple[int, Finding]]
"""What is wrong with examples, by their index."""


def declares(keys: Keys) -> bool:
    """Whether the source says of any example that it is held out."""
    return keys.splits is not None and bool((keys.splits > TRAIN).any())


def assign_as_declared(keys: Keys) -> Splits:
    """Assign every example to the split that its row names, and to train where it names none."""
    assert keys.splits is not None  # noqa: S101 - the method asks for it
    return np.where(keys.splits == 0, np.uint8(TRAIN), keys.splits)


def assign_declared(keys: Keys, config: SplitConfig, draw: Callable[[Keys, SplitConfig], Splits]) -> Splits:
    """Assign every example to the split that the source declares for it; draw the splits that it doesn't declare.

    These are drawn from what is declared for training or not declared at all, by the method that is set. Whatever is
    declared for validation or test stays there, and nothing is put to it.

    Args:
        keys: The examples.
        config: How much to draw.
        draw: Deals examples of which nothing is declared.
    """
    splits = assign_as_declared(keys)
    rest = config_for_the_rest(splits, config)
    pool = splits == TRAIN
    if pool.any() and (rest.validation or rest.test):
        splits[pool] = draw(keys.where(pool), rest)
    return splits


def config_for_the_rest(said: Splits, config: SplitConfig) -> SplitConfig:
    """The same split, without those that are declared."""
    named = {"validation": VALIDATION, "test": TEST}
    declared = {name: 0.0 for name, split_index in named.items() if (said == split_index).any()}
    return config.model_copy(update=declared)


def find_contradictions(keys: Keys, splits: Splits) -> Repeats:
    """Examples that ask the same as one before them and are not on its split."""
    repeats = find_repeats(keys.prompts, np.ones(len(keys), np.bool_))
    return repeats.where(splits[repeats.again] != splits[repeats.first])


def compare_with_file(examples: Sequence[Example], found: Found, split: str | None) -> Found:
    """What is wrong with the examples of a file, if all of it is declared for a split.

    A row that names another split than its file is wrong, too; one that names none that is known is not.

    Args:
        examples: The examples; their rows may name a split.
        found: What is wrong with them so far.
        split: The split of the whole file; None for none.
    """
    if split is None:
        return found
    found = [(index, finding) for index, finding in found if finding.kind != "unknown_split"]
    found += [
        (index, Finding("split_of_file", f"the row says {example.keys.declared_split}, and its file is for {split}."))
        for index, example in enumerate(examples)
        if example.keys.declared_split not in (None, split)
    ]
    return found
