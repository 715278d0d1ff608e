"""What answers are worth that cost nothing: the commonest answer, and a classifier of scikit-learn.

They are a floor for the models: a fine-tuned model that is no better than they are is not worth its price. They exist
where answers are labels, lists of labels, or JSON with fields whose values repeat.
"""

import json
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from retune.data.example.labels import canonical, parse_labels, parse_object
from retune.evaluation.correctness import detect_task
from retune.evaluation.examples import Answer, EvaluationExample
from retune.evaluation.labels import are_labels
from retune.training_lines.keys import JsonObject

ReferenceName = Literal["majority", "tfidf_logistic_regression"]
TITLES: dict[ReferenceName, str] = {
    "majority": "Commonest answer",
    "tfidf_logistic_regression": "TF-IDF + logistic regression",
}

# A field's values for the training examples, and the texts to predict it for; gives its predicted values.
_Predict = Callable[[list[str], list[str], list[str]], list[str]]

_ABSENT = ""
MOST_TRAINING_EXAMPLES = 10_000
# Examples times labels: with more the fit would take over a minute on one core.
_MOST_CELLS = 2_000_000
_MOST_FEATURES = 50_000
_LONGEST_TEXT = 4_000


class Reference(BaseModel):
    """A reference's answers to the test examples, in their order."""

    model_config = ConfigDict(frozen=True)

    name: ReferenceName
    answers: list[Answer]


def answer_by_references(train: Sequence[EvaluationExample], test: Sequence[EvaluationExample]) -> list[Reference]:
    """Answer the test examples without a language model, from the training examples alone.

    The classifier is scikit-learn's `LogisticRegression` (C = 10) on `TfidfVectorizer`'s weights of 2 to 4 characters
    within words, which serve every script, of the last message of each prompt. Of more than 10,000 training examples,
    evenly spaced ones are taken, fewer if there are many labels. JSON answers are predicted field by field; a field
    whose values don't repeat always has its commonest value.

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
    made = [Reference(name="majority", answers=_answers(test, answer_all(_commonest, questions, expected, asked)))]
    if len({_comparable(text) for text in expected}) > 1:
        learned = answer_all(_classify, questions, expected, asked)
        made.append(Reference(name="tfidf_logistic_regression", answers=_answers(test, learned)))
    return made


def _answer_labels(predict: _Predict, questions: list[str], expected: list[str], asked: list[str]) -> list[str]:
    """Whole answers. One answer is predicted of all that mean the same, in its commonest spelling."""
    spellings: dict[str, Counter[str]] = {}
    for text in expected:
        spellings.setdefault(_comparable(text), Counter())[text] += 1
    predicted = predict(questions, [_comparable(text) for text in expected], asked)
    return [spellings[value].most_common(1)[0][0] for value in predicted]


def _answer_objects(predict: _Predict, questions: list[str], expected: list[str], asked: list[str]) -> list[str]:
    objects = [parse_object(text) or {} for text in expected]
    answers: list[JsonObject] = [{} for _ in asked]
    for name in dict.fromkeys(name for found in objects for name in found):
        values = [canonical(found[name]) if name in found else _ABSENT for found in objects]
        repeats = are_labels([value for value in values if value != _ABSENT])
        for answer, value in zip(answers, (predict if repeats else _commonest)(questions, values, asked), strict=True):
            if value != _ABSENT:
                answer[name] = json.loads(value)
    return [json.dumps(answer, ensure_ascii=False) for answer in answers]


def _commonest(_questions: list[str], values: list[str], asked: list[str]) -> list[str]:
    [(value, _)] = Counter(values).most_common(1)
    return [value] * len(asked)


def _classify(questions: list[str], values: list[str], asked: list[str]) -> list[str]:
    n_labels = len(set(values))
    if n_labels == 1:
        return _commonest(questions, values, asked)
    # Here, since it takes over a second.
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    stride = -(-len(questions) // max(1, min(MOST_TRAINING_EXAMPLES, _MOST_CELLS // n_labels)))
    some, known = questions[::stride], values[::stride]
    if len(set(known)) == 1:
        return _commonest(some, known, asked)
    words = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), max_features=_MOST_FEATURES, sublinear_tf=True)
    classifier = LogisticRegression(C=10, max_iter=100)
    with warnings.catch_warnings():
        # A hundred steps are enough for a reference.
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            classifier.fit(words.fit_transform(some), known)
        except ValueError:
            # No text has two characters side by side: there is nothing to tell them by.
            return _commonest(some, known, asked)
    return [str(value) for value in classifier.predict(words.transform(asked))]


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
