"""What answers are worth that cost nothing: the commonest answer, and a classifier of scikit-learn.

They are a floor for the models: one that does not beat them is not worth its price. They exist where answers are
labels, lists of labels, or JSON with fields whose values repeat.
"""

import json
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from retune.data.example.labels import canonical, parse_labels, parse_object
from retune.evaluation.correctness import detect_task
from retune.evaluation.examples import Answer, EvaluationExample, is_sampled
from retune.evaluation.labels import are_labels
from retune.training_lines.keys import JsonObject

ReferenceName = Literal["majority", "tfidf_logistic_regression"]
TITLES: dict[ReferenceName, str] = {
    "majority": "Commonest answer",
    "tfidf_logistic_regression": "TF-IDF + logistic regression",
}

# Values for the training examples, and how many test examples there are; gives the values predicted for those.
_Predict = Callable[[list[str], int], list[str]]

_ABSENT = ""
MOST_TRAINING_EXAMPLES = 10_000
# Examples times labels: with more the fit would take over a minute on one core.
_MOST_CELLS = 1_000_000
# The solver keeps some 25 numbers for each feature and label: 0.4 GB at the most.
_MOST_FEATURES = 20_000
_MOST_LABELS = 100
_MOST_FIELDS = 12
_BLOCK = 1_000
_LONGEST_TEXT = 1_000


class Reference(BaseModel):
    """A reference's answers to the test examples, in their order."""

    model_config = ConfigDict(frozen=True)

    name: ReferenceName
    answers: list[Answer]


def answer_by_references(train: Sequence[EvaluationExample], test: Sequence[EvaluationExample]) -> list[Reference]:
    """Answer the test examples without a language model, from the training examples alone.

    The classifier is scikit-learn's `LogisticRegression` (C = 10) on `TfidfVectorizer`'s weights of 2 to 4 characters
    within words, which serve every script, of the last message of each prompt, up to 1,000 characters. Of more than
    10,000 training examples, evenly spaced ones are taken. JSON answers are predicted field by field, the first 12
    fields whose values repeat; others always have their commonest value, and so has what has over 100 different ones.

    Returns:
        Nothing where the task is open text, or there is nothing to learn from; no classifier where all training
        examples have one answer.
    """
    task = detect_task([_answer(example, None) for example in test])
    if task == "text" or not train or not test:
        return []
    questions, asked = [_text(example) for example in train], [_text(example) for example in test]
    answer_all = _answer_objects if task == "json" else _answer_labels
    expected = [example.expected for example in train]
    made = [Reference(name="majority", answers=_answers(test, answer_all(_commonest, expected, len(test))))]
    if len({_comparable(text) for text in expected}) > 1:
        learned = answer_all(_Classifier(questions, asked), expected, len(test))
        made.append(Reference(name="tfidf_logistic_regression", answers=_answers(test, learned)))
    return made


def _answer_labels(predict: _Predict, expected: list[str], n_asked: int) -> list[str]:
    """Whole answers. One answer is predicted of all that mean the same, in its commonest spelling."""
    spellings: dict[str, Counter[str]] = {}
    for text in expected:
        spellings.setdefault(_comparable(text), Counter())[text] += 1
    predicted = predict([_comparable(text) for text in expected], n_asked)
    return [spellings[value].most_common(1)[0][0] for value in predicted]


def _answer_objects(predict: _Predict, expected: list[str], n_asked: int) -> list[str]:
    objects = [parse_object(text) or {} for text in expected]
    answers: list[JsonObject] = [{} for _ in range(n_asked)]
    n_predicted = 0
    for name in dict.fromkeys(name for found in objects for name in found):
        values = [canonical(found[name]) if name in found else _ABSENT for found in objects]
        repeats = n_predicted < _MOST_FIELDS and are_labels([value for value in values if value != _ABSENT])
        n_predicted += repeats
        for answer, value in zip(answers, (predict if repeats else _commonest)(values, n_asked), strict=True):
            if value != _ABSENT:
                answer[name] = json.loads(value)
    return [json.dumps(answer, ensure_ascii=False) for answer in answers]


def _commonest(values: list[str], n_asked: int) -> list[str]:
    [(value, _)] = Counter(values).most_common(1)
    return [value] * n_asked


class _Classifier:
    """Learns one thing after the other from the same questions, whose weights are worked out once."""

    def __init__(self, questions: list[str], asked: list[str]) -> None:
        # Here, since it takes over a second.
        from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415

        words = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), max_features=_MOST_FEATURES, sublinear_tf=True)
        self._learned: Any = None
        try:
            self._learned, self._asked = words.fit_transform(questions), words.transform(asked)
        except ValueError:
            # No text has two characters side by side: there is nothing to tell them by.
            return

    def __call__(self, values: list[str], n_asked: int) -> list[str]:
        from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415 - see above
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

        n_labels = len(set(values))
        if self._learned is None or not 1 < n_labels <= _MOST_LABELS:
            return _commonest(values, n_asked)
        most = min(MOST_TRAINING_EXAMPLES, _MOST_CELLS // n_labels)
        rows = [row for row in range(len(values)) if is_sampled(row, len(values), most)]
        known = [values[row] for row in rows]
        if len(set(known)) == 1:
            return _commonest(known, n_asked)
        classifier = LogisticRegression(C=10, max_iter=100)
        with warnings.catch_warnings():
            # A hundred steps are enough for a reference.
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier.fit(self._learned[rows], known)
        return [
            str(value)
            for start in range(0, n_asked, _BLOCK)
            for value in classifier.predict(self._asked[start : start + _BLOCK])
        ]


def _comparable(text: str) -> str:
    labels = parse_labels(text)
    return text.strip() if labels is None else json.dumps(sorted(labels), ensure_ascii=False)


def _text(example: EvaluationExample) -> str:
    content = example.prompt[-1].get("content") if example.prompt else ""
    if isinstance(content, list):
        content = " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")[:_LONGEST_TEXT]


def _answers(test: Sequence[EvaluationExample], contents: list[str]) -> list[Answer]:
    return [_answer(example, content) for example, content in zip(test, contents, strict=True)]


def _answer(example: EvaluationExample, content: str | None) -> Answer:
    return Answer(index=example.index, prompt=example.prompt, expected=example.expected, content=content)
