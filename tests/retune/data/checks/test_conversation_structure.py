import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.config import ProviderKind
from retune.data.checks.structure import check_structure
from retune.data.cost.tokens import example_overhead_tokens, token_counter
from retune.data.example.example import Method
from retune.data.example.hashes import hash_example
from retune.data.example.texts import example_texts
from retune.data.problems.rules import RULES
from retune.training_lines.keys import EXAMPLE_KEYS, MESSAGE_KEYS

USER = {"role": "user", "content": "Hello?"}
ASSISTANT = {"role": "assistant", "content": "Hi."}
SYSTEM = {"role": "system", "content": "Be brief."}
ROLES = "system, developer, user, assistant, tool, function"


def found(
    body: dict[str, Any], method: Method = "supervised", provider: ProviderKind = "openai"
) -> list[tuple[str, str]]:
    return [(finding.kind, finding.message) for finding in check_structure(body, method, provider)]


def kinds(body: dict[str, Any], method: Method = "supervised", provider: ProviderKind = "openai") -> list[str]:
    return [kind for kind, _ in found(body, method, provider)]


@pytest.mark.parametrize(
    ("messages", "kind", "message"),
    [
        (None, "missing_messages", "expected a list of messages, found none."),
        ([], "missing_messages", "expected a list of messages, found []."),
        ("hi", "missing_messages", 'expected a list of messages, found "hi".'),
        ([USER, "hi", ASSISTANT], "message_not_object", 'message 2: expected an object, found "hi".'),
        (
            [SYSTEM, USER, {**ASSISTANT, "role": "bot"}, ASSISTANT],
            "unknown_role",
            f'message 3: unknown role "bot"; allowed: {ROLES}.',
        ),
        ([{"content": "Hello?"}, ASSISTANT], "unknown_role", f"message 1: no role; allowed: {ROLES}."),
        (
            [{**USER, "contents": "x"}, ASSISTANT],
            "unknown_key",
            f'message 1: unknown key "contents"; allowed: {", ".join(MESSAGE_KEYS)}.',
        ),
        ([USER, {"role": "assistant"}], "missing_content", "message 2 (assistant): no content; expected text."),
        ([{**USER, "content": None}, ASSISTANT], "missing_content", "message 1 (user): no content; expected text."),
        (
            [{**USER, "content": " \n"}, ASSISTANT],
            "empty_content",
            'message 1 (user): the content is " \\n"; expected text.',
        ),
        (
            [USER, {**ASSISTANT, "content": 7}],
            "content_not_text",
            "message 2 (assistant): expected text or a list of content parts, found 7.",
        ),
        (
            [{**USER, "content": []}, ASSISTANT],
            "content_not_text",
            "message 1 (user): expected text or a list of content parts, found [].",
        ),
        (
            [USER, {"role": "assistant", "refusal": ["no"]}],
            "content_not_text",
            'message 2 (assistant): expected a refusal as text, found ["no"].',
        ),
        ([USER], "no_assistant_message", 'no message is the assistant\'s; roles: ["user"].'),
        (
            [USER, {**ASSISTANT, "weight": 2}],
            "bad_weight",
            "message 2 (assistant): expected a weight of 0 or 1, found 2.",
        ),
        (
            [USER, {**ASSISTANT, "weight": True}],
            "bad_weight",
            "message 2 (assistant): expected a weight of 0 or 1, found true.",
        ),
        (
            [{**USER, "weight": 1}, ASSISTANT],
            "bad_weight",
            "message 1 (user): only assistant messages have a weight; found 1.",
        ),
        (
            [USER, {**ASSISTANT, "weight": 0}, USER, {**ASSISTANT, "weight": 0}],
            "nothing_to_learn",
            "all assistant messages have the weight 0; at least one must have 1.",
        ),
        ([{**USER, "name": 7}, ASSISTANT], "bad_name", "message 1 (user): expected a name as text, found 7."),
        (
            [{**USER, "tool_call_id": "1"}, ASSISTANT],
            "unknown_key",
            "message 1 (user): only messages of the role tool have tool_call_id.",
        ),
        (
            [{**USER, "refusal": "no"}, ASSISTANT],
            "unknown_key",
            "message 1 (user): only messages of the role assistant have refusal.",
        ),
    ],
)
def test_errors_of_a_conversation(messages: list[Any] | str | None, kind: str, message: str) -> None:
    assert found({"messages": messages})[0] == (kind, message)
    assert RULES[kind].level == "error"


