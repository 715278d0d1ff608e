"""Dealing examples to train, validation and test so that nothing judged was ever trained on."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from retune.config import SplitConfig, SplitMethod
from retune.data.dataset.columns import SPLITS
from retune.data.dataset.example_store import ExampleStore
from retune.data.dataset.repeats import find_repeats
from retune.data.problems.rules import RULES
from retune.data.splits.by_column import assign_as_declared, assign_declared, declares, find_contradictions
from retune.data.splits.by_hash import assign_groups, assign_stable, find_grouped
from retune.data.splits.keys import TEST, TRAIN, VALIDATION, Keys, Splits, read_keys, with_groups
from retune.data.splits.shuffled import assign_randomly, find_questions
from retune.errors import DataError
from retune.training_lines.keys import MINIMUM_EXAMPLES

_PLACES_SHOWN = 3
_HELD_OUT = ("validation", "test")


def split_examples(
    store: ExampleStore, config: SplitConfig, *, on_note: Callable[[str], None] = lambda _: None
) -> npt.NDArray[np.uint8]:
    """Assign the examples to train, validation and test.

    Every example is in one split, and examples that ask the same are in the same one, even where they answer
    differently. The same data and settings always give the same splits. Invalid examples count for nothing and are
    assigned to train: a run with any of them stops at the checks.

    How each method assigns: `assign_stable`, `assign_groups`, `assign_randomly`, `assign_as_declared`.

    Args:
        store: The examples.
        config: How to assign them; its seed is that which they were read with.
        on_note: Called with a sentence for people where something could not be done as asked, and the split is still
            good: labels that are too rare to stratify by, or groups that leave a split empty.

    Returns:
        `uint8[n]`: for each example the place of its split in `retune.data.dataset.columns.SPLITS` (1 train,
        2 validation, 3 test).

    Raises:
        DataError: Fewer than 10 examples would remain for training, the split's column contradicts itself, or no
            label is frequent enough to stratify by.
    """
    config = with_groups(store, config)
    is_valid = store.column("sound").astype(np.bool_)
    keys = read_keys(store, config, is_valid)
    splits = assign(keys, config, on_note=on_note)
    if config.method is SplitMethod.COLUMN or declares(keys):
        _refuse_contradictions(store, np.flatnonzero(is_valid), keys, splits)
    if (splits == TRAIN).sum() < MINIMUM_EXAMPLES:
        raise _too_few(keys, splits, config, n_invalid=len(store) - len(keys))
    if config.method is SplitMethod.GROUP:
        _check_groups(keys, splits, config, on_note)
    if len(splits) == len(store):
        return splits
    assigned = np.full(len(store), TRAIN, np.uint8)
    assigned[is_valid] = splits
    return assigned


def split_all_examples(
    store: ExampleStore, config: SplitConfig, *, on_note: Callable[[str], None] = lambda _: None
) -> Splits:
    """The same as `split_examples`, and invalid examples are where the others of their group are.

    Raises:
        DataError: See `split_examples`.
    """
    splits = split_examples(store, config, on_note=on_note).copy()
    is_valid = store.column("sound").astype(np.bool_)
    if config.method is not SplitMethod.GROUP or is_valid.all():
        return splits
    groups = store.column("group")
    known, first = np.unique(groups[is_valid], return_index=True)
    places = np.minimum(np.searchsorted(known, groups), len(known) - 1)
    is_known = ~is_valid & (groups != 0) & (known[places] == groups)
    splits[is_known] = splits[is_valid][first][places[is_known]]
    return splits


def assign(keys: Keys, config: SplitConfig, *, on_note: Callable[[str], None] = lambda _: None) -> Splits:
    """Assign as the source declares, and the rest by the method that is set, however few examples come out in a split.

    Raises:
        DataError: No label is frequent enough to stratify by.
    """

    def draw(keys: Keys, config: SplitConfig) -> Splits:
        match config.method:
            case SplitMethod.STABLE:
                return assign_stable(keys, config)
            case SplitMethod.GROUP:
                return assign_groups(keys, config)
            case SplitMethod.RANDOM:
                return assign_randomly(keys, config, on_note)
            case SplitMethod.COLUMN:
                return assign_as_declared(keys)

    # The method column is the word of the column alone: nothing is drawn beside it.
    is_declared = config.method is not SplitMethod.COLUMN and declares(keys)
    return assign_declared(keys, config, draw) if is_declared else draw(keys, config)


def _check_groups(keys: Keys, splits: Splits, config: SplitConfig, on_note: Callable[[str], None]) -> None:
    assert keys.groups is not None  # noqa: S101 - the method asks for it
    shared = find_repeats(keys.groups, find_grouped(keys.groups))
    n_apart = int((splits[shared.again] != splits[shared.first]).sum()) if declares(keys) else 0
    if n_apart:
        rows = "1 example is" if n_apart == 1 else f"{n_apart:,} examples are"
        on_note(
            f"{rows} in another split than the first one of the same group: the source declares the splits, and groups "
            "stay together only in what is drawn."
        )
        return
    wanted = ((VALIDATION, config.validation), (TEST, config.test))
    empty = [SPLITS[split] for split, share in wanted if share > 0 and not (splits == split).any()]
    if len(keys) and not find_grouped(keys.groups).any():
        on_note(f"the column {config.column} is empty in every row; examples were dealt one by one.")
    elif empty:
        on_note(
            f"nothing is held out for {' and '.join(empty)}: the groups that would fall there ask the same questions "
            "as other groups, and stay with them."
        )


def _refuse_contradictions(store: ExampleStore, indices: npt.NDArray[np.int64], keys: Keys, splits: Splits) -> None:
    found = find_contradictions(keys, splits)
    if not len(found.again):
        return
    shown = slice(_PLACES_SHOWN)
    pairs = (
        f"{here} ({SPLITS[splits[again]]}) and {there} ({SPLITS[splits[first]]})"
        for (here, _, _), (there, _, _), again, first in zip(
            store.locations(indices[found.again[shown]]),
            store.locations(indices[found.first[shown]]),
            found.again[shown].tolist(),
            found.first[shown].tolist(),
            strict=True,
        )
    )
    more = len(found.again) - _PLACES_SHOWN
    raise DataError(
        f"The splits of the source overlap; the same question is in two of them: {'; '.join(pairs)}"
        f"{f'; and {more:,} more' if more > 0 else ''}.",
        hint=RULES["split_contradiction"].hint,
    )


def _too_few(keys: Keys, splits: Splits, config: SplitConfig, *, n_invalid: int) -> DataError:
    total = len(keys)
    n_questions = len(find_questions(keys.prompts).first)
    train, validation, test = np.bincount(splits, minlength=len(SPLITS))[1:].tolist()
    usable = "usable " if n_invalid else ""
    same = "" if n_questions == total else f" ({_counted(n_questions, 'different conversation')})"
    is_by_hash = config.method in (SplitMethod.STABLE, SplitMethod.GROUP) and (config.validation % 1 or config.test % 1)
    by_chance = "" if declares(keys) else " Examples go by their hashes: in small data their shares come out by chance."
    return DataError(
        f"{_counted(total, f'{usable}example')}{same} {'leaves' if total == 1 else 'leave'} {train:,} for training, "
        f"{validation:,} for validation and {test:,} for testing; training needs at least {MINIMUM_EXAMPLES}."
        f"{by_chance if is_by_hash and total >= MINIMUM_EXAMPLES else ''}",
        hint=_way_out(keys, config),
    )


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _way_out(keys: Keys, config: SplitConfig) -> str:
    if len(keys) < MINIMUM_EXAMPLES:
        return "Add examples."
    if config.method is SplitMethod.COLUMN:
        return "Name train in more rows of the split's column, or add examples."
    if declares(keys) and (assign_as_declared(keys) == TRAIN).sum() < MINIMUM_EXAMPLES:
        return (
            "Move examples from the validation and test splits that the source declares to its training split, or add "
            "examples."
        )
    for smaller in _smaller(config):
        if (assign(keys, smaller) == TRAIN).sum() >= MINIMUM_EXAMPLES:
            changed = [name for name in _HELD_OUT if getattr(smaller, name) != getattr(config, name)]
            flags = " ".join(f"--{name} {getattr(smaller, name):.0f}" for name in changed)
            return f"Use {flags}, or add examples."
    return "Add examples."


def _smaller(config: SplitConfig) -> Iterator[SplitConfig]:
    """The same split with less held out: nothing for validation, else nothing for test, else for neither."""
    for validation, test in ((0.0, None), (None, 0.0), (0.0, 0.0)):
        wanted = {"validation": validation, "test": test}
        less = {name: value for name, value in wanted.items() if value is not None and getattr(config, name) > 0}
        smaller = config.model_copy(update=less)
        if smaller != config:
            yield smaller
