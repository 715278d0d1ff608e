"""Dealing examples to train, validation and test so that nothing judged was ever trained on."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from retune.config import SplitConfig, SplitMethod
from retune.data.dataset.columns import SIDES
from retune.data.dataset.example_store import ExampleStore
from retune.data.dataset.repeats import find_repeats
from retune.data.example.example import MINIMUM_EXAMPLES
from retune.data.problems.rules import RULES
from retune.data.splits.by_column import deal_as_said, deal_declared, declares, find_contradictions
from retune.data.splits.by_hash import deal_groups, deal_stable, find_grouped
from retune.data.splits.keys import TEST, TRAIN, VALIDATION, Keys, Sides, read_keys, with_groups
from retune.data.splits.shuffled import deal_randomly, find_questions
from retune.errors import DataError

_PLACES_SHOWN = 3
_HELD_OUT = ("validation", "test")


def deal_examples(
    store: ExampleStore, config: SplitConfig, *, on_note: Callable[[str], None] = lambda _: None
) -> npt.NDArray[np.uint8]:
    """Deal the examples to train, validation and test.

    Every example is in one split, and examples that ask the same are in the same one, even where they answer
    differently. The same data and settings always give the same splits. Unsound examples count for nothing and are
    dealt to train: a run with any of them stops at the checks.

    How each method deals: `deal_stable`, `deal_groups`, `deal_randomly`, `deal_as_said`.

    Args:
        store: The examples.
        config: How to deal them; its seed is that which they were read with.
        on_note: Called with a sentence for people where something could not be done as asked, and the split is still
            good: labels that are too rare to stratify by, or groups that leave a split empty.

    Returns:
        `uint8[n]`: for each example the place of its split in `retune.data.dataset.columns.SIDES` (1 train,
        2 validation, 3 test).

    Raises:
        DataError: Fewer than 10 examples would remain for training, the split's column contradicts itself, or no
            label is frequent enough to stratify by.
    """
    config = with_groups(store, config)
    is_sound = store.column("sound").astype(np.bool_)
    keys = read_keys(store, config, is_sound)
    sides = deal(keys, config, on_note=on_note)
    if config.method is SplitMethod.COLUMN or declares(keys):
        _refuse_contradictions(store, np.flatnonzero(is_sound), keys, sides)
    if (sides == TRAIN).sum() < MINIMUM_EXAMPLES:
        raise _too_few(keys, sides, config, n_unsound=len(store) - len(keys))
    if config.method is SplitMethod.GROUP:
        _check_groups(keys, sides, config, on_note)
    if len(sides) == len(store):
        return sides
    dealt = np.full(len(store), TRAIN, np.uint8)
    dealt[is_sound] = sides
    return dealt


def deal_all(store: ExampleStore, config: SplitConfig, *, on_note: Callable[[str], None] = lambda _: None) -> Sides:
    """The same as `deal_examples`, and unsound examples are where the others of their group are.

    Raises:
        DataError: See `deal_examples`.
    """
    sides = deal_examples(store, config, on_note=on_note).copy()
    is_sound = store.column("sound").astype(np.bool_)
    if config.method is not SplitMethod.GROUP or is_sound.all():
        return sides
    groups = store.column("group")
    known, first = np.unique(groups[is_sound], return_index=True)
    places = np.minimum(np.searchsorted(known, groups), len(known) - 1)
    is_known = ~is_sound & (groups != 0) & (known[places] == groups)
    sides[is_known] = sides[is_sound][first][places[is_known]]
    return sides


def deal(keys: Keys, config: SplitConfig, *, on_note: Callable[[str], None] = lambda _: None) -> Sides:
    """Deal as the source declares, and the rest by the method that is set, however few examples come out on a side.

    Raises:
        DataError: No label is frequent enough to stratify by.
    """

    def draw(keys: Keys, config: SplitConfig) -> Sides:
        match config.method:
            case SplitMethod.STABLE:
                return deal_stable(keys, config)
            case SplitMethod.GROUP:
                return deal_groups(keys, config)
            case SplitMethod.RANDOM:
                return deal_randomly(keys, config, on_note)
            case SplitMethod.COLUMN:
                return deal_as_said(keys)

    # The method column is the word of the column alone: nothing is drawn beside it.
    is_declared = config.method is not SplitMethod.COLUMN and declares(keys)
    return deal_declared(keys, config, draw) if is_declared else draw(keys, config)


def _check_groups(keys: Keys, sides: Sides, config: SplitConfig, on_note: Callable[[str], None]) -> None:
    assert keys.groups is not None  # noqa: S101 - the method asks for it
    shared = find_repeats(keys.groups, find_grouped(keys.groups))
    n_apart = int((sides[shared.again] != sides[shared.first]).sum()) if declares(keys) else 0
    if n_apart:
        rows = "1 example is" if n_apart == 1 else f"{n_apart:,} examples are"
        on_note(
            f"{rows} in another split than the first one of the same group: the source declares the splits, and groups "
            "stay together only in what is drawn."
        )
        return
    wanted = ((VALIDATION, config.validation), (TEST, config.test))
    empty = [SIDES[side] for side, share in wanted if share > 0 and not (sides == side).any()]
    if len(keys) and not find_grouped(keys.groups).any():
        on_note(f"the column {config.column} is empty in every row; examples were dealt one by one.")
    elif empty:
        on_note(
            f"nothing is held out for {' and '.join(empty)}: the groups that would fall there ask the same questions "
            "as other groups, and stay with them."
        )


def _refuse_contradictions(store: ExampleStore, indices: npt.NDArray[np.int64], keys: Keys, sides: Sides) -> None:
    found = find_contradictions(keys, sides)
    if not len(found.again):
        return
    shown = slice(_PLACES_SHOWN)
    pairs = (
        f"{here} ({SIDES[sides[again]]}) and {there} ({SIDES[sides[first]]})"
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


def _too_few(keys: Keys, sides: Sides, config: SplitConfig, *, n_unsound: int) -> DataError:
    total = len(keys)
    n_questions = len(find_questions(keys.prompts).first)
    train, validation, test = np.bincount(sides, minlength=len(SIDES))[1:].tolist()
    usable = "usable " if n_unsound else ""
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
    if declares(keys) and (deal_as_said(keys) == TRAIN).sum() < MINIMUM_EXAMPLES:
        return (
            "Move examples from the validation and test splits that the source declares to its training split, or add "
            "examples."
        )
    for smaller in _smaller(config):
        if (deal(keys, smaller) == TRAIN).sum() >= MINIMUM_EXAMPLES:
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
