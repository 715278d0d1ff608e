"""What holds of every split, whatever the data and the settings."""

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from split_keys import AskedRow, make_keys

from retune.config import SplitConfig, SplitMethod
from retune.data.splits.keys import TEST, TRAIN, VALIDATION
from retune.data.splits.split import deal

SHARES = st.sampled_from([0.0, 0.01, 0.1, 0.3, 1.0, 3.0, 20.0])
SEEDS = st.integers(0, 2**31 - 1)


def configs(*methods, shares=SHARES):
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


def draw_rows(seed, n_rows, n_questions, n_groups):
    """Few questions, groups and answers, so that duplicates, conflicts and joined groups come up."""
    draw = random.Random(seed)
    groups = [None, "", *map(str, range(n_groups))]
    return [AskedRow(draw.randrange(n_questions), draw.choice("ab"), draw.choice(groups)) for _ in range(n_rows)]


ROWS = st.builds(draw_rows, st.integers(0), st.integers(1, 80), st.integers(1, 160), st.integers(1, 80))
ORDERS = st.integers(0).map(random.Random)
CONTENT_METHODS = (SplitMethod.STABLE, SplitMethod.RANDOM, SplitMethod.GROUP)


def questions_on(rows, sides, *wanted):
    return {row.question for row, side in zip(rows, sides.tolist(), strict=True) if side in wanted}


@settings(deadline=None)  # the first call imports scikit-learn, which takes seconds
@given(ROWS, configs(*CONTENT_METHODS))
def test_splits_are_complete_disjoint_by_content_and_repeatable(rows, config):
    keys = make_keys(rows, config.seed)
    sides = deal(keys, config)
    assert len(sides) == len(rows)
    assert set(sides.tolist()) <= {TRAIN, VALIDATION, TEST}
    on_sides = [questions_on(rows, sides, side) for side in (TRAIN, VALIDATION, TEST)]
    assert sum(map(len, on_sides)) == len(set.union(*on_sides))
    assert np.array_equal(deal(keys, config), sides)


@settings(deadline=None)
@given(ROWS, configs(SplitMethod.STABLE, SplitMethod.RANDOM))
def test_a_split_that_was_asked_for_is_not_empty_and_another_is(rows, config):
    sides = deal(make_keys(rows, config.seed), config)
    if config.test:
        assert (sides == TEST).any()
    else:
        assert not (sides == TEST).any()
    if not config.validation:
        assert not (sides == VALIDATION).any()
    elif not (sides == VALIDATION).any():
        assert (sides == TEST).all()


@settings(deadline=None)
@given(ROWS, configs(SplitMethod.GROUP))
def test_rows_of_a_group_are_on_one_side(rows, config):
    sides = deal(make_keys(rows, config.seed), config)
    for group in {row.group for row in rows if row.group}:
        assert len({side for row, side in zip(rows, sides.tolist(), strict=True) if row.group == group}) == 1


@settings(deadline=None)
@given(ROWS, ROWS, configs(SplitMethod.STABLE, SplitMethod.GROUP), ORDERS)
def test_what_was_trained_on_is_never_judged_on_however_the_data_grows(rows, more, config, order):
    grown = [*rows, *more]
    order.shuffle(grown)
    before = questions_on(rows, deal(make_keys(rows, config.seed), config), TRAIN)
    after = questions_on(grown, deal(make_keys(grown, config.seed), config), TRAIN)
    assert before <= after


@given(ROWS, ROWS, SEEDS, ORDERS)
def test_by_fractions_nothing_at_all_changes_sides_as_the_data_grows(rows, more, seed, order):
    # So many that no split is empty without the fallback.
    rows = [*rows, *map(AskedRow, range(1000, 1120))]
    config = SplitConfig(validation=0.3, test=0.3, seed=seed)
    grown = [*rows, *more]
    order.shuffle(grown)
    sides, later = (deal(make_keys(each, seed), config) for each in (rows, grown))
    for side in (TRAIN, VALIDATION, TEST):
        assert questions_on(rows, sides, side) <= questions_on(grown, later, side)


@settings(deadline=None)
@given(ROWS, configs(SplitMethod.STABLE, SplitMethod.GROUP), ORDERS)
def test_the_order_of_rows_does_not_matter(rows, config, order):
    places = list(range(len(rows)))
    order.shuffle(places)
    sides = deal(make_keys(rows, config.seed), config)
    shuffled = deal(make_keys([rows[place] for place in places], config.seed), config)
    assert np.array_equal(shuffled, sides[places])


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(CONTENT_METHODS))
def test_another_seed_deals_another_split(method):
    rows = [AskedRow(number, group=f"{number // 2}") for number in range(200)]
    column = "group" if method is SplitMethod.GROUP else None
    dealt = [
        deal(make_keys(rows, seed), SplitConfig(method=method, column=column, seed=seed)).tolist() for seed in (1, 2)
    ]
    assert dealt[0] != dealt[1]
