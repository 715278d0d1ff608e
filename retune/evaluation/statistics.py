"""How sure a score is: 95 % intervals, and tests of whether one model is really better than another.

Every score of quality is a function of sums over the examples: of right answers, say, or of what each label was taken
for. A `Measure` holds what each example adds to them. So one way of drawing examples anew serves all scores, and two
models are always compared on the same examples.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

CONFIDENCE = 0.95
_POWER = 0.8
_N_RESAMPLES = 2_000
_SEED = 0
_NORMAL = NormalDist()
# 128 MB of 8-byte numbers.
_MOST_CELLS = 16_000_000

Counts: TypeAlias = npt.NDArray[np.int64]
Sums: TypeAlias = npt.NDArray[np.int64] | npt.NDArray[np.float64]
Values: TypeAlias = npt.NDArray[np.float64]
Interval: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Measure:
    """A score as a function of sums over examples.

    Attributes:
        parts: What each example adds; shape (examples, k), whole numbers.
        value: Scores of sums; takes shape (m, k), gives shape (m,).
        is_fraction: Of right answers: `parts` are 1 or 0 for right, and 1 or 0 for whether the example counts.
    """

    parts: Counts
    value: Callable[[Sums], Values]
    is_fraction: bool = False

    @property
    def score(self) -> float:
        """The score of all examples."""
        return float(self.value(self.parts.sum(axis=0, keepdims=True))[0])


class Difference(BaseModel):
    """How much better the second model is than the first, on the same examples.

    Attributes:
        interval: 95 % interval of the difference of the scores, second - first.
        p_value: Two-sided; of right and wrong answers by McNemar's exact test, else by the bootstrap.
        n_first_only: Examples that only the first model has right; None where examples are not just right or wrong.
        n_second_only: Examples that only the second model has right; likewise.
        n_needed: Examples that would be needed to confirm a difference of this size with a power of 80 %; None where
            there is none, or it is confirmed.
    """

    model_config = ConfigDict(frozen=True)

    interval: Interval
    p_value: float
    n_first_only: int | None = None
    n_second_only: int | None = None
    n_needed: int | None = None

    @property
    def is_certain(self) -> bool:
        """Whether the difference is more than chance, at a confidence of 95 %."""
        return self.p_value < 1 - CONFIDENCE


def fraction(right: Sequence[bool], counts: Sequence[bool] | None = None) -> Measure:
    """The fraction of right answers among the examples that count; all do by default."""
    counted = [True] * len(right) if counts is None else counts
    return ratio([int(one) for one in right], [int(one) for one in counted], is_fraction=True)


def ratio(part: Sequence[int], whole: Sequence[int], *, is_fraction: bool = False) -> Measure:
    """sum(part) / sum(whole); 0 where nothing is divided."""
    parts = np.stack([np.asarray(part, dtype=np.int64), np.asarray(whole, dtype=np.int64)], axis=1)
    return Measure(parts, lambda sums: _divide(sums[:, 0], sums[:, 1]), is_fraction)


def mean_f1(groups: Sequence[Counts]) -> Measure:
    """Mean over groups of the mean F1 of each group's labels.

    Args:
        groups: One array a group, of shape (examples, 3·labels): right answers, answers and expected ones of each
            label. F1 of a label is 2·right / (answers + expected). A label, or a group, that a resample does not
            expect is left out of that resample's mean.
    """
    sizes = [group.shape[1] // 3 for group in groups]

    def value(sums: Sums) -> Values:
        total, n_groups, start = np.zeros(len(sums)), np.zeros(len(sums)), 0
        for size in sizes:
            right, answered, expected = (
                sums[:, start + shift * size : start + (shift + 1) * size] for shift in range(3)
            )
            start += 3 * size
            f1 = _divide(2 * right, answered + expected)
            n_expected = (expected > 0).sum(axis=1)
            total += _divide((f1 * (expected > 0)).sum(axis=1), n_expected)
            n_groups += n_expected > 0
        return _divide(total, n_groups)

    return Measure(np.concatenate(list(groups), axis=1), value)


def interval(measure: Measure) -> Interval:
    """95 % interval of a score.

    Of a fraction it is Wilson's (Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927);
    of any other score the percentile bootstrap over examples (Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). Where all resamples are equal the bootstrap
    has no width; it is Wilson's of as many examples then.
    """
    if measure.is_fraction:
        right, n = (int(total) for total in measure.parts.sum(axis=0))
        return wilson(right, n)
    [scores] = _resampled([measure])
    low, high = _percentiles(scores)
    if low < high:
        return low, high
    return wilson(round(measure.score * len(measure.parts)), len(measure.parts))


def wilson(right: int, n: int) -> Interval:
    """Wilson's score interval of a fraction: (p + z²/2n ± z·√(p(1 - p)/n + z²/4n²)) / (1 + z²/n); (0, 1) of nothing."""
    if n == 0:
        return 0.0, 1.0
    # By hand: scipy.stats, which has it too, takes over half a second of every run to import.
    p, z = right / n, _NORMAL.inv_cdf(1 - (1 - CONFIDENCE) / 2)
    middle, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    # At its ends the interval reaches 0 or 1, and rounding must not put it beside them.
    low = 0.0 if right == 0 else (middle - half) / (1 + z**2 / n)
    return low, 1.0 if right == n else (middle + half) / (1 + z**2 / n)


