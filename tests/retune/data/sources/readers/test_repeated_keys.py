"""Keys that occur twice in an object of JSON are reported with the line: on the fast path, too, and in documents."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from retune.cli.app import app
from retune.config import DataConfig, SplitConfig
from retune.data.ingest.analyze_messages import PlainMessages
from retune.data.ingest.load import LoadOptions, load_examples
from retune.data.sources.blocks import Row
from retune.data.sources.open import open_source
from retune.data.sources.readers.jsonl_files import JsonLinesBlock
from retune.data.sources.readers.repeated_keys import ESCAPED_QUOTE, find_repeated_keys

ASKED = '{"role": "user", "content": "Where is my \\"card\\"?"}'
ANSWERED = '{"role": "assistant", "content": "On its way.\\n"}'
TURNS = f"[{ASKED}, {ANSWERED}]"
PLAIN = f'{{"messages": {TURNS}}}'


def left_of(lines: list[str], system: str | None = None) -> tuple[list[Row], PlainMessages]:
    taker = PlainMessages(system, frozenset({"id"}))
    block = JsonLinesBlock(0, "\n".join(lines).encode(), 1, source_bytes=0)
    return block.offer(taker), taker


def kinds(row: Row) -> list[str]:
    return [finding.kind for finding in (*row.findings, *row.remarks)]


each_repetition = pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        (
            f'{{"messages": [{{"role": "user", "content": "x"}}], "messages": {TURNS}}}',
            "repeated_list",
            'the key "messages" occurs twice, each time with a list of objects.',
        ),
        (
            f'{{"messages": [{{"role": "user", "role": "user", "content": "x"}}, {ANSWERED}]}}',
            "repeated_key",
            'the key "role" occurs twice in messages.1, with equal values.',
        ),
        (
            f'{{"messages": [{ASKED}, {{"role": "assistant", "content": "a", "content": "b", "content": "c"}}]}}',
            "repeated_key",
            'the key "content" occurs 3 times in messages.2, and only its last value is read.',
        ),
        (
            f'{{"id": "7", "messages": {TURNS}, "id": "8"}}',
            "repeated_key",
            'the key "id" occurs twice, and only its last value is read.',
        ),
        (
            f'{{"messages": null, "messages": {TURNS}}}',
            "repeated_key",
            'the key "messages" occurs twice, and only its last value is read.',
        ),
    ],
)


@each_repetition
def test_repeated_key_leaves_the_fast_path(line: str, kind: str, message: str) -> None:
    [row], taker = left_of([PLAIN, line, PLAIN])
    assert (row.number, taker.places) == (2, [0, 2])
    assert [(found.kind, found.message) for found in (*row.findings, *row.remarks)] == [(kind, message)]
    assert bool(row.values) == (kind == "repeated_key")


@each_repetition
def test_repeated_key_in_a_json_document_is_found(tmp_path: Path, line: str, kind: str, message: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(f"[\n{PLAIN},\n  {line},\n{PLAIN}]")
    [block] = open_source(DataConfig(source=str(path))).blocks()
    rows = list(block.rows())
    assert [kinds(row) for row in rows] == [[], [kind], []]
    assert message in {found.message for found in (*rows[1].findings, *rows[1].remarks)}


@pytest.mark.parametrize("system", [None, 'Say "please".'])
def test_lines_without_repeated_keys_are_parsed_once(system: str | None) -> None:
    weighted = PLAIN.replace('"On its way.\\n"', '"Soon: \\\\\\" \\u00e9\\"", "weight": 1')
    with_keys = f'{{"messages": [{{"role": "system", "content": "Be brief."}}, {TURNS[1:]}, "id": "a\\"b"}}'
    other = '{"messages": "none", "id": 8}'
    lines = [PLAIN, weighted, with_keys, f'{{"id": 7, "messages": {TURNS}}}', "", "  ", other, 'no JSON "']
    seen = list[int]()

    class Taker(PlainMessages):
        def take(self, number: int, values: Any) -> bool:
            seen.append(number)
            return super().take(number, values)

    taker = Taker(system, frozenset({"id"}))
    rows = JsonLinesBlock(0, "\n".join(lines).encode(), 1, source_bytes=0).offer(taker)
    assert seen == [1, 2, 3, 4, 7, 8]
    assert taker.numbers == [1, 2, 3, 4]
    assert [row.number for row in rows] == [7, 8]
    assert kinds(rows[0]) == []


def test_escapes_of_quotes_hide_no_repeated_key() -> None:
    escaped = PLAIN.replace('\\"', "\\u0022")
    repeated = escaped.replace("{", '{"id": "7", "id": "8", ', 1)
    rows, taker = left_of([PLAIN, escaped, repeated])
    assert taker.numbers == [1, 2]
    assert [(row.number, kinds(row)) for row in rows] == [(3, ["repeated_key"])]


MEMBERS = st.deferred(lambda: st.lists(st.tuples(st.sampled_from(["a", "b", '"']), VALUES), max_size=3))
VALUES: st.SearchStrategy[Any] = st.deferred(
    lambda: st.one_of(
        st.none(),
        st.integers(-(2**70), 2**70),
        st.text(max_size=3),
        st.lists(VALUES, max_size=2),
        MEMBERS.map(lambda members: ("object", members)),
    )
)


def written(value: Any) -> str:
    if isinstance(value, tuple):
        return "{" + ", ".join(f"{json.dumps(key)}: {written(member)}" for key, member in value[1]) + "}"
    return f"[{', '.join(map(written, value))}]" if isinstance(value, list) else json.dumps(value)


def has_repeats(value: Any) -> bool:
    if isinstance(value, tuple):
        keys = [key for key, _ in value[1]]
        return len(set(keys)) < len(keys) or any(has_repeats(member) for _, member in value[1])
    return isinstance(value, list) and any(map(has_repeats, value))


@given(members=MEMBERS, escapes=st.booleans())
def test_any_object_is_said_to_have_some_when_it_does(members: list[tuple[str, Any]], escapes: bool) -> None:
    text = written(("object", members))
    if escapes:
        text = "\\\\".join(part.replace('\\"', ESCAPED_QUOTE) for part in text.split("\\\\"))
    n_quotes = text.count('"') + text.count(ESCAPED_QUOTE)
    found = find_repeated_keys(json.loads(text), n_quotes, lambda: text)
    assert bool(found) == has_repeats(("object", members))


def test_check_names_the_line_and_the_key(tmp_path: Path) -> None:
    lines = [PLAIN.replace("card", f"card {number}") for number in range(12)]
    lines[3] = lines[3].replace('"role": "user"', '"role": "system", "role": "user"')
    lines[7] = f'{{"messages": {TURNS}, {lines[7][1:]}'
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    result = CliRunner().invoke(app, ["check", str(tmp_path / "t.jsonl"), "--json"])
    problems = {
        found["location"]: (found["level"], found["message"])
        for group in json.loads(result.stdout)["groups"]
        for found in group["first"]
        if found["kind"].startswith("repeated")
    }
    assert problems == {
        "line 4": ("warning", 'the key "role" occurs twice in messages.1, and only its last value is read.'),
        "line 8": ("error", 'the key "messages" occurs twice, each time with a list of objects.'),
    }


def test_rows_of_one_message_each_keep_what_is_said_of_them(tmp_path: Path) -> None:
    rows = [
        f'{{"conversation_id": "{number // 2}", "role": "{role}", "content": "{role} says so {number}."}}'
        for number, role in enumerate(["user", "assistant"] * 12)
    ]
    rows[5] = rows[5].replace('"role"', '"role": "user", "role"')
    (tmp_path / "t.jsonl").write_text("\n".join(rows))
    store = load_examples(
        DataConfig(source=str(tmp_path / "t.jsonl")), SplitConfig(), LoadOptions(model="gpt-4o-mini"), tmp_path / "out"
    )
    groups = {group.kind: group for group in store.facts.problem_groups}
    assert (len(store), int(store.column("sound").sum())) == (12, 12)
    assert groups["repeated_key"].first[0].message == (
        'row 6: the key "role" occurs twice, and only its last value is read.'
    )
