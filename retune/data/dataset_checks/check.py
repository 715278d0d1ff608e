"""All checks together: what was found while reading, and what only shows when examples stand beside each other."""

from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from retune.config import Auto, SplitConfig
from retune.data.cost.base_models import find_model, training_context
from retune.data.cost.estimate import CostEstimate, estimate_training_cost
from retune.data.cost.tokens import TokenFacts, summarize_tokens
from retune.data.dataset.columns import SIDES
from retune.data.dataset.example_store import ExampleStore
from retune.data.dataset_checks.context import Subject
from retune.data.dataset_checks.duplicates import check_duplicates, check_same_answer
from retune.data.dataset_checks.labels import check_labels, check_numbers, find_labels
from retune.data.dataset_checks.leakage import check_declared_splits, check_near_duplicates
from retune.data.dataset_checks.preferences import check_preferences
from retune.data.dataset_checks.report import CheckReport, write_report
from retune.data.dataset_checks.sizes import check_context, check_counts, count_sides, token_histogram
from retune.data.example.example import MINIMUM_EXAMPLES
from retune.data.problems.problems import Further, Problem, ProblemCollector, ProblemGroup, everywhere, merge_groups
from retune.data.splits.origins import find_origins
from retune.data.splits.split import deal_examples
from retune.errors import DataError
from retune.files import writing

Tokens = npt.NDArray[np.uint32]

_NOT_DEALT = "the examples can't be dealt to splits"


def check_store(
    store: ExampleStore, split: SplitConfig, *, model: str, n_epochs: Auto | int, path: Path, is_private: bool = True
) -> CheckReport:
    """Check stored examples against each other and put everything that is wrong into one report.

    Args:
        store: The examples; problems of single ones were found when they were read.
        split: How they will be dealt: nothing judged may be nearly the same as what is trained on.
        model: The base model: its context, its price.
        n_epochs: Passes over the training file, or "auto".
        path: The JSON report, with the problems, up to 1,000 of each kind, is written here.
        is_private: The report is for its owner alone; see `atomic_write`.

    Raises:
        RunDirectoryError: The report can't be written.
    """
    subject = Subject.of(store, split, model)
    together = store.directory / "problems-together.jsonl"
    with writing(path):
        collector = ProblemCollector(together)
        try:
            collector.add(_problems(subject))
        finally:
            collector.close()
        report = _report(subject, n_epochs, merge_groups(store.facts.problem_groups, collector.groups()), path)
        write_report(path, report, store.problems_path, together, is_private=is_private)
    return report


def _problems(subject: Subject) -> Iterator[Problem | Further]:
    yield from _deal(subject)
    yield from check_counts(subject)
    yield from _check_method(subject)
    yield from check_context(subject, training_context(subject.model))
    yield from check_duplicates(subject)
    yield from check_preferences(subject)
    yield from check_same_answer(subject)
    yield from check_labels(subject)
    yield from check_numbers(subject)
    yield from check_near_duplicates(subject)


def _check_method(subject: Subject) -> Iterator[Problem | Further]:
    facts, store = find_model(subject.model), subject.store.facts
    if store.provider == "retune" and store.method != "supervised":
        text = f"Retune's own server trains by the method supervised, not by {store.method}."
        yield everywhere("method_not_offered", text)
    if store.provider == "openai" and facts is not None and store.method not in facts.methods:
        offered = " and ".join(facts.methods)
        yield everywhere(
            "method_not_offered", f"{subject.model} is trained by the method {offered}, not by {store.method}."
        )


def _deal(subject: Subject) -> Iterator[Problem | Further]:
    """Deal the examples, and say why where that can't be done: a run would stop there."""
    contradictions = check_declared_splits(subject)
    first = next(contradictions, None)
    if first is not None:
        yield from chain([first], contradictions)
    try:
        sides = deal_examples(subject.store, subject.split, on_note=partial(subject.skip, "split"))
        subject.sides = np.where(subject.sound, sides, 0).astype(np.uint8)
    except DataError as error:
        reason = error.message if first is not None else _reason(error, subject)
        subject.not_applied["splits"] = reason
        if first is None and subject.n_sound >= MINIMUM_EXAMPLES:
            yield everywhere("too_few_examples", reason)


def _reason(error: DataError, subject: Subject) -> str:
    """Why the examples can't be dealt: the way out first, and errors in the examples before what follows from them."""
    n_sound, n_all = subject.n_sound, len(subject.store)
    if n_sound < MINIMUM_EXAMPLES and n_sound < n_all:
        return f"{n_sound:,} of {n_all:,} examples are without errors, and training needs at least {MINIMUM_EXAMPLES}."
    return f"{error.hint} {error.message}" if error.hint else error.message


def _report(subject: Subject, n_epochs: Auto | int, groups: list[ProblemGroup], path: Path) -> CheckReport:
    facts = subject.store.facts
    if not facts.checks:
        subject.not_applied["secrets and personal data"] = "checks are off"
    tokens = subject.store.column("tokens").astype(np.uint32, copy=False) if facts.counts_tokens else None
    sizes = count_sides(subject)
    return CheckReport(
        source=facts.source,
        shape=facts.shape,
        unused=facts.unused,
        method=facts.method,
        model=subject.model,
        n_examples=len(subject.store),
        tokens=_summarize(subject, tokens),
        token_histogram=[] if tokens is None else token_histogram(tokens[subject.sound]),
        labels=find_labels(facts.labels) if facts.method == "supervised" else None,
        splits=sizes or None,
        split_origins=None if subject.sides is None else find_origins(subject.store, subject.split, subject.sides),
        cost=_estimate(subject, tokens, n_epochs),
        groups=groups,
        not_applied=subject.not_applied,
        problems_file=path,
    )


def _summarize(subject: Subject, tokens: Tokens | None) -> TokenFacts | None:
    if tokens is None:
        subject.not_applied["tokens"] = "they were not counted"
        return None
    facts = summarize_tokens(tokens[subject.sound], subject.store.facts.encoding)
    return facts.model_copy(update={"is_estimate": True}) if subject.has_images else facts


def _estimate(subject: Subject, tokens: Tokens | None, n_epochs: Auto | int) -> CostEstimate | None:
    if tokens is None or subject.sides is None:
        subject.not_applied["cost"] = "tokens were not counted" if tokens is None else _NOT_DEALT
        return None
    facts = subject.store.facts
    return estimate_training_cost(
        subject.model,
        tokens[subject.sides == SIDES.index("train")],
        n_epochs,
        method=facts.method,
        provider=facts.provider,
        has_images=subject.has_images,
    )