def difference(first: Measure, second: Measure) -> Difference:
    """Compare two models by the same score on the same examples.

    Of right and wrong answers the p-value is that of McNemar's exact test and the interval is `newcombe`'s. Of other
    scores both come from the paired bootstrap: each resample draws examples, and takes the answers of both models to
    them. The interval is that of the percentiles; the p-value is twice the smaller share of resamples on either side of
    no difference, (k + 1) / (resamples + 1) (Davison and Hinkley, Bootstrap Methods and their Application, 1997,
    section 4.2), and no smaller than a sign test of the m examples that differ can give, 2 / 2^m: resamples of very few
    examples all look alike.
    """
    if first.is_fraction and second.is_fraction:
        return _difference_of_fractions(first.parts, second.parts)
    before, after = _resampled([first, second])
    moved = after - before
    smaller = min(int((moved <= 0).sum()), int((moved >= 0).sum()))
    n_differing = int((first.parts != second.parts).any(axis=1).sum())
    p_value = min(1.0, max(2 * (smaller + 1) / (len(moved) + 1), 2.0 ** (1 - n_differing)))
    low, high = _percentiles(moved)
    if low == high:
        (low_1, high_1), (low_2, high_2) = interval(first), interval(second)
        low, high = low_2 - high_1, high_2 - low_1
    return Difference(interval=(low, high), p_value=p_value)


def _difference_of_fractions(first: Counts, second: Counts) -> Difference:
    counts = first[:, 1] > 0
    one, other = first[counts, 0], second[counts, 0]
    both, n_first, n_second = (int(found.sum()) for found in (one & other, one > other, other > one))
    p_value = mcnemar(n_first, n_second)
    is_certain = p_value < 1 - CONFIDENCE
    return Difference(
        interval=newcombe(both, n_first, n_second, len(one) - both - n_first - n_second),
        p_value=p_value,
        n_first_only=n_first,
        n_second_only=n_second,
        n_needed=None if is_certain else needed_examples(n_first, n_second, len(one)),
    )


