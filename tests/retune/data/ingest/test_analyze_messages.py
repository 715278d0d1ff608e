"""Plain conversations are analyzed together; whatever else is in the block, it comes out as one by one."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.config import SourceFormat, SplitConfig
from retune.data.dataset.columns import AnalyzedBlock
from retune.data.formats.messages import MessagesFormat
from retune.data.formats.split_columns import SplitColumns
from retune.data.formats.templates import SystemPrompt
from retune.data.ingest import analyze
from retune.data.ingest.analyze import analyze_block
from retune.data.ingest.analyze_messages import PlainMessages
from retune.data.ingest.plan import Plan
from retune.data.sources.blocks import Block, Row, RowsBlock, SourceFile
from retune.data.sources.readers.jsonl_files import JsonLinesBlock

FILE = SourceFile("t.jsonl", "line", SourceFormat.JSONL, None, ("messages",))
SYSTEM = {"role": "system", "content": "Be brief."}
ASKED = {"role": "user", "content": "Where is my card?"}
ANSWERED = {"role": "assistant", "content": "On its way."}
PLAIN = json.dumps({"messages": [ASKED, ANSWERED]}).encode()


class OneByOne(MessagesFormat):
    @property
    def keeps_plain_messages(self) -> bool:
        return False


def plan_for(system: str | None = None, **settings: Any) -> Plan:
    shape = MessagesFormat(
        "conversations",
        "supervised",
        SplitColumns(),
        SystemPrompt.parse(system, ()),
        column="messages",
        is_foreign=False,
        known=frozenset({"messages", "id"}),
    )
    assert shape.keeps_plain_messages
    return Plan((FILE,), shape, "supervised", **{"provider": "openai", "encoding": "o200k_base"} | settings)


def block_of(lines: Sequence[bytes]) -> JsonLinesBlock:
    return JsonLinesBlock(0, b"\n".join(lines), 1, source_bytes=1)


def assert_same_both_ways(block: Block, plan: Plan) -> AnalyzedBlock:
    fast = analyze_block(block, plan)
    slow = analyze_block(block, replace(plan, row_format=OneByOne(**vars(plan.row_format))))
    assert [bytes(part) for part in fast.lines] == [bytes(part) for part in slow.lines]
    for name in slow.columns:
        assert fast.columns[name].tolist() == slow.columns[name].tolist(), name
        assert fast.columns[name].dtype == slow.columns[name].dtype, name
    assert fast.labels == slow.labels
    assert fast.other_keys == slow.other_keys
    assert fast.problems == slow.problems
    assert (fast.bands is None) == (slow.bands is None)
    if fast.bands is not None and slow.bands is not None:
        sound = fast.columns["sound"].astype(bool)
        assert np.array_equal(fast.bands[sound], slow.bands[sound])
    return fast


def n_plain(block: Block) -> int:
    plain = PlainMessages(None, frozenset({"id"}))
    block.offer(plain)
    return len(plain.places)


ODD = st.sampled_from(
    [
        *"\"\\ \t\n\r\x00\x0b\x1c\x1f\x7f\x85\xa0\u00ad\u180e\u200b\u2028\ufeff\ufffd\U0001f600'{}é表\ud800",
        *("\\u0041", "\\n", "\r\n", "ada@example.com", "4111 1111 1111 1111", "sk-" + "a1B2" * 12, "007", "None"),
    ]
)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.lists(ODD, max_size=6).map("".join),
    st.lists(ODD, max_size=6).map(" ".join),
    st.sampled_from(["Where is my card?", "On its way."]),
)
ROLES = st.sampled_from(["system", "developer", "user", "assistant", "tool", "human", None])
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, 2, 0.0, -1, 2**70, 1e300]),
    TEXTS,
    st.lists(TEXTS.map(lambda text: {"type": "text", "text": text}), max_size=2),
    st.dictionaries(TEXTS, st.none(), max_size=1),
)


@st.composite
def conversations(draw: st.DrawFn) -> dict[str, Any]:
    """Mostly plain ones; some with something else in them."""
    turns = draw(st.integers(0, 3))
    roles = ["system"] * draw(st.integers(0, 1)) + ["user", "assistant"] * turns
    messages: list[Any] = [{"role": role, "content": draw(TEXTS)} for role in roles]
    body: dict[str, Any] = {"messages": messages}
    for change in draw(st.lists(st.integers(0, 7), max_size=2)) if draw(st.booleans()) else ():
        place = draw(st.integers(0, len(messages)))
        message = messages[place] if place < len(messages) and isinstance(messages[place], dict) else {}
        if change == 0:
            message[draw(st.sampled_from(["weight", "name", "content", "role", "x", "tool_calls"]))] = draw(VALUES)
        elif change == 1:
            message["role"] = draw(ROLES)
        elif change == 2:
            message.pop(draw(st.sampled_from(["role", "content"])), None)
        elif change == 3 and message:
            messages[place] = dict(reversed(message.items()))
        elif change == 4:
            messages.insert(place, draw(st.one_of(VALUES, st.builds(dict, role=ROLES, content=TEXTS))))
        elif change == 5:
            body[draw(st.sampled_from(["id", "tools", "metadata", "messages"]))] = draw(VALUES)
        elif change == 6:
            message["weight"] = draw(st.sampled_from([0, 1]))
        elif messages:
            messages.pop()
    return body


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A conversation as one program or another writes it, or what is left of it after an accident."""
    body = draw(conversations())
    is_compact, is_ascii = draw(st.booleans()), draw(st.booleans())
    text = json.dumps(body, ensure_ascii=is_ascii, separators=(",", ":") if is_compact else None)
    line = text.encode(errors="surrogatepass") + draw(
        st.sampled_from([b"", b"", b"\r", b" \t", b"\x0b", b"}", b"\xa0"])
    )
    if draw(st.integers(0, 5)):
        return line
    place = draw(st.integers(0, len(line)))
    put = draw(
        st.sampled_from([b"", b'"', b"\\", b"{", b"\xff", b"NaN", b"\x00", b"\xef\xbb\xbf", b"[]", b'"role":"user",'])
    )
    return line[:place] + put + line[place + draw(st.integers(0, 3)) :]