@pytest.mark.parametrize(
    ("messages", "kind", "message"),
    [
        (
            [USER, ASSISTANT, USER],
            "last_message_not_assistant",
            'the last message is of the role "user"; expected assistant.',
        ),
        (
            [SYSTEM, ASSISTANT],
            "no_user_message",
            'no message is the user\'s; roles: ["system", "assistant"].',
        ),
        (
            [USER, SYSTEM, ASSISTANT],
            "system_not_first",
            'message 2 (system): comes after message 1 ("user").',
        ),
    ],
)
def test_unusual_but_valid_structures_are_warnings(messages: list[dict[str, str]], kind: str, message: str) -> None:
    assert found({"messages": messages}) == [(kind, message)]
    assert RULES[kind].level == "warning"


# The error classes of OpenAI's cookbook, "Data preparation and analysis for chat model fine-tuning".
@pytest.mark.parametrize(
    ("cookbook_class", "body", "kind"),
    [
        ("missing_messages_list", {}, "missing_messages"),
        ("message_missing_key", {"messages": [{"content": "x"}, ASSISTANT]}, "unknown_role"),
        ("message_missing_key", {"messages": [{"role": "user"}, ASSISTANT]}, "missing_content"),
        ("message_unrecognized_key", {"messages": [{**USER, "to": "x"}, ASSISTANT]}, "unknown_key"),
        ("unrecognized_role", {"messages": [USER, ASSISTANT, {**USER, "role": "human"}]}, "unknown_role"),
        ("missing_content", {"messages": [{**USER, "content": ""}, ASSISTANT]}, "empty_content"),
        ("missing_content", {"messages": [{**USER, "content": {"a": 1}}, ASSISTANT]}, "content_not_text"),
        ("example_missing_assistant_message", {"messages": [SYSTEM, USER]}, "no_assistant_message"),
    ],
)
def test_the_classes_of_the_published_validator(cookbook_class: str, body: dict[str, Any], kind: str) -> None:
    assert kind in kinds(body), cookbook_class


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "assistant", "refusal": "I can't."},
        {"role": "assistant", "content": [{"type": "text", "text": "Hi."}], "weight": 1},
        {"role": "assistant", "content": "Hi.", "tool_calls": None, "function_call": None, "refusal": None},
        {"role": "assistant", "content": "Hi.", "weight": 1.0},
    ],
)
def test_an_answer_need_not_be_plain_text(message: dict[str, Any]) -> None:
    body = {"messages": [{**SYSTEM, "role": "developer"}, {**USER, "name": "Kim"}, message]}
    assert kinds(body | {"functions": [{"name": "f"}]}) == []


@pytest.mark.parametrize(
    ("key", "kind"),
    [("id", "key_left_out"), ("Context", "unknown_example_key"), ("function", "unknown_example_key")],
)
def test_a_key_beside_the_messages_is_left_out_and_named(key: str, kind: str) -> None:
    there = f"a line of the training file has {', '.join(EXAMPLE_KEYS)} there"
    assert found({"messages": [USER, ASSISTANT], key: 1}) == [(kind, f'the key "{key}" is left out: {there}.')]
    assert RULES[kind].level != "error"


@pytest.mark.parametrize(
    ("body", "method", "part"),
    [
        ({"input": {}, "preferred_output": [], "non_preferred_output": []}, "supervised", "the method dpo"),
        ({"prompt": "a ->", "completion": " b"}, "supervised", "a prompt and its completion"),
        ({"messages": [USER, ASSISTANT]}, "dpo", "supervised and reinforcement"),
    ],
)
def test_examples_for_another_method_are_recognized(body: dict[str, Any], method: Method, part: str) -> None:
    [(kind, message)] = found(body, method)
    assert kind == "wrong_method"
    assert part in message


def test_all_problems_of_an_example_are_found_at_once() -> None:
    messages = [{"role": "usr", "content": "", "text": "x"}, 7]
    assert kinds({"messages": messages, "tools": 7}) == [
        "bad_tools",
        "unknown_role",
        "unknown_key",
        "empty_content",
        "message_not_object",
        "no_assistant_message",
    ]


def test_long_and_broken_values_are_shown_short() -> None:
    [(_, message)] = found({"messages": [{**USER, "role": "\ud800" * 1000}, ASSISTANT]})
    assert message.encode()
    assert len(message) < 200