def newcombe(both: int, first_only: int, second_only: int, neither: int) -> Interval:
    """95 % interval of the difference of two fractions of the same examples, second - first.

    From Wilson's intervals of both and their correlation (Newcombe, Improved confidence intervals for the difference
    between binomial proportions based on paired data, 1998, method 10). Unlike the bootstrap it has a width where all
    examples agree.
    """
    n = both + first_only + second_only + neither
    n_first, n_second = both + first_only, both + second_only
    (low_1, high_1), (low_2, high_2) = wilson(n_first, n), wilson(n_second, n)
    if n == 0:
        return -1.0, 1.0
    margins = n_first * (n - n_first) * n_second * (n - n_second)
    cross = both * neither - first_only * second_only
    phi = (cross if cross < 0 else max(cross - n / 2, 0)) / math.sqrt(margins) if margins else 0.0
    p_1, p_2 = n_first / n, n_second / n
    down, up = p_2 - low_2, high_1 - p_1
    lower = math.sqrt(max(0.0, down**2 - 2 * phi * down * up + up**2))
    down, up = p_1 - low_1, high_2 - p_2
    upper = math.sqrt(max(0.0, down**2 - 2 * phi * down * up + up**2))
    return p_2 - p_1 - lower, p_2 - p_1 + upper


def mcnemar(n_first_only: int, n_second_only: int) -> float:
    """p-value of McNemar's exact test, two-sided; 1 where the models differ in no example.

    Of the examples that one model alone has right, each has it with a probability of one half (McNemar, Note on the
    sampling error of the difference between correlated proportions or percentages, 1947).
    """
    n_discordant = n_first_only + n_second_only
    if n_discordant == 0:
        return 1.0
    from scipy.special import bdtr  # noqa: PLC0415 - a tenth of a second to import

    return min(1.0, 2 * float(bdtr(min(n_first_only, n_second_only), n_discordant, 0.5)))


def needed_examples(n_first_only: int, n_second_only: int, n: int) -> int | None:
    """Examples that confirm the observed difference at 95 % with a power of 80 %; None where both are equal.

    n = (z₁₋α/₂·√ψ + z_power·√(ψ - δ²))² / δ² with ψ the share of examples that one model alone has right and δ the
    difference (Connor, Sample Size for Testing Differences in Proportions for the Paired-Sample Design, 1987).
    """
    if n == 0 or n_first_only == n_second_only:
        return None
    discordant, delta = (n_first_only + n_second_only) / n, (n_second_only - n_first_only) / n
    z_confidence, z_power = _NORMAL.inv_cdf(1 - (1 - CONFIDENCE) / 2), _NORMAL.inv_cdf(_POWER)
    root = z_confidence * math.sqrt(discordant) + z_power * math.sqrt(discordant - delta**2)
    # For very few examples the formula is too hopeful: these were not enough.
    return max(n + 1, math.ceil(root**2 / delta**2))


def _resampled(measures: Sequence[Measure]) -> list[Values]:
    """Scores of resamples of the examples, the same resamples for all measures.

    Examples that add the same to every sum are interchangeable, so a resample is a draw of how often each kind of
    example occurs: a multinomial one, which costs as much as there are kinds.
    """
    joined = np.concatenate([measure.parts for measure in measures], axis=1)
    if not len(joined):
        return [np.zeros(1) for _ in measures]
    kinds, counts = np.unique(joined, axis=0, return_counts=True)
    generator = np.random.default_rng(_SEED)
    step = max(1, _MOST_CELLS // max(kinds.shape))
    # As floating-point numbers, exact this far: NumPy multiplies matrices of whole numbers many times more slowly.
    adds = kinds.astype(np.float64)
    sums = [
        generator.multinomial(len(joined), counts / len(joined), size=min(step, _N_RESAMPLES - done)) @ adds
        for done in range(0, _N_RESAMPLES, step)
    ]
    values, start = [], 0
    for measure in measures:
        end = start + measure.parts.shape[1]
        values.append(np.concatenate([measure.value(part[:, start:end]) for part in sums]))
        start = end
    return values


def _percentiles(values: Values) -> Interval:
    low, high = np.percentile(values, [100 * (1 - CONFIDENCE) / 2, 100 * (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _divide(part: npt.NDArray[np.generic], whole: npt.NDArray[np.generic]) -> Values:
    divided: Values = np.divide(part, whole, out=np.zeros(np.shape(part)), where=np.asarray(whole) > 0)
    return divided
