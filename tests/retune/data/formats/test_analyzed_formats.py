"""Every shape all the way to what is stored, and the columnar way held against the way example by example."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows_source import Choose, MakeSource

from retune.config import SourceFormat, SplitConfig
from retune.data.dataset.columns import AnalyzedBlock
from retune.data.formats.prompt_answer import PromptAnswerFormat
from retune.data.formats.row_format import RowFormat
from retune.data.formats.split_columns import SplitColumns
from retune.data.formats.templates import ColumnText, SystemPrompt
from retune.data.ingest.analyze import analyze_block
from retune.data.ingest.plan import Plan
from retune.data.problems.rules import RULES
from retune.data.sources.blocks import ArrowBlock, Source, SourceFile

ASKED = {"role": "user", "content": "Where is my card, please?"}
ANSWERED = {"role": "assistant", "content": "On its way."}
CALL = {"id": "1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
CALLED = [ASKED, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "1", "content": "x"}]
TOOLS = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}]


def describe(source: Source, shape: RowFormat, split: SplitConfig | None = None) -> AnalyzedBlock:
    plan = Plan(tuple(source.files), shape, shape.method, "openai", "o200k_base", split or SplitConfig())
    [block] = source.blocks()
    return analyze_block(block, plan)


def problems(described: AnalyzedBlock) -> list[tuple[int, str]]:
    return [(problem.number or 0, problem.kind) for problem in described.problems]


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Where is my card, please?", "answer": "On its way."},
        {"instruction": "Sum up.", "input": "A text.", "output": "Text."},
        {"messages": [*CALLED, ANSWERED], "tools": TOOLS},
        {"conversations": [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "Here."}]},
        {"prompt": "Where? ->", "completion": " Here."},
        {
            "input": {"messages": [ASKED]},
            "preferred_output": [ANSWERED],
            "non_preferred_output": [ANSWERED | {"content": "No."}],
        },
        {"prompt": "Where?", "chosen": "Here.", "rejected": "There."},
        {"messages": [ASKED], "reference_answer": "x"},
        {"messages": [ASKED, ANSWERED, ASKED], "reference_answer": "x"},
    ],
)
def test_every_shape_is_described_without_a_problem(
    make_source: MakeSource, choose: Choose, row: dict[str, Any]
) -> None:
    source = make_source([row])
    described = describe(source, choose(source))
    assert problems(described) == []
    assert described.columns["sound"].tolist() == [1]
    assert described.columns["tokens"][0] > 10
    assert described.columns["prompt"][0] > 0


def test_a_warning_of_the_shape_hides_no_error_of_the_structure(make_source: MakeSource, choose: Choose) -> None:
    rows = [{"prompt": f"text {number} ->", "completion": " a"} for number in range(20)]
    source = make_source([*rows, {"prompt": "odd", "completion": " "}])
    assert problems(describe(source, choose(source))) == [(21, "separator_missing"), (21, "empty_content")]


def test_a_wrong_split_hides_no_error_of_the_structure(make_source: MakeSource, choose: Choose) -> None:
    split = SplitConfig(method="column", column="s")
    source = make_source([{"text": "", "label": "a", "s": "x"}])
    assert problems(describe(source, choose(source, split=split), split)) == [
        (1, "unknown_split"),
        (1, "empty_content"),
    ]


def test_whole_conversations_are_distinguished_from_items(make_source: MakeSource, choose: Choose) -> None:
    rows = [
        {"messages": [ASKED, ANSWERED, {"role": "user", "content": content}], "answer": "x"} for content in ("a", "b")
    ]
    source = make_source(rows)
    first, second = describe(source, choose(source)).columns["prompt"]
    assert first != second


def both_ways(
    rows: Sequence[tuple[str | None, str | None]], system: str | None, split: SplitConfig
) -> list[AnalyzedBlock]:
    columns = [pa.array([row[place] for row in rows], pa.string()) for place in (0, 1)]
    block = ArrowBlock(0, 1, pa.RecordBatch.from_arrays(columns, ["q", "a"]), source_bytes=1)
    file = SourceFile("t.parquet", "row", SourceFormat.PARQUET, None, ("q", "a"))
    shape = PromptAnswerFormat(
        "q → a", "supervised", SplitColumns(), SystemPrompt.parse(system, ()), ColumnText("q"), ColumnText("a")
    )
    plan = Plan((file,), shape, "supervised", "openai", "o200k_base", split)
    slow = replace(plan, row_format=_OneByOne(**vars(shape)))
    assert slow.row_format.two_text_columns is None
    return [analyze_block(block, plan), analyze_block(block, slow)]


class _OneByOne(PromptAnswerFormat):
    @property
    def two_text_columns(self) -> None:
        return None


def assert_same(fast: AnalyzedBlock, slow: AnalyzedBlock) -> None:
    assert [bytes(part) for part in fast.lines] == [bytes(part) for part in slow.lines]
    for name in fast.columns:
        assert fast.columns[name].tolist() == slow.columns[name].tolist(), name
        assert fast.columns[name].dtype == slow.columns[name].dtype, name
    assert fast.labels == slow.labels
    sound = fast.columns["sound"].astype(bool)
    assert fast.bands is not None
    assert slow.bands is not None
    assert np.array_equal(fast.bands[sound], slow.bands[sound])
    assert sorted(map(_key, fast.problems)) == sorted(map(_key, slow.problems))


def _key(problem: Any) -> tuple[int, str, str]:
    return problem.number, problem.kind, problem.message


ODD = st.sampled_from(
    [
        *"\"\\ \t\n\r\x00\x0b\x1c\x1f\x7f\x85\xa0\u00ad\u180e\u200b\u2028\ufeff\ufffd\U0001f600'{}é",
        *("\\u0041", "\\n", "ada@example.com", "4111 1111 1111 1111", "sk-" + "a1B2" * 12, "true", "007", "None"),
    ]
)
TEXTS = st.one_of(
    st.none(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.lists(ODD, max_size=6).map("".join),
    st.lists(ODD, max_size=6).map(" ".join),
)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(TEXTS, TEXTS), max_size=8),
    system=st.one_of(st.none(), TEXTS),
    split=st.sampled_from([SplitConfig(), SplitConfig(validation=0.3, test=0.3, seed=7), SplitConfig(method="random")]),
)
def test_fast_and_slow_path_give_equal_analyses(rows: Any, system: str | None, split: SplitConfig) -> None:
    assert_same(*both_ways(rows, system, split))


def test_both_ways_agree_on_every_character_alone() -> None:
    characters = [chr(code) for code in range(0x3100) if not 0xD800 <= code < 0xE000] + [
        "\U0001f600",
        "\ufeff",
        "\uffff",
    ]
    fast, slow = both_ways([(character, character) for character in characters], None, SplitConfig())
    assert_same(fast, slow)
    blank = {"missing_content", "empty_content"}
    found = {problem.number for problem in fast.problems if problem.kind in blank}
    assert found == {number for number, text in enumerate(characters, start=1) if not text.strip()}
    assert blank <= RULES.keys()


def test_both_ways_agree_on_texts_that_are_too_many_to_be_labels() -> None:
    rows = [(f"question {number}", f"answer {number}") for number in range(1_001)]
    fast, slow = both_ways(rows, "Be brief.", SplitConfig())
    assert_same(fast, slow)
    assert fast.labels is None
    assert json.loads(bytes(fast.lines[0]).splitlines()[0])["messages"][0] == {"role": "system", "content": "Be brief."}