@pytest.mark.parametrize("levels", [101, 5_000])
def test_what_is_nested_without_end_is_refused(levels: int) -> None:
    nested: list[object] = []
    for _ in range(levels):
        nested = [nested]
    assert kinds({"messages": [USER, ASSISTANT], "tools": nested}) == ["nested_too_deeply"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
PARAMETERS = {"type": "object", "properties": {"a": {"type": "string", "enum": ["b", "c"], "description": "A."}}}
TOOLS = [{"type": "function", "function": {"name": "f", "description": "F.", "parameters": PARAMETERS}}]
TALK = [
    SYSTEM,
    {**USER, "name": "Kim", "content": [{"type": "text", "text": "?"}, IMAGE]},
    {"role": "assistant", "content": None, "tool_calls": [CALL], "weight": 0},
    {"role": "tool", "tool_call_id": "1", "content": "None"},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    {"role": "assistant", "refusal": "No.", "function_call": {"name": "g", "arguments": "{}"}},
    {"role": "function", "name": "g", "content": None},
]
SOUND: list[tuple[Method, dict[str, Any]]] = [
    ("supervised", {"messages": [*TALK, ASSISTANT], "tools": TOOLS, "functions": [{"name": "g"}]}),
    ("supervised", {"messages": [USER, ASSISTANT], "parallel_tool_calls": True}),
    (
        "dpo",
        {
            "input": {"messages": [SYSTEM, USER], "tools": TOOLS},
            "preferred_output": [ASSISTANT],
            "non_preferred_output": [{"role": "assistant", "tool_calls": [CALL]}],
        },
    ),
    ("reinforcement", {"messages": [*TALK, USER], "tools": TOOLS, "input": "x", "preferred_output": 7}),
]


@pytest.mark.parametrize(("method", "body"), SOUND)
def test_all_that_the_api_takes_is_sound(method: Method, body: dict[str, Any]) -> None:
    assert {RULES[kind].level for kind in kinds(body, method)} <= {"warning"}


@st.composite
def changed(draw: st.DrawFn) -> tuple[Method, dict[str, Any]]:
    """A sound example in which up to two places are replaced, removed or added."""
    method, body = draw(st.sampled_from(SOUND))
    body = copy.deepcopy(body)
    for _ in range(draw(st.integers(0, 2))):
        place: Any = body
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and draw(st.booleans()):
                place = place[key]
                continue
            action = draw(st.sampled_from(["replace", "remove", "repeat"]))
            if action == "replace":
                place[key] = draw(JSON_VALUES)
            elif action == "remove":
                del place[key]
            elif isinstance(place, list):
                place.insert(key, copy.deepcopy(place[key]))
            break
    return method, body


@settings(deadline=None, max_examples=400)
@given(changed(), st.sampled_from(["openai", "azure", "retune", "other"]))
def test_example_without_errors_has_readable_texts(
    example: tuple[Method, dict[str, Any]], provider: ProviderKind
) -> None:
    method, body = example
    findings = list(check_structure(body, method, provider))
    for finding in findings:
        assert finding.message.encode()
    if all(RULES[finding.kind].level == "warning" for finding in findings):
        texts = example_texts(body, method)
        written = [*texts.machine, *texts.instructions, *texts.prompt, *texts.answer]
        assert all(isinstance(text, str) for text in written)
        assert example_overhead_tokens(texts, token_counter("o200k_base")) > 0
        hash_example(body, method, 42)


@settings(deadline=None)
@given(JSON_VALUES, JSON_VALUES, st.sampled_from(["supervised", "dpo", "reinforcement"]))
def test_no_json_breaks_the_checks(
    one: Any,
    two: Any,
    method: Method,
) -> None:
    keys = ("messages", "tools", "functions", "input", "preferred_output", "non_preferred_output")
    for body in (dict.fromkeys(keys, value) for value in (one, [one], [one, two], [{"role": one, "content": two}])):
        assert kinds(body, method)


PLAIN_MESSAGES = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "user", "assistant"]),
        "content": st.sampled_from(["a", "b", "", " \u00a0", None]),
    },
    optional={"name": st.just("Kim"), "weight": st.just(0)},
)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(PLAIN_MESSAGES, max_size=3)
    | st.tuples(PLAIN_MESSAGES, st.just(USER), PLAIN_MESSAGES).map(list)
    | st.integers(0, 3).map(lambda turns: [SYSTEM, *[USER, ASSISTANT] * turns])
)
def test_fast_check_of_conversations_equals_the_full_one(messages: list[Any]) -> None:
    # Another key beside the messages takes the long way.
    assert found({"messages": messages}) == found({"messages": messages, "parallel_tool_calls": True})
