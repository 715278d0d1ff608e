"""What the checks pass, the server trains; what the server refuses, the checks had said."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from retune.config import DataConfig, ProviderKind, SplitConfig
from retune.data.checks.server_limits import check_line_size
from retune.data.checks.structure import check_structure
from retune.data.example.example import as_completion
from retune.data.ingest.load import LoadOptions, load_examples
from retune.data.problems.problems import Finding, read_problems
from retune.data.problems.rules import RULES
from retune.data.text.jsonl import encode_line
from retune.errors import TrainerError
from retune.server.training.validation import InvalidFileError, LearningModel, check_validation_file
from retune.trainers.conditional_lm.messages import read_rows
from retune.training_lines.cleaning import clean_line
from retune.training_lines.keys import MAX_LINE_VALUES, SERVER_MESSAGE_KEYS

USER = {"role": "user", "content": "Hello?"}
ASSISTANT = {"role": "assistant", "content": "Hi."}
SYSTEM = {"role": "system", "content": "Be brief."}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
ANSWERED = {"role": "tool", "tool_call_id": "1", "content": ""}
TOOL = {"type": "function", "function": {"name": "f"}}
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
NOTHING: dict[str, Any] = {"refusal": None, "annotations": [], "audio": None, "function_call": None, "tool_calls": None}


def findings(body: dict[str, Any], *, completes_prompts: bool = False) -> list[Finding]:
    return list(check_structure(body, "supervised", "retune", completes_prompts=completes_prompts))


def errors(body: dict[str, Any], **settings: Any) -> list[tuple[str, str]]:
    return [(found.kind, found.message) for found in findings(body, **settings) if RULES[found.kind].level == "error"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bool]:
    """Whether the server takes a line, and its trainer finds something in it to learn."""
    path = tmp_path_factory.mktemp("served") / "train.jsonl"

    def serve(line: bytes, *, completes_prompts: bool = False) -> bool:
        path.write_bytes(line)
        model = LearningModel("babbage-002" if completes_prompts else "gpt-4o", completes_prompts=completes_prompts)
        try:
            check_validation_file(path, lambda: False, file_id="file-1", model=model)
            return bool(read_rows(path))
        except (InvalidFileError, TrainerError):
            return False

    return serve


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        (
            [USER, {**ASSISTANT, "content": None, "refusal": "No."}],
            f"messages[1]: expected the keys {', '.join(SERVER_MESSAGE_KEYS)}, found the unknown key 'refusal'.",
        ),
        (
            [{**USER, "content": [{"type": "text", "text": "?"}, PICTURE]}, ASSISTANT],
            "messages[0].content[1]: expected a part of the type \"text\", with its text, found 'image_url'.",
        ),
    ],
)
def test_lines_for_other_providers_only_are_errors(
    served: Callable[..., bool], messages: list[dict[str, Any]], message: str
) -> None:
    body = {"messages": messages}
    assert errors(body)[0] == ("unsupported_by_server", f"the server trains on text and calls alone; {message}")
    assert not served(encode_line(body))
    assert list(check_structure(body, "supervised", "openai")) == []


def test_lines_that_the_server_accepts_have_no_errors(served: Callable[..., bool]) -> None:
    messages = [{**USER, "name": "Kim"}, CALLED, ANSWERED, {**ASSISTANT, "weight": 1}]
    body = {"messages": messages, "tools": [TOOL], "parallel_tool_calls": True}
    assert errors(body) == []
    assert served(encode_line(body))


@pytest.mark.parametrize("provider", ["openai", "azure", "retune", "other"])
@pytest.mark.parametrize("answer", [ASSISTANT, {**CALLED, "content": ""}])
def test_an_answer_as_the_sdk_writes_it_has_nothing_wrong(
    served: Callable[..., bool], provider: ProviderKind, answer: dict[str, Any]
) -> None:
    body = {"messages": [USER, {**NOTHING, **answer, "name": None, "weight": None}], "tools": [TOOL], "functions": []}
    assert list(check_structure(body, "supervised", provider)) == []
    assert served(encode_line(body))
    assert clean_line(body, "supervised").body == {"messages": [USER, answer], "tools": [TOOL]}


def test_lines_of_more_values_than_the_server_reads_are_errors(served: Callable[..., bool]) -> None:
    parts = [{"type": "text", "text": "a"}] * (MAX_LINE_VALUES // 3)
    body = {"messages": [{**USER, "content": parts}, ASSISTANT]}
    line = encode_line(body)
    assert errors(body) == []
    assert check_line_size(line, body, "retune") is not None
    assert check_line_size(line, body, "openai") is None
    assert not served(line)


CHATS = [
    {"messages": [USER, ASSISTANT]},
    {"messages": [SYSTEM, USER, ASSISTANT, USER], "tools": [TOOL], "parallel_tool_calls": True},
    {"messages": [{**SYSTEM, "content": ""}, USER, {**ASSISTANT, **NOTHING, "weight": 0}, USER, ASSISTANT]},
    {"messages": [USER, CALLED, ANSWERED, ASSISTANT], "tools": [TOOL], "metadata": None, "id": 7},
    {"messages": [USER, {"role": "assistant", "function_call": CALL["function"]}, {**ANSWERED, "role": "function"}]},
    {"messages": [{**USER, "content": [{"type": "text", "text": "a"}, PICTURE]}, {**ASSISTANT, "refusal": "No."}]},
    {"input": {"messages": [USER]}, "preferred_output": [ASSISTANT], "non_preferred_output": [ASSISTANT]},
    {"messages": [USER], "reference": "Hi."},
]
PROMPTS = [
    {"prompt": "Hello? ->", "completion": " Hi.\n"},
    {"prompt": "", "completion": " ", "id": 1, "note": None},
    {"messages": [USER, ASSISTANT]},
]
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, "", " ", "x", 0, 1, 2, 1.0, True, [], {}, [""], [None], [{}], "user", "system", "tool", "bot"),
        *(USER, ASSISTANT, [USER], {"type": "text", "text": " "}, [{"type": "text"}], [PICTURE], "\ud800"),
        *([CALL], CALL["function"]),
    ]
)
NEW_KEYS = st.sampled_from(
    [
        *("role", "content", "name", "weight", "tool_calls", "tool_call_id", "function_call", "refusal", "type"),
        *("tools", "functions", "parallel_tool_calls", "messages", "prompt", "completion", "id", "audio", "text"),
    ]
)


@st.composite
def mutated(draw: st.DrawFn, bodies: list[Any]) -> dict[str, Any]:
    """One of these, with up to three places in it replaced, removed, repeated or added."""
    body: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(bodies)))
    for _ in range(draw(st.integers(0, 3))):
        place: Any = body
        while True:
            below = [inner for inner in (place.values() if isinstance(place, dict) else place) if inner]
            below = [inner for inner in below if isinstance(inner, dict | list)]
            if not below or draw(st.booleans()):
                break
            place = draw(st.sampled_from(below))
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        action = draw(st.sampled_from(["replace", "remove", "add"]))
        if isinstance(place, dict) and action == "add":
            place[draw(NEW_KEYS)] = copy.deepcopy(draw(VALUES))
        elif action == "add":
            place.append(copy.deepcopy(draw(VALUES)))
        elif keys:
            key = draw(st.sampled_from(keys))
            if action == "remove":
                del place[key]
            else:
                place[key] = copy.deepcopy(draw(VALUES))
    return body


@settings(deadline=None, max_examples=600)
@given(mutated(CHATS), st.just(False))
@example({"messages": [USER, ASSISTANT], "tools": {"a": 1}}, False)
def test_checks_and_server_agree_on_chats(
    served: Callable[..., bool], body: dict[str, Any], completes_prompts: bool
) -> None:
    agree(served, body, completes_prompts=completes_prompts)


@settings(deadline=None, max_examples=200)
@given(mutated(PROMPTS))
def test_checks_and_server_agree_on_prompts_and_completions(served: Callable[..., bool], body: dict[str, Any]) -> None:
    agree(served, as_completion(body), completes_prompts=True)


def agree(served: Callable[..., Any], body: dict[str, Any], *, completes_prompts: bool) -> None:
    if not errors(body, completes_prompts=completes_prompts):
        line = encode_line(clean_line(body, "supervised").body)
        assert served(line, completes_prompts=completes_prompts)
        # Written once, nothing is left to leave out.
        assert clean_line(json.loads(line), "supervised") == (json.loads(line), {})
    if not served(encode_line(body), completes_prompts=completes_prompts):
        assert findings(body, completes_prompts=completes_prompts)


HELLO = '{"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hi."}]'
RAW_LINES = [
    HELLO + "}",
    HELLO + ', "id": NaN}',
    HELLO + ', "id": 1e999}',
    HELLO + f', "id": {"9" * 5_000}}}',
    HELLO + f', "id": {"[" * 200}{"]" * 200}}}',
    HELLO + f', "tools": {"[" * 2_000}{"]" * 2_000}}}',
    HELLO + ', "messages": []}',
    '{"messages": [], ' + HELLO[1:] + "}",
    HELLO + "},",
    HELLO + "}" + HELLO + "}",
    HELLO + "}\r" + HELLO + "}",
    HELLO.replace("Hi.", "\\ud800") + "}",
    HELLO.replace("Hi.", "\\u0000") + "}",
    HELLO.replace("Hi.", "\\u00a0") + "}",
    HELLO.replace("Hi.", "\\u001c") + "}",
    HELLO.replace('"content": "Hi."', '"role": "user", "content": "Hi."') + "}",
    HELLO.replace('"content": "Hi."', '"content": "Hi.", "weight": 1e0') + "}",
    HELLO.replace('"content": "Hi."', f'"content": "Hi.", "weight": 1{"0" * 400}') + "}",
    "{'messages': []}",
    '{"messages": null}',
    '{"prompt": "Hello?", "completion": "Hi."}',
    "[]",
    "null",
    "{}",
    "\x0b",
    "\x1c",
    "\u00a0",
    "\ufeff" + HELLO + "}",
]


def test_checks_and_server_agree_on_lines_as_they_stand_in_files(served: Callable[..., bool], tmp_path: Path) -> None:
    good = [HELLO.replace("Hello?", f"Hello {number}?") + "}" for number in range(20)]
    path = tmp_path / "raw.jsonl"
    path.write_bytes("".join(f"{line}\n" for line in [*good, *RAW_LINES]).encode())
    options = LoadOptions(model="gpt-4o", provider="retune", counts_tokens=False, processes=1)

    store = load_examples(DataConfig(source=str(path)), SplitConfig(), options, tmp_path / "store")

    lines = dict(
        zip(store.column("number").tolist(), zip(store.column("sound"), store.lines(), strict=True), strict=True)
    )
    named = {problem.number for problem in read_problems(store.problems_path)}
    assert store.facts.unused == ["id", "prompt", "completion"]
    for number, raw in enumerate(RAW_LINES, start=len(good) + 1):
        if number in lines and lines[number][0]:
            assert served(lines[number][1]), raw
        if not served(f"{raw}\n".encode()):
            assert number in named or '"id"' in raw, raw
