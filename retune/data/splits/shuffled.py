"""The random split: scikit-learn's shuffle over different questions."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from retune.config import SplitConfig
from retune.data.dataset.repeats import find_repeats
from retune.data.splits.keys import TEST, TRAIN, VALIDATION, Keys, Splits
from retune.errors import DataError

_Indices = npt.NDArray[np.int64]


class Questions(NamedTuple):
    """The different questions of some examples.

    Attributes:
        first: `int64[q]`: for each the index of the first example that asks it, ascending.
        of_example: `int64[n]`: for each example the place of its question in `first`.
    """

    first: _Indices
    of_example: _Indices


def find_questions(prompts: npt.NDArray[np.uint64]) -> Questions:
    """Find the different questions.

    Args:
        prompts: For each example the hash of what it asks.
    """
    repeats = find_repeats(prompts, np.ones(len(prompts), np.bool_))
    is_first = np.ones(len(prompts), np.bool_)
    is_first[repeats.again] = False
    of_example = np.cumsum(is_first) - 1
    of_example[repeats.again] = of_example[repeats.first]
    return Questions(np.flatnonzero(is_first), of_example)


def assign_randomly(keys: Keys, config: SplitConfig, on_note: Callable[[str], None]) -> Splits:
    """Assign the different questions with scikit-learn's `train_test_split`, first to test, then to validation.

    Where no two examples ask the same, the test split holds exactly the rows that
    `train_test_split(rows, test_size=config.test, random_state=config.seed)` gives; like it, a fraction is rounded
    up. Where some do, they stay together, and sizes come out near what was asked for: a fraction is one of questions,
    and so is a number of examples taken to be. More data, or another order of it, assigns everything anew.

    Stratified, a question counts with the label of the first example that asks it. Scikit-learn goes by the order of
    the labels, which here is that of their hashes, so its rows are others for the texts. Labels that are too rare to
    be on both splits of a cut stay in train: those of a single question, and the rarest ones where a split is to have
    fewer questions than there are labels.

    Args:
        keys: The examples.
        config: How much to hold out, and whether to stratify.
        on_note: Told how many labels were too rare.

    Raises:
        DataError: No label can be on both splits.
    """
    questions = find_questions(keys.prompts)
    cut = _Cut(None if keys.strata is None else keys.strata[questions.first], config.seed)
    count = len(questions.first)
    n_test, n_validation = (_size(share, count, len(keys)) for share in (config.test, config.validation))
    rest, test = cut.hold_out(np.arange(count), n_test)
    _, validation = cut.hold_out(rest, n_validation)
    if len(cut.too_rare):
        on_note(_describe_too_rare(len(cut.too_rare)))
    of_question = np.full(count, TRAIN, np.uint8)
    of_question[validation] = VALIDATION
    of_question[test] = TEST
    return of_question[questions.of_example]


def _size(share: float, n_questions: int, n_examples: int) -> int:
    """How many questions to hold out; a fraction is rounded up as scikit-learn does it."""
    if share < 1:
        return int(np.ceil(share * n_questions))
    return max(1, round(min(share, n_examples) / n_examples * n_questions)) if n_examples else 0


class _Cut:
    """Cuts questions in two.

    Args:
        labels: For each question the hash of its label; None not to stratify.
        seed: For scikit-learn.

    Attributes:
        too_rare: Labels that were too rare to be on both splits, so far.
    """

    def __init__(self, labels: npt.NDArray[np.uint64] | None, seed: int) -> None:
        self._labels, self._seed = labels, seed
        self.too_rare: set[int] = set()

    def hold_out(self, questions: _Indices, count: int) -> tuple[_Indices, _Indices]:
        """Cut off so many.

        Returns:
            The questions that are kept and those that are held out, in the order that scikit-learn gives them.

        Raises:
            DataError: All labels are too rare.
        """
        if count <= 0 or count >= len(questions):
            return (questions, questions[:0]) if count <= 0 else (questions[:0], questions)
        if self._labels is None:
            return self._cut(questions, count, None)
        labels = self._labels[questions]
        is_common, n_held_out = self._choose_labels(labels, count)
        kept, held_out = self._cut(questions[is_common], n_held_out, labels[is_common])
        return np.concatenate((kept, questions[~is_common])), held_out

    def _cut(self, questions: _Indices, count: int, labels: npt.NDArray[np.uint64] | None) -> tuple[_Indices, _Indices]:
        from sklearn.model_selection import train_test_split  # noqa: PLC0415  (seconds to import; only this needs it)

        kept, held_out = train_test_split(questions, test_size=count, random_state=self._seed, stratify=labels)
        return kept, held_out

    def _choose_labels(self, labels: npt.NDArray[np.uint64], count: int) -> tuple[npt.NDArray[np.bool_], int]:
        """Take as many of the most frequent labels as can be on both splits.

        Returns:
            Which questions have one of these labels, and how many of them to hold out.
        """
        different, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
        ranked = np.argsort(-counts, kind="stable")
        n_labels = np.arange(1, len(ranked) + 1)
        n_questions = np.cumsum(counts[ranked])
        # Of fewer questions, in proportion fewer are held out; rounded up.
        n_held_out = -(-count * n_questions // len(labels))
        fits = (counts[ranked] > 1) & (n_held_out >= n_labels) & (n_questions - n_held_out >= n_labels)
        if not fits.any():
            raise DataError(
                f"Can't stratify: {len(labels):,} questions have {len(different):,} different labels, and none of them "
                f"is frequent enough to be on both sides when {count:,} are held out.",
                hint="Name a column with few different values as stratify_column, hold out more, or don't stratify.",
            )
        last = int(np.flatnonzero(fits)[-1])
        self.too_rare.update(different[ranked[last + 1 :]].tolist())
        is_common = np.zeros(len(different), np.bool_)
        is_common[ranked[: last + 1]] = True
        return is_common[inverse], int(n_held_out[last])


def _describe_too_rare(n_labels: int) -> str:
    one, of = ("1 label is", "it") if n_labels == 1 else (f"{n_labels:,} labels are", "them")
    return f"{one} too rare to be in every split; examples of {of} may be in train alone."
