from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from example_stores import FIRST_ROW, chat, make_store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retune.config import SplitConfig
from retune.data.dataset.example_store import ExampleStore
from retune.data.dataset_checks.context import CheckContext
from retune.data.dataset_checks.duplicates import check_duplicates, check_same_answer
from retune.data.problems.problems import Problem
from retune.redaction.masking import shown

PAIR = {
    "input": {"messages": [{"role": "user", "content": "q"}]},
    "preferred_output": [{"role": "assistant", "content": "a"}],
    "non_preferred_output": [{"role": "assistant", "content": "b"}],
}


def subject_of(store: ExampleStore) -> CheckContext:
    return CheckContext.of(store, SplitConfig(), "gpt-4.1-mini-2025-04-14")


def found(check: Callable[..., Any], store: ExampleStore) -> list[tuple[str, str, str]]:
    return [(problem.kind, problem.location, problem.message) for problem in check(subject_of(store))]


def test_duplicates_point_to_the_first(tmp_path: Path) -> None:
    store = make_store(tmp_path, [chat("q", "a"), chat("r", "b"), chat("q", "a"), chat("q", "a")])
    assert found(check_duplicates, store) == [
        ("duplicate_example", "row 4", "the same as row 2."),
        ("duplicate_example", "row 5", "the same as row 2."),
    ]


def test_places_name_the_file_where_there_are_several(tmp_path: Path) -> None:
    store = make_store(tmp_path, [chat("q", "a"), chat("q", "a")], file_names=["a.csv", "b.csv"])
    problem = next(check_duplicates(subject_of(store)))
    assert isinstance(problem, Problem)
    assert (problem.location, problem.message) == ("b.csv, row 2", "the same as a.csv, row 2.")
    assert (problem.file, problem.number) == ("b.csv", 2)


def test_conflicting_answers_are_shown_side_by_side(tmp_path: Path) -> None:
    store = make_store(tmp_path, [chat("q", "a"), chat("q", "b" * 100)])
    assert found(check_duplicates, store) == [
        ("conflicting_answers", "row 3", f'asks the same as row 2, but answers "{"b" * 58}… and not "a".')
    ]


def test_the_same_labels_in_another_order_do_not_conflict(tmp_path: Path) -> None:
    orders = ['["oil", "wet"]', '["wet", "oil"]', '["wet","oil"]', '["dry"]', '["dry", "oil"]']
    store = make_store(tmp_path, [chat(question, answer) for question in "abc" for answer in orders])
    assert {text for kind, _, text in found(check_duplicates, store) if kind == "conflicting_answers"} == {
        f"asks the same as row {row}, but answers {shown(answer)} and not {shown(orders[0])}."
        for row in (2, 7, 12)
        for answer in orders[3:]
    }


def test_first_problems_are_kept_and_others_counted(tmp_path: Path) -> None:
    store = make_store(tmp_path, [chat("q", "a"), chat("q", "b"), chat("q", "c"), chat("q", "d")])
    first, *others = check_duplicates(replace(subject_of(store), most_kept_per_kind=1))
    assert isinstance(first, Problem)
    assert first.message == 'asks the same as row 2, but answers "b" and not "a".'
    assert others == [("conflicting_answers", 2)]


def test_another_system_prompt_asks_something_else(tmp_path: Path) -> None:
    store = make_store(tmp_path, [chat("q", "a"), chat("q", "b", system="Be brief.")])
    assert found(check_duplicates, store) == []


def test_of_equal_system_prompts_and_questions_there_is_one_right_answer(tmp_path: Path) -> None:
    systems = ["Be brief.", "Be kind.", "Be brief.", "Be brief."]
    answers = ["a", "a", "b", "a"]
    bodies = [chat("q", answer, system=system) for answer, system in zip(answers, systems, strict=True)]
    assert [problem[:2] for problem in found(check_duplicates, make_store(tmp_path, bodies))] == [
        ("duplicate_example", "row 5"),
        ("conflicting_answers", "row 4"),
    ]


def test_other_keys_make_an_example_another(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}]
    store = make_store(tmp_path, [chat("q", "a"), {**chat("q", "a"), "tools": tools}])
    assert found(check_duplicates, store) == []


def test_examples_with_errors_are_not_compared(tmp_path: Path) -> None:
    store = make_store(tmp_path, [chat("q", ""), chat("q", ""), chat("q", "a")])
    assert store.facts.problem_groups[0].count == 2
    assert found(check_duplicates, store) == []


def test_preference_pairs_may_prefer_different_answers(tmp_path: Path) -> None:
    other = {**PAIR, "preferred_output": [{"role": "assistant", "content": "c"}]}
    store = make_store(tmp_path, [PAIR, other, PAIR], method="dpo")
    context = subject_of(store)
    assert [problem.kind for problem in check_duplicates(context)] == ["duplicate_example"]
    assert context.not_applied == {"conflicting answers": "only for supervised examples, which have one right answer"}


def test_an_answer_that_never_changes_is_noticed(tmp_path: Path) -> None:
    store = make_store(tmp_path, [chat("q", "a"), chat("r", "a")])
    assert found(check_same_answer, store) == [("same_answer_everywhere", "all examples", 'all 2 answers are "a".')]


def test_single_example_is_not_a_pattern(tmp_path: Path) -> None:
    assert found(check_same_answer, make_store(tmp_path, [chat("q", "a")])) == []


def test_answers_that_only_call_tools_have_no_text_to_compare(tmp_path: Path) -> None:
    bodies = []
    for number in range(2):
        call = {"id": "1", "type": "function", "function": {"name": f"tool_{number}", "arguments": "{}"}}
        body = chat(f"question {number}", "")
        body["messages"][-1] = {"role": "assistant", "tool_calls": [call]}
        bodies.append(body)
    context = subject_of(make_store(tmp_path, bodies))
    assert list(check_same_answer(context)) == []
    assert context.not_applied == {"same answer everywhere": "the answers have no text, such as calls of tools"}


def brute_force(examples: list[tuple[str, str]]) -> list[tuple[str, int, str]]:
    """Compare each example with every one before it."""
    kinds = []
    for index, (question, answer) in enumerate(examples):
        earlier = examples[:index]
        if (question, answer) in earlier:
            place = earlier.index((question, answer))
            kinds.append(("duplicate_example", index, f"the same as row {place + FIRST_ROW}."))
            continue
        first = next((place for place, (asked, _) in enumerate(earlier) if asked == question), None)
        if first is not None:
            text = f'asks the same as row {first + FIRST_ROW}, but answers "{answer}" and not "{earlier[first][1]}".'
            kinds.append(("conflicting_answers", index, text))
    return sorted(kinds)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("pqrs"), st.sampled_from("abc")), max_size=15))
def test_duplicates_and_conflicts_are_those_of_comparing_each_with_each(
    tmp_path_factory: pytest.TempPathFactory, examples: list[tuple[str, str]]
) -> None:
    store = make_store(tmp_path_factory.mktemp("store"), [chat(*example) for example in examples])
    expected = [(kind, f"row {index + FIRST_ROW}", text) for kind, index, text in brute_force(examples)]
    assert sorted(found(check_duplicates, store)) == sorted(expected)
