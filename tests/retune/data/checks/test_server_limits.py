"""What Retune's own server refuses is said before the upload: its own checks are held against these."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.data.checks.server_limits import MESSAGE_KEYS
from retune.data.checks.structure import check_structure
from retune.data.quoting import listed
from retune.data.rules import RULES
from retune.server.training.examples import problem_of_chat_example

USER = {"role": "user", "content": "Hello?"}
ASSISTANT = {"role": "assistant", "content": "Hi."}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "f"}}
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


def errors(body):
    findings = check_structure(body, "supervised", "retune")
    return [tuple(finding) for finding in findings if RULES[finding.kind].level == "error"]


@pytest.mark.parametrize(
    ("messages", "beside", "message"),
    [
        (
            [USER, ASSISTANT],
            {"id": 1},
            "the server has no id; it takes messages, tools, parallel_tool_calls, functions.",
        ),
        (
            [USER, {**ASSISTANT, "refusal": None}],
            {},
            f"message 2 (assistant): the server has no refusal; it takes {listed(MESSAGE_KEYS)}.",
        ),
        (
            [{**USER, "content": [{"type": "text", "text": "?"}, PICTURE]}, ASSISTANT],
            {},
            "message 1 (user): the server takes parts of text alone, found image_url.",
        ),
    ],
)
def test_what_only_other_providers_take(messages, beside, message):
    body = {"messages": messages, **beside}
    assert errors(body) == [("unsupported_by_server", message)]
    assert problem_of_chat_example(body) is not None
    others = check_structure(body, "supervised", "openai")
    assert all(RULES[finding.kind].level == "warning" for finding in others)


def test_what_the_server_takes():
    called = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    answered = {"role": "tool", "tool_call_id": "1", "content": ""}
    messages = [{**USER, "name": "Kim"}, called, answered, {**ASSISTANT, "weight": 1}]
    body = {"messages": messages, "tools": [TOOL], "parallel_tool_calls": True}
    assert errors(body) == []
    assert problem_of_chat_example(body) is None


PARTS = st.sampled_from(
    [{"type": "text", "text": "a"}, {"type": "text", "text": ""}, PICTURE, {"type": "refusal", "refusal": "b"}]
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function", "bot"])},
    optional={
        "content": st.sampled_from(["a", "", " ", None, 7, []]) | st.lists(PARTS, max_size=2),
        "name": st.sampled_from(["Kim", None]),
        "weight": st.sampled_from([0, 1, 2, None]),
        "tool_calls": st.sampled_from([[CALL], [], None]),
        "tool_call_id": st.sampled_from(["1", None, ""]),
        "function_call": st.sampled_from([CALL["function"], None]),
        "refusal": st.sampled_from(["no", None]),
        "x": st.just(1),
    },
)
BODIES = st.fixed_dictionaries(
    {"messages": st.lists(MESSAGES, max_size=3)},
    optional={
        "tools": st.sampled_from([[TOOL], []]),
        "functions": st.sampled_from([[TOOL["function"]], None]),
        "parallel_tool_calls": st.booleans(),
        "id": st.just(1),
    },
)


@settings(deadline=None, max_examples=300)
@given(BODIES)
def test_whatever_passes_here_passes_at_the_server(body):
    if not errors(body):
        assert problem_of_chat_example(body) is None
