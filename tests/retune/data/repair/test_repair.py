import copy
import json
from pathlib import Path
from typing import Any

import pytest
from example_stores import chat, make_store
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.data.checks.structure import check_structure
from retune.data.example.fixes import fix_example, is_empty
from retune.data.problems.problems import Problem, ProblemCollector, read_problems
from retune.data.problems.rules import RULES
from retune.data.repair.repair import changes_path_of, repair_examples
from retune.errors import RunDirectoryError
from retune.training_lines.cleaning import clean_line


def repair(directory: Path, bodies: list[dict[str, Any]], **store: Any) -> tuple[bytes, list[dict[str, Any]]]:
    """Repair examples; the new file's bytes, and every change."""
    path = directory / "fixed.jsonl"
    repaired = repair_examples(make_store(directory / "store", bodies, cleans=False, **store), path)
    content = path.read_bytes()
    assert repaired.n_read == len(bodies)
    assert repaired.n_written == content.count(b"\n")
    changes = [json.loads(line) for line in repaired.changes_path.read_text().splitlines()]
    assert repaired.counts.total() == len(changes)
    return content, changes


def pair(question: str, preferred: str, other: str) -> dict[str, Any]:
    return {
        "input": {"messages": [{"role": "user", "content": question}]},
        "preferred_output": [{"role": "assistant", "content": preferred}],
        "non_preferred_output": [{"role": "assistant", "content": other}],
    }


def bodies_of(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


def test_contents_are_trimmed_and_their_line_ends_made_plain(tmp_path: Path) -> None:
    content, changes = repair(tmp_path, [chat("one", "two"), chat(" Where?\r\nHere?\u3000", "There.\n")])

    assert bodies_of(content) == [chat("one", "two"), chat("Where?\nHere?", "There.")]
    assert changes == [
        {"file": "tickets.csv", "row": 3, "done": "line_ends_replaced", "messages": [1]},
        {"file": "tickets.csv", "row": 3, "done": "trimmed", "messages": [1, 2]},
    ]


def test_the_first_of_equal_examples_stays_and_the_others_name_it(tmp_path: Path) -> None:
    content, changes = repair(
        tmp_path, [chat("q", "a"), chat("q", "b"), chat("q", "a"), chat("r", "a"), chat("q", "a")]
    )

    assert bodies_of(content) == [chat("q", "a"), chat("q", "b"), chat("r", "a")]
    twin = {"file": "tickets.csv", "row": 2}
    assert changes == [
        {"file": "tickets.csv", "row": 4, "done": "duplicate_dropped", "equal_to": twin},
        {"file": "tickets.csv", "row": 6, "done": "duplicate_dropped", "equal_to": twin},
    ]


def test_examples_that_trimming_makes_equal_are_duplicates(tmp_path: Path) -> None:
    content, changes = repair(tmp_path, [chat(" q", "a"), chat("q", "a "), chat("q", "a")])

    assert bodies_of(content) == [chat("q", "a")]
    assert [(change["row"], change["done"]) for change in changes] == [
        (2, "trimmed"),
        (3, "duplicate_dropped"),
        (4, "duplicate_dropped"),
    ]


def test_what_was_odd_about_a_whole_file_is_listed_first(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", [chat(" q", "a")])
    kinds = ("byte_order_mark", "windows_line_ends", "email_address")
    collector = ProblemCollector(store.problems_path)
    collector.add(
        Problem(kind=kind, level="warning", location="tickets.csv", message="", hint="", file="tickets.csv")
        for kind in kinds
    )
    collector.close()
    store.facts = store.facts.model_copy(update={"problem_groups": collector.groups()})

    repaired = repair_examples(store, tmp_path / "fixed.jsonl")

    changes = [json.loads(line) for line in repaired.changes_path.read_text().splitlines()]
    assert changes == [
        {"file": "tickets.csv", "done": "byte_order_mark_removed"},
        {"file": "tickets.csv", "done": "line_ends_replaced"},
        {"file": "tickets.csv", "row": 2, "done": "trimmed", "messages": [1]},
    ]


def test_duplicates_are_found_across_files(tmp_path: Path) -> None:
    _, changes = repair(tmp_path, [chat("q", "a"), chat("q", "a")], file_names=("a.csv", "b.csv"))

    assert changes == [
        {"file": "b.csv", "row": 2, "done": "duplicate_dropped", "equal_to": {"file": "a.csv", "row": 2}}
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 0}]},
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "A"}]},
        {**chat("q", "a"), "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
        chat("q", "a", system="Be brief."),
    ],
)
def test_examples_that_differ_anywhere_are_not_duplicates(tmp_path: Path, other: dict[str, Any]) -> None:
    content, changes = repair(tmp_path, [chat("q", "a"), other])

    assert bodies_of(content) == [chat("q", "a"), other]
    assert changes == []


