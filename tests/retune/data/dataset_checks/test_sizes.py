from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_stores import chat, make_store

from retune.config import SplitConfig
from retune.data.dataset.columns import SPLITS
from retune.data.dataset.example_store import ExampleStore
from retune.data.dataset_checks.context import CheckContext
from retune.data.dataset_checks.sizes import ProviderLimits, check_context, check_counts, token_histogram
from retune.data.problems.problems import Problem

MODEL = "gpt-4.1-mini-2025-04-14"
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}


def bodies(count: int) -> list[dict[str, Any]]:
    return [chat(f"question {number}", f"answer {number}") for number in range(count)]


def assigned(store: ExampleStore, *, train: int = 0, validation: int = 0, test: int = 0) -> CheckContext:
    checked = CheckContext.of(store, SplitConfig(), MODEL)
    names = ["train"] * train + ["validation"] * validation + ["test"] * test
    checked.splits = np.array([SPLITS.index(name) for name in names], np.uint8)
    return checked


def found(checked: CheckContext, *limits: ProviderLimits) -> list[tuple[str, str]]:
    return [(problem.kind, problem.message) for problem in check_counts(checked, *limits)]


def test_seven_examples_are_too_few(tmp_path: Path) -> None:
    checked = CheckContext.of(make_store(tmp_path, bodies(7)), SplitConfig(), MODEL)
    assert found(checked) == [("too_few_examples", "found 7, but fine-tuning needs at least 10.")]


def test_only_examples_without_errors_count(tmp_path: Path) -> None:
    checked = CheckContext.of(make_store(tmp_path, [*bodies(9), chat("", "a")]), SplitConfig(), MODEL)
    assert found(checked) == [
        ("too_few_examples", "found 9 without errors among 10, but fine-tuning needs at least 10.")
    ]


def test_a_split_of_few_examples_says_little(tmp_path: Path) -> None:
    checked = assigned(make_store(tmp_path, bodies(20)), train=16, validation=3, test=1)
    few = "validation has 3 and test has 1 of 20 examples; no figure on fewer than 20 test examples can be trusted."
    way_out = "--test 0 trains on all but the validation split, and judges nothing."
    assert found(checked) == [("few_held_out", f"{few} {way_out}")]
    assert found(assigned(checked.store, train=17, validation=3)) == [
        ("few_held_out", "validation has 3 of 20 examples.")
    ]
    assert found(assigned(checked.store, train=15, validation=5)) == []


def test_a_larger_test_split_is_proposed_where_enough_remain_to_train_on(tmp_path: Path) -> None:
    store = make_store(tmp_path / "drawn", bodies(45))
    [(kind, message)] = found(assigned(store, train=35, validation=5, test=5))
    assert kind == "few_held_out"
    assert message.endswith("can be trusted. --test 20 holds out that many, and leaves 20 to train on.")
    assert found(assigned(store, train=20, validation=5, test=20)) == []
    declared = make_store(tmp_path / "declared", bodies(45), splits=["train"] * 40 + ["test"] * 5)
    [(_, message)] = found(assigned(declared, train=40, test=5))
    assert message.endswith("can be trusted. The source declares them; add examples to its test split.")


def reinforcement(tmp_path: Path, count: int) -> ExampleStore:
    items = [{"messages": [{"role": "user", "content": f"q {number}"}], "answer": number} for number in range(count)]
    return make_store(tmp_path, items, method="reinforcement")


def test_too_many_reinforcement_examples_are_reported(tmp_path: Path) -> None:
    limits = ProviderLimits(reinforcement={"train": 12, "validation": 10})
    store = reinforcement(tmp_path, 25)
    assert found(assigned(store, train=13, validation=12), limits) == [
        ("too_many_examples", "train holds 13 examples; reinforcement fine-tuning takes at most 12."),
        ("too_many_examples", "validation holds 12 examples; reinforcement fine-tuning takes at most 10."),
    ]
    assert found(assigned(store, train=12, validation=10), limits) == []


