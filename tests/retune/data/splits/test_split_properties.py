"""What holds of every split, whatever the data and the settings."""

import random
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from split_keys import AskedRow, make_keys

from retune.config import SplitConfig, SplitMethod
from retune.data.splits.keys import TEST, TRAIN, VALIDATION
from retune.data.splits.split import assign

SHARES = st.sampled_from([0.0, 0.01, 0.1, 0.3, 1.0, 3.0, 20.0])
SEEDS = st.integers(0, 2**31 - 1)


def configs(*methods: SplitMethod, shares: st.SearchStrategy[float] = SHARES) -> st.SearchStrategy[SplitConfig]:
    return st.builds(
        lambda method, validation, test, seed: SplitConfig(
            method=method,
            validation=validation,
            test=test,
            seed=seed,
            column="group" if method is SplitMethod.GROUP else None,
        ),
        st.sampled_from(methods),
        shares,
        shares,
        SEEDS,
    )


def draw_rows(seed: int, n_rows: int, n_questions: int, n_groups: int) -> list[AskedRow]:
    """Few questions, groups and answers, so that duplicates, conflicts and joined groups come up."""
    draw = random.Random(seed)
    groups = [None, "", *map(str, range(n_groups))]
    return [AskedRow(draw.randrange(n_questions), draw.choice("ab"), draw.choice(groups)) for _ in range(n_rows)]


ROWS = st.builds(draw_rows, st.integers(0), st.integers(1, 80), st.integers(1, 160), st.integers(1, 80))
ORDERS = st.integers(0).map(random.Random)
CONTENT_METHODS = (SplitMethod.STABLE, SplitMethod.RANDOM, SplitMethod.GROUP)


def questions_on(rows: list[AskedRow], splits: npt.NDArray[Any], *wanted: int) -> set[int]:
    return {row.question for row, split_index in zip(rows, splits.tolist(), strict=True) if split_index in wanted}


@settings(deadline=None)  # the first call imports scikit-learn, which takes seconds
@given(ROWS, configs(*CONTENT_METHODS))
def test_splits_are_complete_disjoint_by_content_and_repeatable(rows: list[AskedRow], config: SplitConfig) -> None:
    keys = make_keys(rows, config.seed)
    splits = assign(keys, config)
    assert len(splits) == len(rows)
    assert set(splits.tolist()) <= {TRAIN, VALIDATION, TEST}
    in_splits = [questions_on(rows, splits, split_index) for split_index in (TRAIN, VALIDATION, TEST)]
    assert sum(map(len, in_splits)) == len(set.union(*in_splits))
    assert np.array_equal(assign(keys, config), splits)


@settings(deadline=None)
@given(ROWS, configs(SplitMethod.STABLE, SplitMethod.RANDOM))
def test_a_split_that_was_asked_for_is_not_empty_and_another_is(rows: list[AskedRow], config: SplitConfig) -> None:
    splits = assign(make_keys(rows, config.seed), config)
    if config.test:
        assert (splits == TEST).any()
    else:
        assert not (splits == TEST).any()
    if not config.validation:
        assert not (splits == VALIDATION).any()
    elif not (splits == VALIDATION).any():
        assert (splits == TEST).all()


@settings(deadline=None)
@given(ROWS, configs(SplitMethod.GROUP))
def test_rows_of_a_group_are_on_one_side(rows: list[AskedRow], config: SplitConfig) -> None:
    splits = assign(make_keys(rows, config.seed), config)
    for group in {row.group for row in rows if row.group}:
        assert len({index for row, index in zip(rows, splits.tolist(), strict=True) if row.group == group}) == 1


@settings(deadline=None)
@given(ROWS, ROWS, configs(SplitMethod.STABLE, SplitMethod.GROUP), ORDERS)
def test_what_was_trained_on_is_never_judged_on_however_the_data_grows(
    rows: list[AskedRow], more: list[AskedRow], config: SplitConfig, order: Random
) -> None:
    grown = [*rows, *more]
    order.shuffle(grown)
    before = questions_on(rows, assign(make_keys(rows, config.seed), config), TRAIN)
    after = questions_on(grown, assign(make_keys(grown, config.seed), config), TRAIN)
    assert before <= after


@given(ROWS, ROWS, SEEDS, ORDERS)
def test_by_fractions_nothing_at_all_changes_sides_as_the_data_grows(
    rows: list[AskedRow], more: list[AskedRow], seed: int, order: Random
) -> None:
    # So many that no split is empty without the fallback.
    rows = [*rows, *map(AskedRow, range(1000, 1120))]
    config = SplitConfig(validation=0.3, test=0.3, seed=seed)
    grown = [*rows, *more]
    order.shuffle(grown)
    splits, later = (assign(make_keys(each, seed), config) for each in (rows, grown))
    for split_index in (TRAIN, VALIDATION, TEST):
        assert questions_on(rows, splits, split_index) <= questions_on(grown, later, split_index)


@settings(deadline=None)
@given(ROWS, configs(SplitMethod.STABLE, SplitMethod.GROUP), ORDERS)
def test_the_order_of_rows_does_not_matter(rows: list[AskedRow], config: SplitConfig, order: Random) -> None:
    places = list(range(len(rows)))
    order.shuffle(places)
    splits = assign(make_keys(rows, config.seed), config)
    shuffled = assign(make_keys([rows[place] for place in places], config.seed), config)
    assert np.array_equal(shuffled, splits[places])


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(CONTENT_METHODS))
def test_another_seed_deals_another_split(method: SplitMethod) -> None:
    rows = [AskedRow(number, group=f"{number // 2}") for number in range(200)]
    column = "group" if method is SplitMethod.GROUP else None
    assigned = [
        assign(make_keys(rows, seed), SplitConfig(method=method, column=column, seed=seed)).tolist() for seed in (1, 2)
    ]
    assert assigned[0] != assigned[1]
