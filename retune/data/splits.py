"""Dealing examples to train, validation and test so that nothing judged was ever trained on."""

import hashlib
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from retune.config import SplitConfig, SplitMethod
from retune.data.examples import MINIMUM_EXAMPLES, Example, canonical_json, prompt_messages
from retune.errors import DataError

_HASH_BYTES = 8

Groups = dict[bytes, list[int]]
"""Indices of the examples that ask the same, by their conversation up to the answer."""


class Splits(BaseModel):
    """Indices of the examples in each split, in the source's order.

    Every example is in exactly one split, and examples that ask the same are in the same one.
    """

    model_config = ConfigDict(frozen=True)

    train: list[int]
    validation: list[int]
    test: list[int]


def split_examples(examples: Sequence[Example], config: SplitConfig) -> Splits:
    """Deal the examples to train, validation and test.

    What counts is the conversation up to the answer: the same question never stands on two sides, not even with
    two different answers.

    `stable` hashes that conversation, keyed with the seed, to a number in [0, 1). Numbers below `test` go to test,
    those from `1 - validation` up to validation, the rest to train. So an example stays on its side when the data
    grows, shrinks or is sorted anew, and sizes come out near the fractions, not exactly on them. Where that leaves
    a split empty that was asked for, the question whose number lies nearest to it moves there from train; this is
    the one case in which more data can move an example back.

    `random` shuffles the conversations with scikit-learn, so sizes are as exact as groups of equal questions allow,
    and more data deals everything anew.

    Raises:
        DataError: Fewer than 10 examples would remain for training.
    """
    groups = _group(examples)
    splits = _deal(groups, config)
    if len(splits.train) < MINIMUM_EXAMPLES:
        raise DataError(_too_few(len(examples), len(groups), splits), hint=_way_out(len(examples), groups, config))
    return splits


def _group(examples: Sequence[Example]) -> Groups:
    groups: Groups = {}
    for index, example in enumerate(examples):
        groups.setdefault(canonical_json(prompt_messages(example)), []).append(index)
    return groups


def _deal(groups: Groups, config: SplitConfig) -> Splits:
    deal = _deal_by_hash if config.method is SplitMethod.STABLE else _deal_at_random
    validation, test = deal(list(groups), config)
    held_out = {*validation, *test}
    return Splits(
        train=_indices(groups, [key for key in groups if key not in held_out]),
        validation=_indices(groups, validation),
        test=_indices(groups, test),
    )


def _indices(groups: Groups, keys: Sequence[bytes]) -> list[int]:
    return sorted(index for key in keys for index in groups[key])


def _deal_by_hash(keys: list[bytes], config: SplitConfig) -> tuple[list[bytes], list[bytes]]:
    number = {key: _number(key, config.seed) for key in keys}
    ascending = sorted(keys, key=number.__getitem__)
    test = [key for key in ascending if number[key] < config.test]
    rest = ascending[len(test) :]
    if config.test > 0 and not test:
        test, rest = rest[:1], rest[1:]
    validation = [key for key in rest if number[key] >= 1 - config.validation]
    if config.validation > 0 and not validation:
        validation = rest[-1:]
    return validation, test


def _number(key: bytes, seed: int) -> float:
    """The keyed BLAKE2b hash of `key` as a number in [0, 1)."""
    digest = hashlib.blake2b(key, key=seed.to_bytes(_HASH_BYTES, "big"), digest_size=_HASH_BYTES).digest()
    # 53 bits are what a float holds; rounding more of them could give 1.0.
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def _deal_at_random(keys: list[bytes], config: SplitConfig) -> tuple[list[bytes], list[bytes]]:
    rest, test = _hold_out(keys, _size(config.test, len(keys)), config.seed)
    _, validation = _hold_out(rest, min(_size(config.validation, len(keys)), len(rest)), config.seed)
    return validation, test


def _size(fraction: float, total: int) -> int:
    return max(1, round(fraction * total)) if fraction > 0 else 0


def _hold_out(keys: list[bytes], count: int, seed: int) -> tuple[list[bytes], list[bytes]]:
    if count == 0 or count == len(keys):
        return (keys, []) if count == 0 else ([], keys)
    from sklearn.model_selection import train_test_split  # noqa: PLC0415  (seconds to import; only this needs it)

    kept, held_out = train_test_split(keys, test_size=count, random_state=seed)
    return kept, held_out


def _too_few(n_examples: int, n_questions: int, splits: Splits) -> str:
    plural = "" if n_questions == 1 else "s"
    same = "" if n_questions == n_examples else f" ({n_questions} different conversation{plural})"
    return (
        f"{n_examples} examples{same} leave {len(splits.train)} for training, {len(splits.validation)} for validation "
        f"and {len(splits.test)} for testing; training needs at least {MINIMUM_EXAMPLES}."
    )


def _way_out(n_examples: int, groups: Groups, config: SplitConfig) -> str:
    if n_examples < MINIMUM_EXAMPLES:
        return "Add examples."
    flags = {"--validation 0": {"validation": 0.0}, "--test 0": {"test": 0.0}}
    for flag, change in flags.items():
        smaller = config.model_copy(update=change)
        if smaller != config and len(_deal(groups, smaller).train) >= MINIMUM_EXAMPLES:
            return f"Use {flag}, or add examples."
    return f"Use {' '.join(flags)}, or add examples."
