"""Intervals and paired tests, compared with scipy, scikit-learn, published examples and what they promise."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from retune.evaluation.statistics import (
    Measure,
    difference,
    fraction,
    interval,
    mcnemar,
    mean_f1,
    needed_examples,
    newcombe,
    ratio,
    wilson,
)

MARKS = st.lists(st.booleans(), min_size=1, max_size=60)


@settings(deadline=None)
@given(MARKS)
def test_interval_of_a_fraction_is_scipy_s(right: list[bool]) -> None:
    reference = scipy.stats.binomtest(sum(right), len(right)).proportion_ci(method="wilson")
    assert interval(fraction(right)) == pytest.approx((reference.low, reference.high), abs=1e-12)


@settings(deadline=None)
@given(MARKS)
def test_interval_of_a_fraction_solves_wilson_s_equation(right: list[bool]) -> None:
    """Its ends are where the score test just does not reject: |p - bound| = z·√(bound·(1 - bound) / n)."""
    low, high = interval(fraction(right))
    p, n, z = np.mean(right), len(right), scipy.stats.norm.ppf(0.975)
    assert 0 <= low <= p <= high <= 1
    for bound in (low, high):
        assert abs(p - bound) == pytest.approx(z * np.sqrt(bound * (1 - bound) / n), abs=1e-9)


def test_interval_of_nothing_is_everything() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert newcombe(0, 0, 0, 0) == (-1.0, 1.0)


def test_paired_interval_equals_the_published_one() -> None:
    """The example of 36, 12, 2 and 0 pairs in Newcombe (1998), table II, method 10."""
    low, high = newcombe(36, 2, 12, 0)
    assert (round(low, 4), round(high, 4)) == (0.0569, 0.3404)
    assert newcombe(36, 12, 2, 0) == pytest.approx((-high, -low))


def test_paired_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    truth = (0.5, 0.05, 0.2, 0.25)
    covered = 0
    for counts in generator.multinomial(60, truth, size=400):
        low, high = newcombe(*(int(count) for count in counts))
        covered += low <= truth[2] - truth[1] <= high
    assert covered / 400 > 0.92


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_binomial_test_of_the_examples_in_which_they_differ(first: int, second: int) -> None:
    expected = scipy.stats.binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected)
    assert mcnemar(first, second) == mcnemar(second, first)


def test_as_many_examples_as_needed_give_the_power_that_is_promised() -> None:
    """One model alone has 20 of 200 right, the other 12: that many examples confirm that four times in five."""
    n = needed_examples(12, 20, 200)
    assert n is not None
    generator = np.random.default_rng(0)
    draws = generator.multinomial(n, (0.06, 0.10, 0.84), size=300)
    # Connor's formula is that of McNemar's test without a correction, to which the exact one is somewhat cautious.
    confirmed = np.mean([mcnemar(int(first), int(second)) < 0.05 for first, second, _ in draws])
    assert 0.7 < confirmed < 0.9


def test_more_examples_are_needed_than_were_not_enough() -> None:
    assert needed_examples(0, 5, 5) == 6


def test_no_number_of_examples_confirms_no_difference() -> None:
    assert needed_examples(3, 3, 10) is None
    assert needed_examples(0, 0, 0) is None


def labels_measure(expected: list[int], answered: list[int], n_labels: int) -> Measure:
    onehot = [np.eye(n_labels, dtype=np.int64)[values] for values in (expected, answered)]
    return mean_f1([np.concatenate([onehot[0] * onehot[1], onehot[1], onehot[0]], axis=1)])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_mean_f1_is_scikit_learn_s(pairs: list[tuple[int, int]]) -> None:
    expected, answered = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    measured = labels_measure(expected, answered, 4).score
    assert measured == pytest.approx(
        f1_score(expected, answered, labels=sorted(set(expected)), average="macro", zero_division=0)
    )


def test_bootstrap_interval_is_that_of_scipy() -> None:
    generator = np.random.default_rng(3)
    part, whole = generator.integers(0, 4, size=120), np.full(120, 4)
    low, high = interval(ratio(part.tolist(), whole.tolist()))
    reference = scipy.stats.bootstrap((part / 4,), np.mean, n_resamples=9999, method="percentile", rng=1)
    assert low == pytest.approx(reference.confidence_interval.low, abs=0.01)
    assert high == pytest.approx(reference.confidence_interval.high, abs=0.01)


def test_one_example_proves_nothing() -> None:
    found = difference(ratio([0], [2]), ratio([2], [2]))
    assert found.p_value == 1
    assert found.interval[0] < 0.5
    low, high = interval(ratio([1], [2]))
    assert low < 0.5 < high
    few = difference(ratio([0] * 4, [2] * 4), ratio([2] * 4, [2] * 4))
    assert few.p_value == 2 / 2**4


def test_a_group_that_a_resample_lacks_lowers_no_mean() -> None:
    always = np.ones((100, 3), dtype=np.int64)
    rare = np.zeros((100, 3), dtype=np.int64)
    rare[:2] = 1
    assert interval(mean_f1([always, rare])) == wilson(100, 100)


@pytest.mark.parametrize("score", [0, 1])
def test_an_interval_has_a_width_where_all_examples_agree(score: int) -> None:
    assert interval(ratio([2 * score] * 30, [2] * 30)) == wilson(30 * score, 30)


def test_the_same_answers_give_the_same_interval() -> None:
    measure = ratio([1, 2, 0, 3] * 10, [4] * 40)
    assert interval(measure) == interval(measure)


def test_models_are_compared_on_the_same_examples() -> None:
    """Both are wrong in the same half, and one is better by three of sixty: unpaired, nothing could be said."""
    first = [number % 2 == 0 for number in range(400)]
    second = [mark or number % 40 == 1 for number, mark in enumerate(first)]
    found = difference(fraction(first), fraction(second))
    assert (found.n_first_only, found.n_second_only) == (0, 10)
    assert found.is_certain
    assert found.interval[0] > 0
    assert found.n_needed is None
    parts = [ratio([int(mark) for mark in marks], [1] * 400) for marks in (first, second)]
    resampled = difference(*parts)
    assert resampled.is_certain
    assert resampled.interval == pytest.approx(found.interval, abs=0.01)


def test_a_model_is_not_better_than_itself() -> None:
    found = difference(fraction([True, False, True]), fraction([True, False, True]))
    assert not found.is_certain
    assert found.p_value == 1
    assert found.interval[0] < 0 < found.interval[1]
    same = ratio([1, 0, 2], [2, 2, 2])
    assert difference(same, same).p_value == 1


@settings(deadline=None)
@given(MARKS, st.data())
def test_the_other_way_round_is_the_opposite(first: list[bool], data: st.DataObject) -> None:
    second = data.draw(st.lists(st.booleans(), min_size=len(first), max_size=len(first)))
    there, back = difference(fraction(first), fraction(second)), difference(fraction(second), fraction(first))
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]))
    assert there.p_value == back.p_value
