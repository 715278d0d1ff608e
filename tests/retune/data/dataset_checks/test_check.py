import json
import pickle
from pathlib import Path
from typing import Any, Literal

import pytest
from example_stores import chat, make_store
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.config import SplitConfig
from retune.data.dataset_checks.check import check_store
from retune.data.dataset_checks.report import CheckReport
from retune.data.problems.problems import Problem
from retune.errors import CheckError, RunDirectoryError

MODEL = "gpt-4.1-mini-2025-04-14"
NO_TEST = SplitConfig(validation=0, test=0)
BY_COLUMN = SplitConfig(method="column", column="split")
PARCEL = "Hello, my parcel number {number} was due last Tuesday and has not arrived at my door, where is it now?"


def valid(count: int) -> list[dict[str, Any]]:
    return [chat(f"question {number}", f"answer {number}") for number in range(count)]


def check(
    directory: Path,
    bodies: Any,
    *,
    split: SplitConfig = NO_TEST,
    model: str = MODEL,
    n_epochs: Literal["auto"] | int = "auto",
    **options: Any,
) -> CheckReport:
    store = make_store(directory / "store", bodies, split=split, **options)
    return check_store(store, split, model=model, n_epochs=n_epochs, path=directory / "checks.json")


def test_sound_examples_have_no_problems(tmp_path: Path) -> None:
    report = check(tmp_path, valid(250), split=SplitConfig())
    assert report.groups == []
    assert (report.source, report.shape, report.method, report.model) == (
        "tickets",
        "ready bodies",
        "supervised",
        MODEL,
    )
    assert report.splits
    assert report.tokens
    assert report.cost
    assert report.n_examples == sum(report.splits.values()) == 250
    assert report.tokens.total == 250 * 15
    assert report.token_histogram == [(16, 250)]
    assert report.cost.training_tokens == report.splits["train"] * 15
    assert report.cost.n_epochs == 3
    assert report.not_applied == {"labels": "no answers look like labels"}
    report.raise_for_errors()


def test_problems_of_single_examples_and_of_all_are_in_one_report(tmp_path: Path) -> None:
    bodies = [*valid(12), chat("", "a"), chat("question 3", "another answer"), *valid(2)]
    report = check(tmp_path, bodies)
    assert report.counts == {"empty_content": 1, "duplicate_example": 2, "conflicting_answers": 1}
    assert [group.level for group in report.groups] == ["error", "warning", "warning"]
    assert report.n_errors == 1
    assert report.summarize_warnings() == ["duplicate_example: 2", "conflicting_answers: 1"]


def test_the_file_holds_the_report_and_every_problem(tmp_path: Path) -> None:
    report = check(tmp_path, [*valid(12), chat("", "ä"), *valid(12) * 3])
    written = json.loads(report.problems_file.read_text(encoding="utf-8"))
    problems = [Problem.model_validate(problem) for problem in written.pop("problems")]
    assert [problem.kind for problem in problems] == ["empty_content"] + ["duplicate_example"] * 36
    assert [problem.number for problem in problems] == [14, *range(15, 51)]
    assert len(report.groups[1].first) == 20
    assert report.groups[1].first == problems[1:21]
    assert written == json.loads(report.model_dump_json(exclude={"groups"}))
    assert not list(tmp_path.glob(".*.tmp"))


def test_errors_are_grouped_with_counts_and_first_places(tmp_path: Path) -> None:
    broken = {"messages": [{"role": "usr", "content": "Hello?"}, {"role": "assistant", "content": "Hi."}]}
    report = check(tmp_path, [*valid(10), *[broken] * 5, chat("", "a")])
    with pytest.raises(CheckError) as caught:
        report.raise_for_errors()
    lines = str(caught.value).splitlines()
    assert lines[0] == "The checks found 6 errors in 16 examples."
    assert lines[1] == "unknown_role: 5"
    assert lines[2].startswith('  row 12: message 1: unknown role "usr"; allowed: ')
    assert [line.split(":")[0] for line in lines[3:]] == [
        "  row 13",
        "  row 14",
        "  and 2 more",
        "  → Rename the role.",
        "empty_content",
        "  row 17",
        "  → Fill the cell in or remove the example.",
    ]
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301  (pickled here)


def test_seven_rows_are_too_few(tmp_path: Path) -> None:
    report = check(tmp_path, valid(7), split=SplitConfig())
    with pytest.raises(CheckError) as caught:
        report.raise_for_errors()
    assert str(caught.value) == (
        "The checks found 1 error in 7 examples.\n"
        "too_few_examples: 1\n"
        "  all examples: found 7, but fine-tuning needs at least 10.\n"
        "  → Add examples; 50 to 100 good ones are a fair start."
    )
    assert report.splits is None
    assert report.cost is None
    assert "training needs at least 10" in report.not_applied["splits"]
    assert report.not_applied["cost"] == "the examples can't be split"


def test_enough_examples_that_leave_too_few_to_train_on_are_an_error(tmp_path: Path) -> None:
    report = check(tmp_path, valid(11), split=SplitConfig())
    (group,) = report.groups
    assert (group.kind, group.count) == ("too_few_examples", 1)
    assert group.first[0].message == report.not_applied["splits"]
    check(tmp_path, valid(11)).raise_for_errors()


