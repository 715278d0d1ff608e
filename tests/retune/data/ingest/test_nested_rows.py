import json
from pathlib import Path

from retune.config import DataConfig, SplitConfig
from retune.data.ingest.load import LoadOptions, load_examples

SOUND = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]%s}\n'


def test_rows_nested_to_pythons_own_limit_are_only_bad_rows(tmp_path: Path) -> None:
    depths = [2, 150, *range(880, 1000, 3)]
    tools = ', "tools": [{"type": "function", "function": {"name": "f", "parameters": {"x": %s}}}]'
    lines = [SOUND % (tools % ("[" * depth + "]" * depth)) for depth in depths]
    source = tmp_path / "nested.jsonl"
    source.write_text(SOUND % "" + "".join(lines))
    options = LoadOptions(model="gpt-4o", processes=1)
    store = load_examples(DataConfig(source=str(source)), SplitConfig(), options, tmp_path / "store")
    assert len(store) == 1 + len(depths)
    assert store.column("sound").tolist() == [1, 1] + [0] * (len(depths) - 1)
    problems = [json.loads(line) for line in store.problems_path.read_text().splitlines()]
    assert {problem["number"] for problem in problems} == set(range(3, 2 + len(depths)))
    assert {problem["kind"] for problem in problems} <= {"nested_too_deeply", "not_json"}