PLANS = st.builds(
    plan_for,
    st.sampled_from([None, "Be brief.", "Odd \u200b."]),
    split=st.sampled_from([SplitConfig(), SplitConfig(validation=0.3, test=0.3, seed=7), SplitConfig(method="random")]),
    provider=st.sampled_from(["openai", "azure", "retune"]),
    checks=st.booleans(),
    counts_tokens=st.booleans(),
)


@settings(max_examples=200, deadline=None)
@given(content=st.lists(lines(), max_size=6), plan=PLANS)
def test_lines_come_out_the_same_both_ways(content: list[bytes], plan: Plan) -> None:
    assert_same_both_ways(block_of(content), plan)


@settings(max_examples=60, deadline=None)
@given(bodies=st.lists(conversations(), max_size=6))
def test_rows_that_were_objects_from_the_start_come_out_the_same_both_ways(bodies: list[dict[str, Any]]) -> None:
    rows = [Row(number, body) for number, body in enumerate(bodies, start=1)]
    assert_same_both_ways(RowsBlock(0, rows, source_bytes=1), plan_for(split=SplitConfig()))


@pytest.mark.parametrize(
    "line",
    [
        PLAIN,
        PLAIN.replace(b": ", b":").replace(b", ", b","),
        b"  " + PLAIN + b" \r",
        PLAIN.replace(b"card", b"c\\u00e4rd\\n"),
        json.dumps({"messages": [SYSTEM, ASKED, ANSWERED]}).encode(),
        json.dumps({"id": 2**70, "messages": [ASKED, ANSWERED]}).encode(),
        json.dumps({"messages": [ASKED, ANSWERED] * 20}).encode(),
        json.dumps({"messages": [SYSTEM, *[ASKED, ANSWERED] * 3]}).encode(),
        json.dumps({"messages": [ASKED, {**ANSWERED, "weight": 1}]}).encode(),
        json.dumps({"messages": [SYSTEM, ASKED, {**ANSWERED, "weight": 0}, ASKED, ANSWERED]}).encode(),
        json.dumps({"messages": [ASKED, ANSWERED, ASKED, {**ANSWERED, "weight": 0}]}).encode(),
    ],
)
def test_plain_conversations_are_taken_together(line: bytes) -> None:
    assert n_plain(block_of([line])) == 1
    assert_same_both_ways(block_of([line, line]), plan_for(split=SplitConfig()))


