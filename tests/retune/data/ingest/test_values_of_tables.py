import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from retune.config import DataConfig, SplitConfig
from retune.data.ingest.load import LoadOptions, load_examples
from retune.data.problems.problems import read_problems


def load(source: Path, directory: Path) -> tuple[Any, ...]:
    store = load_examples(
        DataConfig(source=str(source)), SplitConfig(), LoadOptions(model="gpt-4o", processes=1), directory
    )
    return store, [(problem.kind, problem.message) for problem in read_problems(store.problems_path)]


def test_an_empty_list_of_tools_or_calls_in_a_table_is_none(tmp_path: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    tool = {"type": "function", "function": {"name": "find"}}
    asked = {"role": "user", "content": "hi", "tool_calls": []}
    rows: list[dict[str, object]] = [
        {"messages": [asked, {"role": "assistant", "content": "yes", "tool_calls": []}], "tools": []},
        {"messages": [asked, {"role": "assistant", "content": "so", "tool_calls": [call]}], "tools": [tool]},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "calls.parquet")
    store, problems = load(tmp_path / "calls.parquet", tmp_path / "store")
    assert problems == []
    plain, calling = (json.loads(line) for line in store.lines())
    assert plain == {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]}
    assert calling["messages"][1]["tool_calls"] == [call]
    assert calling["tools"] == [tool]


def test_half_of_a_surrogate_pair_is_an_odd_character(tmp_path: Path) -> None:
    source = tmp_path / "half.jsonl"
    body = {"messages": [{"role": "user", "content": "Q \ud83d lone?"}, {"role": "assistant", "content": "😀"}]}
    source.write_text(json.dumps(body) + "\n")
    store, [(kind, message)] = load(source, tmp_path / "store")
    assert (kind, message.partition(" holds ")[2][:7]) == ("odd_characters", "U+FFFD,")
    assert json.loads(next(iter(store.lines()))) == body