def test_examples_with_nothing_in_them_are_dropped(tmp_path: Path) -> None:
    content, changes = repair(tmp_path, [chat("q", "a"), chat(" ", "\n", system="Be brief."), chat("q", "")])

    # A question without an answer needs a decision: the check goes on to call it an error.
    assert bodies_of(content) == [chat("q", "a"), chat("q", "")]
    assert changes == [{"file": "tickets.csv", "row": 3, "done": "empty_dropped"}]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, True),
        ({"messages": []}, True),
        (chat("", " "), True),
        ({"messages": [{"role": "user", "content": None}]}, True),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]}, False),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, False),
        ({"messages": ["?"]}, False),
        ({"prompt": "", "completion": ""}, False),
        ({"messages": [{"role": "user", "content": ""}], "reference_answer": "4"}, False),
        ({"input": {"messages": [{"role": "user", "content": ""}]}, "preferred_output": []}, True),
        ({"input": {"messages": []}, "preferred_output": [{"role": "assistant", "content": "a"}]}, False),
    ],
)
def test_example_without_any_text_is_empty(body: dict[str, Any], expected: bool) -> None:
    assert is_empty(body) is expected


def test_both_answers_of_a_preference_are_repaired(tmp_path: Path) -> None:
    content, changes = repair(tmp_path, [pair("q ", "yes ", " no"), pair("q", "yes", "no")], method="dpo")

    assert bodies_of(content) == [pair("q", "yes", "no")]
    assert changes[0]["messages"] == [1, 2, 3]


def test_the_text_parts_of_a_content_are_trimmed_as_one(tmp_path: Path) -> None:
    def asking(*texts: str) -> dict[str, Any]:
        parts = [{"type": "text", "text": text} for text in texts]
        return {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "a"}]}

    content, _ = repair(tmp_path, [asking(" a "), asking(" b ", "\r\n", " c "), asking(" ", "d ")])

    assert bodies_of(content) == [asking("a"), asking("b ", "\n", " c"), asking(" ", "d ")]


def test_a_file_that_needs_nothing_keeps_its_bytes(tmp_path: Path) -> None:
    lines = (
        b'{"messages": [{"role": "user", "content": "\xe3\x81\x82 \\ud83d"}, {"role": "assistant", "content": "1"}]}\n'
    )

    content, changes = repair(tmp_path, bodies_of(lines))

    assert content == lines
    assert changes == []


def test_what_can_not_be_written_leaves_the_old_files_whole(tmp_path: Path) -> None:
    path = tmp_path / "there" / "fixed.jsonl"
    (tmp_path / "there").write_text("a file in the place of a directory")

    with pytest.raises(RunDirectoryError, match=r"fixed\.jsonl") as refused:
        repair_examples(make_store(tmp_path / "store", [chat("q", "a")]), path)

    assert refused.value.hint == "Choose another place to write to."
    assert (tmp_path / "there").read_text() == "a file in the place of a directory"