def test_equal_questions_on_two_sides_of_a_column_are_an_error(tmp_path: Path) -> None:
    bodies = [*valid(12), chat("question 3", "answer 3"), chat("question 4", "otherwise"), chat("question 5", "x")]
    splits = ["train"] * 11 + ["test", "test", "validation", None]
    report = check(tmp_path, bodies, split=BY_COLUMN, splits=splits)
    group = report.groups[0]
    assert (group.kind, group.level, group.count) == ("split_contradiction", "error", 2)
    assert [(problem.location, problem.message) for problem in group.first] == [
        ("row 14", "stands in test and asks the same as row 5, which stands in train."),
        ("row 15", "stands in validation and asks the same as row 6, which stands in train."),
    ]
    assert report.splits is None
    assert "too_few_examples" not in report.counts


def test_nearly_equal_questions_on_two_sides_are_a_warning(tmp_path: Path) -> None:
    parcels = [chat(PARCEL.format(number=number), "parcel") for number in (77, 4242)]
    splits = [*["train"] * 30, *["test"] * 20, "train", "test"]
    report = check(tmp_path, [*valid(50), *parcels], split=BY_COLUMN, splits=splits)
    (group,) = report.groups
    assert (group.kind, group.level, group.count) == ("near_duplicate_across_splits", "warning", 1)
    assert group.first[0].location == "row 53"
    assert group.first[0].message == (
        '"Hello, my parcel number 4242 was due last Tuesday and has … in test is nearly the same as row 52 in train, '
        '"Hello, my parcel number 77 was due last Tuesday and has no… (similarity 0.99).'
    )


def test_only_one_split_has_no_other_to_leak_to(tmp_path: Path) -> None:
    report = check(tmp_path, valid(12))
    assert report.splits == {"train": 12, "validation": 0, "test": 0}
    assert report.not_applied["near-duplicates across splits"] == "there is only one split"


def test_skipped_checks_are_reported(tmp_path: Path) -> None:
    report = check(tmp_path, [*valid(250), *valid(1)], split=SplitConfig(), checks=False, counts_tokens=False)
    assert report.counts == {"duplicate_example": 1}
    assert (report.tokens, report.token_histogram, report.cost) == (None, [], None)
    assert report.not_applied == {
        "context": "tokens were not counted",
        "tokens": "they were not counted",
        "cost": "tokens were not counted",
        "labels": "checks are off",
        "near-duplicates across splits": "checks are off",
        "secrets and personal data": "checks are off",
    }


def test_the_context_of_an_unknown_model_is_not_known(tmp_path: Path) -> None:
    report = check(tmp_path, valid(12), model="my-model")
    assert report.not_applied["context"] == "the context of my-model in training is not known"
    assert report.cost
    assert report.cost.usd is None


def test_images_make_tokens_an_estimate(tmp_path: Path) -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
    bodies = [chat([{"type": "text", "text": "What is this?"}, picture], "A cat."), *valid(11)]
    with_images, without = check(tmp_path, bodies).tokens, check(tmp_path, valid(11)).tokens
    assert with_images
    assert without
    assert with_images.is_estimate
    assert not without.is_estimate


def test_a_method_that_openai_does_not_offer_for_the_model_is_a_warning(tmp_path: Path) -> None:
    for number, (model, kinds) in enumerate([("o4-mini", ["method_not_offered"]), (MODEL, []), ("unknown", [])]):
        report = check(tmp_path / str(number), valid(20), model=model)
        assert [group.kind for group in report.groups if group.kind == "method_not_offered"] == kinds


def test_labels_are_in_the_report(tmp_path: Path) -> None:
    bodies = [chat(f"question {number}", f"label {number % 3}") for number in range(30)]
    report = check(tmp_path, bodies)
    assert report.labels
    assert report.labels.counts == {"label 0": 10, "label 1": 10, "label 2": 10}
    assert report.groups == []


def test_labels_too_rare_to_stratify_by_are_said(tmp_path: Path) -> None:
    bodies = [chat(f"question {number}", "ab"[number % 2]) for number in range(200)]
    split = SplitConfig(method="random", stratify=True)
    report = check(tmp_path, [*bodies, chat("another question", "rare")], split=split)
    assert report.counts == {"label_seen_once": 1, "imbalanced_labels": 1}
    assert list(report.not_applied) == ["split"]


def test_a_report_travels_as_json(tmp_path: Path) -> None:
    report = check(tmp_path, [*valid(3), {"messages": [{"role": "\ud800", "content": "x"}]}])
    assert CheckReport.model_validate_json(report.model_dump_json()) == report


def test_a_report_that_cant_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    store = make_store(tmp_path / "store", valid(12))
    with pytest.raises(RunDirectoryError, match=r"Can't write .*checks\.json"):
        check_store(store, NO_TEST, model=MODEL, n_epochs=1, path=tmp_path / "taken" / "checks.json")


def test_zero_examples_are_too_few(tmp_path: Path) -> None:
    report = check(tmp_path, [])
    assert report.counts == {"too_few_examples": 1}
    assert report.n_examples == 0


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=6,
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant"]) | JSON_VALUES,
        "content": JSON_VALUES,
        "tool_calls": JSON_VALUES,
        "x": JSON_VALUES,
    },
)
BODIES = st.fixed_dictionaries({}, optional={"messages": st.lists(MESSAGES | JSON_VALUES) | JSON_VALUES})


@settings(deadline=None, max_examples=50)
@given(st.lists(BODIES))
def test_no_json_breaks_the_checks(tmp_path_factory: pytest.TempPathFactory, bodies: Any) -> None:
    report = check(tmp_path_factory.mktemp("checks"), bodies)
    assert report.n_examples == len(bodies)
    assert report.n_errors + report.n_warnings == sum(report.counts.values())
    written = json.loads(report.problems_file.read_bytes())
    assert len(written["problems"]) == sum(report.counts.values())
    assert CheckReport.model_validate_json(report.model_dump_json()) == report
