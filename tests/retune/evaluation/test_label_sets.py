"""Answers that are lists of labels, against scikit-learn's multilabel figures."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support
from sklearn.preprocessing import MultiLabelBinarizer

from retune.data.example.labels import count_listed_labels
from retune.evaluation.comparison import compare
from retune.evaluation.correctness import detect_task, right_answers
from retune.evaluation.examples import Answer
from retune.evaluation.label_sets import are_label_sets, label_set_scores
from retune.evaluation.scorers import score_answers
from retune.results.evaluation_figures import evaluation_figures

LABELS = ["billing", "how_to", "repair"]
SETS = st.lists(st.sampled_from(LABELS), max_size=3, unique=True)


def answer(expected: str, content: str | None) -> Answer:
    return Answer(index=0, prompt=[], expected=expected, content=content)


ANSWERS = [
    answer('["repair", "how_to"]', '["how_to","repair"]'),
    answer('["repair"]', '["repair", "how_to"]'),
    answer('["how_to"]', "how_to"),
    answer('["repair"]', '["repair"]'),
    answer('["how_to", "repair"]', '["other"]'),
]


def test_the_order_of_labels_does_not_matter() -> None:
    scores = score_answers(ANSWERS)
    assert scores.task == "labels"
    assert (scores.exact_match, scores.sets_right, scores.valid_json_rate) == (0.2, 0.4, 0.8)
    # repair: 3 right of 3 answered and 4 expected; how_to: 1 right of 2 answered and 3 expected.
    assert scores.macro_f1 == pytest.approx((6 / 7 + 2 / 5) / 2)
    # 4 right; 7 expected, 6 answered.
    assert scores.micro_f1 == pytest.approx(8 / 13)
    assert right_answers(ANSWERS) == [True, False, False, True, False]
    rows = compare(scores, scores)
    assert [row.title for row in rows][:5] == [
        "Exact match",
        "Label sets right",
        "Micro-F1",
        "Macro-F1",
        "Valid JSON",
    ]
    assert set(evaluation_figures(rows, ANSWERS)) == {"scores", "labels.answer"}


@pytest.mark.parametrize(
    ("expected", "are_lists"),
    [
        (['["a"]', '["a", "b"]', '["b"]'], True),
        (["[1, 2]", "[2, 1]"], True),
        (['["a"]', "a", '["a"]'], False),
        (['["a"]', '["b"]', '["c"]'], False),
        (['[{"a": 1}]', '[{"a": 1}]'], False),
        (["[]", "[]"], False),
        ([], False),
    ],
)
def test_lists_of_labels_are_recognized(expected: list[str], are_lists: bool) -> None:
    assert are_label_sets(expected) == are_lists
    assert (detect_task([answer(text, None) for text in expected]) == "labels") == are_lists


@pytest.mark.parametrize(
    ("answers", "labels"),
    [
        ({'["a", "b"]': 2, '["b"]': 1}, {'"a"': 2, '"b"': 3}),
        ({"[1, 2]": 2, "[2.0]": 1, '["2"]': 2}, {"1": 2, "2": 3, '"2"': 2}),
        ({'[" a"]': 2, '["a", "a"]': 1}, {'"a"': 3}),
        ({'["a", "b"]': 1, '["c"]': 1}, {}),
        ({'["a"]': 3, "a": 1}, {}),
        ({'[{"a": 1}]': 4}, {}),
        ({"[" * 5000: 4}, {}),
        ({}, {}),
    ],
)
def test_the_checks_count_labels_in_lists(answers: dict[str, int], labels: dict[str, int]) -> None:
    assert count_listed_labels(answers) == labels


@given(st.lists(st.tuples(SETS, SETS), min_size=4, max_size=20))
def test_the_figures_are_scikit_learns(pairs: list[Any]) -> None:
    answers = [answer(json.dumps(wanted), json.dumps(found)) for wanted, found in pairs]
    if not are_label_sets([one.expected for one in answers]):
        return
    binarizer = MultiLabelBinarizer(classes=LABELS)
    wanted, found = (binarizer.fit_transform(side) for side in zip(*pairs, strict=True))
    scores = score_answers(answers)
    assert scores.sets_right == pytest.approx(accuracy_score(wanted, found))
    assert scores.micro_f1 == pytest.approx(f1_score(wanted, found, average="micro", zero_division=0))
    precision, recall, f1, support = precision_recall_fscore_support(wanted, found, zero_division=0)
    for score in label_set_scores(answers):
        place = LABELS.index(score.label)
        assert (score.precision, score.recall, score.f1, score.n_expected) == pytest.approx(
            (precision[place], recall[place], f1[place], support[place])
        )