SPACES = st.sampled_from(["", " ", "\n", "\r\n", "\r\r\n", "\t", "\xa0", "\u3000", "\x1f"])
TEXTS = st.tuples(SPACES, st.text(max_size=4) | st.sampled_from(["a", "a\r\nb", "a\r\r\nb"]), SPACES).map("".join)
MESSAGES = st.builds(
    lambda role, content, more: {"role": role, "content": content, **more},
    st.sampled_from(["system", "user", "assistant"]),
    TEXTS | st.none() | st.lists(st.builds(lambda text: {"type": "text", "text": text}, TEXTS), max_size=3),
    st.sampled_from([{}, {}, {"weight": 1}, {"name": " x "}]),
)
BODIES = st.fixed_dictionaries({"messages": st.lists(MESSAGES, max_size=3)})


@settings(max_examples=60, deadline=None)
@given(st.lists(BODIES, max_size=8))
def test_repairing_a_repaired_file_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[dict[str, Any]]
) -> None:
    once, _ = repair(tmp_path_factory.mktemp("once"), bodies)
    twice, changes = repair(tmp_path_factory.mktemp("twice"), bodies_of(once))

    assert twice == once
    assert changes == []
    # Nothing is lost: every example is still there, repaired, unless there was nothing in it.
    for body in bodies:
        is_valid = all(RULES[found.kind].level != "error" for found in check_structure(body, "supervised", "openai"))
        repaired = clean_line(body, "supervised").body if is_valid else copy.deepcopy(body)
        fix_example(repaired)
        assert (repaired in bodies_of(once)) != is_empty(repaired)


def test_what_is_left_out_of_a_training_file_is_left_out_and_listed(tmp_path: Path) -> None:
    nothing = {"role": "system", "content": " "}
    dumped: dict[str, Any] = {"role": "assistant", "content": "a", "refusal": None, "annotations": []}
    user, thanks = {"role": "user", "content": "q"}, {"role": "user", "content": "Thanks"}
    bodies = [{"id": 1, "messages": [nothing, user, dumped, thanks]}, {"id": 2, **pair("q", "yes", "no")}]

    content, changes = repair(tmp_path / "chat", bodies[:1])
    preferred, of_pair = repair(tmp_path / "pair", bodies[1:], method="dpo")

    assert bodies_of(content) == [chat("q", "a")]
    assert [(change["done"], change["messages"]) for change in changes] == [
        ("other_keys_dropped", []),
        ("empty_system_dropped", [1]),
        ("empty_keys_dropped", [3]),
        ("ending_dropped", [4]),
    ]
    assert bodies_of(preferred) == [pair("q", "yes", "no")]
    assert [change["done"] for change in of_pair] == ["other_keys_dropped"]


def test_rows_that_are_too_many_to_list_are_counted(tmp_path: Path) -> None:
    bodies = [{"id": 1, "messages": [{"role": "bot", "content": str(number)}]} for number in range(2_500)]
    store = make_store(tmp_path / "store", bodies)

    groups = {group.kind: group for group in store.facts.problem_groups}
    kept = [problem.kind for problem in read_problems(store.problems_path)]

    assert (groups["unknown_role"].count, kept.count("unknown_role")) == (2_500, 1_000)
    assert [problem.number for problem in groups["unknown_role"].first] == list(range(2, 22))
    # The same about each of them is said once.
    assert (groups["key_left_out"].count, kept.count("key_left_out")) == (2_500, 1)


def test_examples_with_errors_keep_all_that_somebody_may_have_meant(tmp_path: Path) -> None:
    body = {"message": "?", "messages": [{"role": "user", "content": "q"}]}

    assert bodies_of(repair(tmp_path, [body])[0]) == [body]


def test_the_changes_lie_beside_the_file() -> None:
    assert changes_path_of(Path("a/fixed.jsonl")) == Path("a/fixed.jsonl.changes.jsonl")