@pytest.mark.parametrize(
    "line",
    [
        b"[1]",
        b"null",
        b'{"messages": NaN}',
        b'{"messages": {}}',
        b'{"messages": []}',
        b'{"messages": [1, 2]}',
        b'{"messages": [' + b"[" * 2_000,
        b"\xef\xbb\xbf" + PLAIN,
        PLAIN.replace(b"card", b"c\xffrd"),
        PLAIN.replace(b"card", b"c\trd"),
        PLAIN.replace(b"card", b"\\ud800"),
        PLAIN.replace(b"Where is my card?", b" "),
        PLAIN.replace(b'"role": "user", "content": "Where is my card?"', b'"content": "?", "role": "user"'),
        PLAIN.replace(b'"user"', b'"assistant"'),
        PLAIN + PLAIN,
        PLAIN[:-1] + b', "id": {"is": 1}}',
        PLAIN[:-1] + b', "id": NaN}',
        PLAIN[:-1] + b', "source": "x"}',
        PLAIN[:-1] + b', "tools": []}',
        json.dumps({"messages": [SYSTEM]}).encode(),
        json.dumps({"messages": [ASKED, ANSWERED, ASKED]}).encode(),
        json.dumps({"messages": [ASKED, ANSWERED] * 101}).encode(),
        json.dumps({"messages": [ASKED, {**ANSWERED, "weight": 0}]}).encode(),
        json.dumps({"messages": [ASKED, {**ANSWERED, "weight": True}]}).encode(),
        json.dumps({"messages": [ASKED, {**ANSWERED, "weight": 1.0}]}).encode(),
        json.dumps({"messages": [{**ASKED, "weight": 1}, ANSWERED]}).encode(),
        json.dumps({"messages": [ASKED, {**ANSWERED, "name": "Ada"}]}).encode(),
        json.dumps({"messages": [ASKED, {**ANSWERED, "content": "," * 1_100_000}]}).encode(),
    ],
)
def test_unusual_lines_leave_the_fast_path_alone(line: bytes) -> None:
    block = block_of([PLAIN, line, PLAIN, b"", PLAIN])
    assert n_plain(block) == 3
    analyzed = assert_same_both_ways(block, plan_for(split=SplitConfig()))
    assert analyzed.columns["number"].tolist() == [1, 2, 3, 5]
    assert set(analyzed.columns["length"][[0, 2, 3]]) == {len(PLAIN) + 1}


def test_plain_conversations_use_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(analyze, "prepare_examples")
    analyzed = analyze_block(block_of([PLAIN] * 3), plan_for(split=SplitConfig()))
    assert bytes(analyzed.lines[0] or analyzed.lines[1] or analyzed.lines[2]) == (PLAIN + b"\n") * 3


def line_of(question: str, answer: str, **more: Any) -> bytes:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer, **more}]
    return json.dumps({"messages": messages}).encode()


def test_labels_of_both_ways_are_counted_together() -> None:
    plan = plan_for(split=SplitConfig())
    plain = [line_of(f"question {number}", f"label {number % 600}") for number in range(900)]
    weighted = [line_of("?", f"label {number}", name="Ada") for number in range(300, 900)]
    labels = assert_same_both_ways(block_of(plain + weighted), plan).labels
    assert labels is not None
    assert len(labels) == 900
    more = [line_of("?", f"other label {number}", name="Ada") for number in range(101)]
    assert assert_same_both_ways(block_of(plain + weighted + more), plan).labels is None
