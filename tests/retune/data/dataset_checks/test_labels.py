from pathlib import Path

import pytest
from example_stores import chat, make_store

from retune.config import SplitConfig
from retune.data.dataset.example_store import ExampleStore
from retune.data.dataset_checks.context import CheckContext
from retune.data.dataset_checks.labels import check_labels, check_numbers, find_labels
from retune.data.problems.problems import Problem


def subject_of(store: ExampleStore) -> CheckContext:
    return CheckContext.of(store, SplitConfig(), "gpt-4.1-mini-2025-04-14")


def labelled(tmp_path: Path, counts: dict[str, int]) -> ExampleStore:
    answers = [label for label, count in counts.items() for _ in range(count)]
    return make_store(tmp_path, [chat(f"question {number}", answer) for number, answer in enumerate(answers)])


def test_few_short_answers_that_come_again_are_labels() -> None:
    facts = find_labels({"billing": 3, "delivery": 12, "account": 1})
    assert facts is not None
    assert facts.counts == {"delivery": 12, "billing": 3, "account": 1}
    assert list(facts.counts) == ["delivery", "billing", "account"]
    assert facts.seen_once == ["account"]


@pytest.mark.parametrize(
    "counts",
    [
        None,
        {},
        {"yes": 40},
        {"a": 4, "b": 3},
        {"a": 40, "b": 1, "c": 1, "d": 1},
        {"a": 40, "b" * 101: 40},
        {"a": 40, "two\nlines": 40},
        {"a": 40, "sk-proj-" + "aB3dE6gH1jK4mN7pQ0sT5vW8yZ2cF9xR" * 2: 40},
    ],
    ids=["too many", "none", "one answer", "too few of each", "mostly seen once", "long", "of several lines", "secret"],
)
def test_long_answers_are_not_labels(counts: dict[str, int] | None) -> None:
    assert find_labels(counts) is None


def test_a_label_seen_once_is_named_with_its_row(tmp_path: Path) -> None:
    store = labelled(tmp_path, {"a": 6, "rare": 1, "b": 6})
    found = check_labels(subject_of(store))
    problems = [(one.kind, one.location, one.message) for one in found if isinstance(one, Problem)]
    assert problems == [("label_seen_once", "row 8", 'no other example has the label "rare".')]


def test_labels_in_lists_are_counted_one_by_one_whatever_their_order() -> None:
    facts = find_labels({'["wool", "silk"]': 3, '["silk", "wool"]': 2, '["wool"]': 1, '["jute"]': 1, "[]": 1})
    assert facts is not None
    assert (facts.counts, facts.seen_once, facts.are_lists) == ({"wool": 6, "silk": 5, "jute": 1}, ["jute"], True)
    numbers = find_labels({"[7, 8]": 3, "[8,7]": 3})
    assert numbers is not None
    assert (numbers.counts, numbers.are_lists) == ({"7": 6, "8": 6}, True)


def test_a_label_that_one_list_names_is_named_with_its_row(tmp_path: Path) -> None:
    store = labelled(tmp_path, {'["wool", "silk"]': 4, '["silk", "wool"]': 1, '["wool", "jute"]': 1, '["silk"]': 1})
    found = check_labels(subject_of(store))
    problems = [(one.kind, one.location, one.message) for one in found if isinstance(one, Problem)]
    assert problems == [("label_seen_once", "row 7", "no other example has the labels jute.")]


def test_lists_of_one_label_or_none_have_nothing_to_compare(tmp_path: Path) -> None:
    context = subject_of(labelled(tmp_path, {'["wool"]': 9, "[]": 5}))
    assert list(check_labels(context)) == []
    assert "labels" not in context.not_applied


def test_label_imbalance_in_lists_is_the_share_of_lists(tmp_path: Path) -> None:
    store = labelled(tmp_path, {'["wool", "silk"]': 1, '["wool"]': 29})
    messages = [one.message for one in check_labels(subject_of(store)) if isinstance(one, Problem)]
    assert messages[-1] == (
        '"wool" is the most frequent of 2 labels with 30 examples, "silk" the rarest with 1; the first stands in 100% '
        "of the lists."
    )


def test_label_imbalance_names_the_score_of_guessing(tmp_path: Path) -> None:
    store = labelled(tmp_path, {"a": 27, "b": 2, "c": 3})
    (problem,) = check_labels(subject_of(store))
    assert isinstance(problem, Problem)
    assert problem.kind == "imbalanced_labels"
    assert problem.message == (
        '"a" is the most frequent of 3 labels with 27 examples, "b" the rarest with 2; always answering the first '
        "would be right in 84%."
    )


def test_balanced_labels_have_no_problem(tmp_path: Path) -> None:
    context = subject_of(labelled(tmp_path, {"a": 27, "b": 3}))
    assert list(check_labels(context)) == []
    assert context.not_applied == {}


def test_free_answers_have_no_labels_to_check(tmp_path: Path) -> None:
    context = subject_of(make_store(tmp_path, [chat(f"q {number}", f"a {number}") for number in range(20)]))
    assert list(check_labels(context)) == []
    assert context.not_applied == {"labels": "no answers look like labels"}


def test_without_checks_labels_are_not_looked_for(tmp_path: Path) -> None:
    context = subject_of(make_store(tmp_path, [chat("q", "a")], checks=False))
    assert list(check_labels(context)) == []
    assert context.not_applied == {"labels": "checks are off"}


@pytest.mark.parametrize("text", ["7", "-3.5", "1,234.50", "12 %", "1e9", " 42 ", ".5"])
def test_questions_that_are_all_numbers_are_noticed(tmp_path: Path, text: str) -> None:
    store = make_store(tmp_path, [chat(text, f"answer {number}") for number in range(3)])
    assert [problem.message for problem in check_numbers(subject_of(store))] == [
        "the user's texts are numbers in all 3 examples."
    ]


def test_answers_that_are_all_different_numbers_are_noticed(tmp_path: Path) -> None:
    store = make_store(tmp_path, [chat(f"question {number}", str(number * 1.5)) for number in range(1500)])
    assert [problem.message for problem in check_numbers(subject_of(store))] == [
        "the answers are numbers in all 1,000 examples that were checked."
    ]


@pytest.mark.parametrize("answer", ["7 days", "v2", "", "1.2.3.x", "Nr. 7"])
def test_one_text_that_is_no_number_is_enough(tmp_path: Path, answer: str) -> None:
    bodies = [chat(f"question {number}", str(number)) for number in range(20)] + [chat("q", answer or "none")]
    assert list(check_numbers(subject_of(make_store(tmp_path, bodies)))) == []


def test_labels_may_be_numbers(tmp_path: Path) -> None:
    store = make_store(tmp_path, [chat(f"question {number}", str(number % 3)) for number in range(30)])
    assert list(check_numbers(subject_of(store))) == []
