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
from retune.data.dataset.columns import SPLITS
from retune.data.dataset.example_store import ExampleStore
from retune.data.dataset_checks.context import CheckContext
from retune.data.dataset_checks.duplicates import check_duplicates, check_preferences, check_same_answer
from retune.data.dataset_checks.labels import check_labels, check_numbers, find_labels
from retune.data.dataset_checks.leakage import check_declared_splits, check_near_duplicates
from retune.data.dataset_checks.report import CheckReport, write_report
from retune.data.dataset_checks.sizes import check_context, check_counts, count_splits, token_histogram
from retune.data.problems.problems import Further, Problem, ProblemCollector, ProblemGroup, everywhere, merge_groups
from retune.data.splits.origins import find_origins
from retune.data.splits.split import split_examples
from retune.errors import DataError
from retune.files import writing
from retune.training_lines.keys import MINIMUM_EXAMPLES

Tokens = npt.NDArray[np.uint32]

_NOT_SPLIT = "the examples can't be split"


def check_store(
    store: ExampleStore, split: SplitConfig, *, model: str, n_epochs: Auto | int, path: Path, is_private: bool = True
) -> CheckReport:
    """Check stored examples against each other and put everything that is wrong into one report.

    Args:
        store: The examples; problems of single ones were found when they were read.
        split: How they will be assigned: nothing judged may be nearly the same as what is trained on.
        model: The base model: its context, its price.
        n_epochs: Passes over the training file, or "auto".
        path: The JSON report, with the problems, up to 1,000 of each kind, is written here.
        is_private: The report is for its owner alone; see `atomic_write`.

    Raises:
        RunDirectoryError: The report can't be written.
    """
    context = CheckContext.of(store, split, model)
    together = store.directory / "problems-together.jsonl"
    with writing(path):
        collector = ProblemCollector(together)
        try:
            collector.add(_problems(context))
        finally:
            collector.close()
        report = _report(context, n_epochs, merge_groups(store.facts.problem_groups, collector.groups()), path)
        write_report(path, report, store.problems_path, together, is_private=is_private)
    return report


def _problems(context: CheckContext) -> Iterator[Problem | Further]:
    yield from _assign(context)
    yield from check_counts(context)
    yield from _check_method(context)
    yield from check_context(context, training_context(context.model))
    yield from check_duplicates(context)
    yield from check_preferences(context)
    yield from check_same_answer(context)
    yield from check_labels(context)
    yield from check_numbers(context)
    yield from check_near_duplicates(context)


def _check_method(context: CheckContext) -> Iterator[Problem | Further]:
    facts, store = find_model(context.model), context.store.facts
    if store.provider == "retune" and store.method != "supervised":
        text = f"Retune's own server trains by the method supervised, not by {store.method}."
        yield everywhere("method_not_offered", text)
    if store.provider == "openai" and facts is not None and store.method not in facts.methods:
        offered = " and ".join(facts.methods)
        yield everywhere(
            "method_not_offered", f"{context.model} is trained by the method {offered}, not by {store.method}."
        )


def _assign(context: CheckContext) -> Iterator[Problem | Further]:
    """Assign the examples, and say why where that can't be done: a run would stop there."""
    contradictions = check_declared_splits(context)
    first = next(contradictions, None)
    if first is not None:
        yield from chain([first], contradictions)
    try:
        splits = split_examples(context.store, context.split, on_note=partial(context.skip, "split"))
        context.splits = np.where(context.valid, splits, 0).astype(np.uint8)
    except DataError as error:
        reason = error.message if first is not None else _reason(error, context)
        context.not_applied["splits"] = reason
        if first is None and context.n_valid >= MINIMUM_EXAMPLES:
            yield everywhere("too_few_examples", reason)


def _reason(error: DataError, context: CheckContext) -> str:
    """Why the examples can't be split: the way out first, and errors in examples before what follows from them."""
    n_valid, n_all = context.n_valid, len(context.store)
    if n_valid < MINIMUM_EXAMPLES and n_valid < n_all:
        return f"{n_valid:,} of {n_all:,} examples are without errors, and training needs at least {MINIMUM_EXAMPLES}."
    return f"{error.hint} {error.message}" if error.hint else error.message


def _report(context: CheckContext, n_epochs: Auto | int, groups: list[ProblemGroup], path: Path) -> CheckReport:
    facts = context.store.facts
    if not facts.checks:
        context.not_applied["secrets and personal data"] = "checks are off"
    tokens = context.store.column("tokens").astype(np.uint32, copy=False) if facts.counts_tokens else None
    sizes = count_splits(context)
    return CheckReport(
        source=facts.source,
        shape=facts.shape,
        unused=facts.unused,
        method=facts.method,
        model=context.model,
        n_examples=len(context.store),
        tokens=_summarize(context, tokens),
        token_histogram=[] if tokens is None else token_histogram(tokens[context.valid]),
        labels=find_labels(facts.labels) if facts.method == "supervised" else None,
        splits=sizes or None,
        split_origins=None if context.splits is None else find_origins(context.store, context.split, context.splits),
        cost=_estimate(context, tokens, n_epochs),
        groups=groups,
        not_applied=context.not_applied,
        problems_file=path,
    )


def _summarize(context: CheckContext, tokens: Tokens | None) -> TokenFacts | None:
    if tokens is None:
        context.not_applied["tokens"] = "they were not counted"
        return None
    facts = summarize_tokens(tokens[context.valid], context.store.facts.encoding)
    return facts.model_copy(update={"is_estimate": True}) if context.has_images else facts


def _estimate(context: CheckContext, tokens: Tokens | None, n_epochs: Auto | int) -> CostEstimate | None:
    if tokens is None or context.splits is None:
        context.not_applied["cost"] = "tokens were not counted" if tokens is None else _NOT_SPLIT
        return None
    facts = context.store.facts
    return estimate_training_cost(
        context.model,
        tokens[context.splits == SPLITS.index("train")],
        n_epochs,
        method=facts.method,
        provider=facts.provider,
        has_images=context.has_images,
    )
