"""Answers that look like the labels of a classification, and texts that are only numbers."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from retune.data.dataset_checks.context import CheckContext
from retune.data.dataset_checks.report import LabelFacts
from retune.data.example.hashes import text_hash
from retune.data.example.labels import count_listed_labels, parse_labels, readable
from retune.data.example.texts import example_texts
from retune.data.problems.problems import Further, Problem, everywhere
from retune.redaction.masking import listed, shown
from retune.redaction.patterns import find_secrets

_LONGEST = 100
_FEWEST_EXAMPLES_PER_LABEL = 4
_IMBALANCE = 10

_NUMBER = re.compile(r"\s*[-+]?(\d[\d.,\u00a0\u202f' ]*|\.\d+)([eE][-+]?\d+)?\s*%?\s*")


def find_labels(counts: Mapping[str, int] | None) -> LabelFacts | None:
    """Decide whether answers are labels, by how often each was given.

    They are where there are at least two different ones, no longer than 100 characters, on one line and without
    secrets, at least four examples for each on average, and at least half of them come more than once.

    Of answers that are all JSON lists of labels, these are counted.

    Args:
        counts: How often each answer was given; None where they are too many or too long to be labels.
    """
    if counts is None or len(counts) < 2:
        return None
    if in_lists := count_listed_labels(counts):
        named: Counter[str] = Counter()
        for label, number in in_lists.items():
            named[readable(label)] += number
        return _facts(named, are_lists=True) if all(map(_may_be_label, named)) else None
    once = [label for label, count in counts.items() if count == 1]
    if (
        sum(counts.values()) < _FEWEST_EXAMPLES_PER_LABEL * len(counts)
        or 2 * len(once) > len(counts)
        or not all(map(_may_be_label, counts))
    ):
        return None
    return _facts(counts, are_lists=False)


def _facts(counts: Mapping[str, int], *, are_lists: bool) -> LabelFacts:
    most_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    once = sorted(label for label, count in counts.items() if count == 1)
    return LabelFacts(counts=dict(most_first), seen_once=once, are_lists=are_lists)


def check_labels(context: CheckContext) -> Iterator[Problem | Further]:
    """Labels that only one example has, and labels that are much rarer than others."""
    facts = context.store.facts
    labels = find_labels(facts.labels)
    if labels is None:
        context.not_applied["labels"] = _no_labels(context)
        return
    yield from _seen_once(context, labels)
    if len(labels.counts) < 2:
        # Lists may name one label, or none.
        return
    (most, n_most), *_, (least, n_least) = labels.counts.items()
    if n_most >= _IMBALANCE * n_least:
        share = n_most / sum((facts.labels or labels.counts).values())
        guessed = f"always answering the first would be right in {share:.0%}"
        says = f"the first stands in {share:.0%} of the lists" if labels.are_lists else guessed
        yield everywhere(
            "imbalanced_labels",
            f"{shown(most)} is the most frequent of {len(labels.counts):,} labels with {n_most:,} examples, "
            f"{shown(least)} the rarest with {n_least:,}; {says}.",
        )


def check_numbers(context: CheckContext) -> Iterator[Problem]:
    """Notice where every prompt, or every answer, is a number; at most 1,000 examples all over the data are read.

    Answers that are few different numbers are labels, and nothing is wrong with them.
    """
    if context.n_valid < 2:
        return
    are_numbers = {"prompt": True, "answer": find_labels(context.store.facts.labels) is None}
    for line in context.sample():
        texts = example_texts(json.loads(line))
        are_numbers["prompt"] &= _is_number(texts.prompt)
        are_numbers["answer"] &= _is_number(texts.answer)
        if not any(are_numbers.values()):
            return
    size = context.sample_size
    examples = f"{size:,} examples that were checked" if context.n_valid > size else f"{context.n_valid:,} examples"
    for name, role in (("prompt", "user's texts"), ("answer", "answers")):
        if are_numbers[name]:
            yield everywhere("text_is_number", f"the {role} are numbers in all {examples}.")


def _may_be_label(answer: str) -> bool:
    # Labels are shown in reports; an address may be one, such as that of the team that a message goes to.
    has_secret = any(kind != "email_address" for kind, _ in find_secrets(answer))
    return 0 < len(answer.strip()) <= len(answer) <= _LONGEST and "\n" not in answer and not has_secret


def _is_number(texts: list[str]) -> bool:
    return bool(texts) and all(_NUMBER.fullmatch(text) for text in texts)


def _no_labels(context: CheckContext) -> str:
    if not context.store.facts.checks:
        return "checks are off"
    if context.store.facts.method != "supervised":
        return "only for supervised examples"
    return "no answers look like labels"


def _seen_once(context: CheckContext, labels: LabelFacts) -> Iterator[Problem | Further]:
    once = set(labels.seen_once)
    hashes = {text_hash(label): f"label {shown(label)}" for label in once}
    if labels.are_lists:
        given = context.store.facts.labels or {}
        found = {answer: sorted(once.intersection(map(readable, parse_labels(answer) or ()))) for answer in given}
        hashes = {text_hash(answer): f"labels {listed(those)}" for answer, those in found.items() if those}
    answers = context.store.hashes("answer")
    indices = np.flatnonzero(context.valid & np.isin(answers, np.array(list(hashes), np.uint64)))
    messages = (f"no other example has the {hashes[value]}." for value in answers[indices].tolist())
    yield from context.problems_at("label_seen_once", indices, messages)
