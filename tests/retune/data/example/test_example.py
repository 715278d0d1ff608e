import pytest

from retune.data.example.example import canonical_json, expected_answer, prompt_messages
from retune.data.example.texts import example_texts
from retune.errors import DataError

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Hello?"}
ASSISTANT = {"role": "assistant", "content": "Hi."}
PAIR = {
    "input": {"messages": [SYSTEM, USER]},
    "preferred_output": [ASSISTANT],
    "non_preferred_output": [{**ASSISTANT, "content": "What?"}],
}


def test_prompt_is_everything_before_the_last_answer() -> None:
    body = {"messages": [SYSTEM, USER, ASSISTANT, USER, {**ASSISTANT, "content": "Bye."}, USER]}
    assert prompt_messages(body) == [SYSTEM, USER, ASSISTANT, USER]
    assert expected_answer(body) == "Bye."


def test_prompt_and_answer_of_a_pair() -> None:
    assert prompt_messages(PAIR, "dpo") == [SYSTEM, USER]
    assert expected_answer(PAIR) == "Hi."


def test_an_item_for_reinforcement_is_all_prompt_whatever_its_grader_needs() -> None:
    body = {"messages": [USER, ASSISTANT, USER], "input": "x", "preferred_output": 7}
    assert prompt_messages(body, "reinforcement") == [USER, ASSISTANT, USER]
    assert example_texts(body, "reinforcement").answer == []


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (None, ""),
        ([{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "no"}, {"type": "text", "text": "b"}], "ab"),
    ],
)
def test_answer_of_content_that_is_no_string(content: list[dict[str, str]] | None, answer: str) -> None:
    assert expected_answer({"messages": [USER, {**ASSISTANT, "content": content}]}) == answer


def test_an_example_without_messages_or_answer_says_so() -> None:
    with pytest.raises(DataError, match=r"no assistant message"):
        expected_answer({"messages": [USER]})
    with pytest.raises(DataError, match=r"no messages"):
        prompt_messages({})


def test_canonical_json_goes_by_content_not_by_order_of_keys() -> None:
    assert canonical_json({"a": 1, "b": "é\ud800"}) == canonical_json({"b": "é\ud800", "a": 1})
    assert canonical_json({"a": 1}) == b'{"a":1}' != canonical_json({"a": "1"})


def test_an_example_is_taken_apart_by_who_wrote_it() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"mail": "kim@example.com"}'}}
    body = {
        "messages": [
            SYSTEM,
            {**USER, "name": "Kim"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": "None"},
            {"role": "assistant", "content": [{"type": "text", "text": "Not found."}]},
        ],
        "tools": [{"type": "function", "function": {"name": "find", "description": "Finds people."}}],
    }
    texts = example_texts(body)
    assert texts.roles == ["system", "user", "assistant", "tool", "assistant"]
    assert texts.machine == ["find:Finds people", "Kim", "find", '{"mail": "kim@example.com"}', "None"]
    assert (texts.instructions, texts.prompt, texts.answer) == (["Be brief."], ["Hello?", ""], ["Not found."])
    assert (texts.names, texts.tools.functions) == (1, 1)


def test_both_answers_of_a_pair_are_read() -> None:
    texts = example_texts(PAIR, "dpo")
    assert texts.roles == ["system", "user", "assistant", "assistant"]
    assert (texts.prompt, texts.answer) == (["Hello?"], ["Hi.", "What?"])
