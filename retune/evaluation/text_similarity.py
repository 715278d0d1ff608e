"""How near an open answer comes to the expected one: chrF, on characters, so in any script."""

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from retune.evaluation.examples import Answer, is_sampled
from retune.evaluation.statistics import Measure, ratio

if TYPE_CHECKING:
    from sacrebleu.metrics.chrf import CHRF

# A score takes 1 ms for 200 characters, and 30 ms for 3,000.
_MOST_EXAMPLES = 2_000
_LONGEST_TEXT = 3_000
# Sums are whole numbers: a score counts as this many parts.
_PARTS = 1_000_000


def chrf(answers: Sequence[Answer]) -> Measure:
    """Mean chrF of the answers, 0 to 1; an example without an answer counts as 0.

    chrF is the F-score (β = 2) of the n-grams of 1 to 6 characters that an answer shares with the expected one
    (Popović, chrF: character n-gram F-score for automatic MT evaluation, 2015), as sacrebleu's `CHRF` computes it. The
    first 3,000 characters of a text are compared. Of more than 2,000 examples evenly spaced ones are scored.
    """
    counted = [is_sampled(position, len(answers), _MOST_EXAMPLES) for position in range(len(answers))]
    parts = [
        _similarity(answer.expected[:_LONGEST_TEXT], (answer.content or "")[:_LONGEST_TEXT]) if is_counted else 0
        for answer, is_counted in zip(answers, counted, strict=True)
    ]
    return ratio(parts, [_PARTS * is_counted for is_counted in counted])


# An evaluation needs each score several times: for the score, its interval and its differences.
@lru_cache(maxsize=8 * _MOST_EXAMPLES)
def _similarity(expected: str, content: str) -> int:
    expected, content = expected.strip(), content.strip()
    # Of two empty texts, too.
    if expected == content:
        return _PARTS
    score: float = _metric().sentence_score(content, [expected]).score
    return round(score / 100 * _PARTS)


@cache
def _metric() -> "CHRF":
    # Here, since it takes half a second.
    from sacrebleu.metrics.chrf import CHRF  # noqa: PLC0415

    return CHRF()
