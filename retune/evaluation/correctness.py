"""What kind of task the expected answers make, and which answers are right."""

from collections.abc import Sequence
from typing import Literal

from retune.data.example.labels import canonical, parse_object
from retune.evaluation.examples import Answer
from retune.evaluation.label_sets import are_label_sets, right_sets
from retune.evaluation.labels import are_labels

Task = Literal["json", "label", "labels", "text"]


def detect_task(answers: Sequence[Answer]) -> Task:
    """Tell from the expected answers what kind of task this is."""
    expected = [answer.expected for answer in answers]
    if expected and all(parse_object(text) is not None for text in expected):
        return "json"
    if are_label_sets(expected):
        return "labels"
    return "label" if expected and are_labels([text.strip() for text in expected]) else "text"


def right_answers(answers: Sequence[Answer]) -> list[bool]:
    """Tell of each answer whether it is as good as the expected one.

    JSON objects are compared by value, lists of labels as sets, texts without the space around them.
    """
    task = detect_task(answers)
    if task == "labels":
        return right_sets(answers)
    return equal_answers(answers, task)


def equal_answers(answers: Sequence[Answer], task: Task) -> list[bool]:
    """Tell of each answer whether it equals the expected one: JSON by value, texts but for space around them."""
    compare = _same_object if task == "json" else _same_text
    return [answer.content is not None and compare(answer.expected, answer.content) for answer in answers]


def _same_object(expected: str, content: str) -> bool:
    found = parse_object(content)
    return found is not None and canonical(parse_object(expected)) == canonical(found)


def _same_text(expected: str, content: str) -> bool:
    return expected.strip() == content.strip()