def test_reinforcement_needs_a_validation_file(tmp_path: Path) -> None:
    assert found(assigned(reinforcement(tmp_path, 12), train=12)) == [
        ("too_few_examples", "no example is held out for validation; reinforcement fine-tuning needs such a file.")
    ]


def test_examples_with_images_are_counted(tmp_path: Path) -> None:
    limits = ProviderLimits(with_images=10)
    with_images = [
        chat([{"type": "text", "text": f"What is this? {number}"}, PICTURE], "A cat.") for number in range(11)
    ]
    without = [chat('"image_url"', f"answer {number}") for number in range(5)]
    assert found(assigned(make_store(tmp_path / "many", with_images + without)), limits) == [
        ("too_many_examples", "11 examples have images; at most 10 may.")
    ]
    assert found(assigned(make_store(tmp_path / "few", with_images[1:] + without)), limits) == []


def test_a_sample_is_spread_over_the_sound_examples(tmp_path: Path) -> None:
    store = make_store(tmp_path, [chat("", "x"), *bodies(9)])
    checked = replace(CheckContext.of(store, SplitConfig(), MODEL), sample_size=3)
    lines = [line.decode() for line in checked.sample()]
    assert [line.split("question ")[1][0] for line in lines] == ["0", "4", "8"]


def test_an_example_over_the_context_is_named(tmp_path: Path) -> None:
    checked = CheckContext.of(make_store(tmp_path, [*bodies(3), chat("word " * 500, "a")]), SplitConfig(), MODEL)
    (problem,) = check_context(checked, 100)
    assert isinstance(problem, Problem)
    assert (problem.kind, problem.location, problem.number) == ("over_context", "row 5", 5)
    tokens = int(checked.store.column("tokens")[3])
    assert problem.message == (
        f"{tokens} tokens; {MODEL} takes 100 in training, so the last {tokens - 100} are cut off."
    )


@pytest.mark.parametrize(
    ("counts_tokens", "context", "reason"),
    [(True, None, f"the context of {MODEL} in training is not known"), (False, 100, "tokens were not counted")],
)
def test_without_a_context_or_tokens_nothing_is_compared(
    tmp_path: Path, counts_tokens: bool, context: int | None, reason: str
) -> None:
    checked = CheckContext.of(make_store(tmp_path, bodies(3), counts_tokens=counts_tokens), SplitConfig(), MODEL)
    assert list(check_context(checked, context)) == []
    assert checked.not_applied == {"context": reason}


@pytest.mark.parametrize(("n_words", "is_found"), [(101_000, True), (99_000, False)])
def test_without_a_context_what_is_far_longer_than_the_rest_is_named(
    tmp_path: Path, n_words: int, is_found: bool
) -> None:
    checked = CheckContext.of(make_store(tmp_path, [*bodies(4), chat("word " * n_words, "a")]), SplitConfig(), MODEL)
    found = [(problem.kind, problem.number) for problem in check_context(checked, None)]
    assert found == [("very_long_example", 6)] * is_found
    many = CheckContext.of(
        make_store(tmp_path / "2", [chat("word " * 101_000, f"{n}") for n in range(3)]), SplitConfig(), MODEL
    )
    assert list(check_context(many, None)) == []


def test_a_histogram_has_readable_bounds() -> None:
    tokens = np.array([3, 10, 11, 47, 50, 95, 100, 100, 100, 990], np.uint32)
    assert token_histogram(tokens) == [
        (100, 9),
        (200, 0),
        (300, 0),
        (400, 0),
        (500, 0),
        (600, 0),
        (700, 0),
        (800, 0),
        (900, 0),
        (1000, 1),
    ]
    assert token_histogram(np.arange(1, 101, dtype=np.uint32)) == [(bound, 10) for bound in range(10, 101, 10)]


def test_a_histogram_reaches_the_longest_example() -> None:
    tokens = np.array([20] * 99 + [100_000], np.uint32)
    histogram = token_histogram(tokens)
    assert histogram[0] == (20, 99)
    assert histogram[-1] == (163_840, 1)
    assert sum(count for _, count in histogram) == len(tokens)


def test_no_examples_have_no_histogram() -> None:
    assert token_histogram(np.zeros(0, np.uint32)) == []
