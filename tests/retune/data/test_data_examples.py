import pytest

from retune.data.examples import Example, content_hash, expected_answer, prompt_messages
from retune.data.stored_examples import hash_examples, read_stored_examples, store_examples
from retune.errors import DataError

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Hello?"}
ASSISTANT = {"role": "assistant", "content": "Hi."}


def test_prompt_is_everything_before_the_last_answer():
    example = Example({"messages": [SYSTEM, USER, ASSISTANT, USER, {**ASSISTANT, "content": "Bye."}, USER]}, "row 2")
    assert prompt_messages(example) == [SYSTEM, USER, ASSISTANT, USER]
    assert expected_answer(example) == "Bye."


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (None, ""),
        ([{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "no"}, {"type": "text", "text": "b"}], "ab"),
    ],
)
def test_answer_of_content_that_is_no_string(content, answer):
    assert expected_answer(Example({"messages": [USER, {**ASSISTANT, "content": content}]}, "row 2")) == answer


def test_an_example_without_answer_says_where_it_is():
    with pytest.raises(DataError, match=r"^row 7 has no assistant message"):
        expected_answer(Example({"messages": [USER]}, "row 7"))


def test_hash_goes_by_content_not_by_order_of_keys():
    assert content_hash({"a": 1, "b": "é\ud800"}) == content_hash({"b": "é\ud800", "a": 1})
    assert content_hash({"a": 1}) != content_hash({"a": "1"})
    # SHA-256 of {"a":1}: a run key must not change with the library's version.
    assert content_hash({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


def test_stored_examples_come_back_with_their_places(tmp_path):
    stored = [Example({"messages": [USER, ASSISTANT]}, "row 2"), Example({"messages": [USER]}, "row 9")]
    facts = store_examples(tmp_path / "examples.jsonl", stored)
    assert facts.examples == 2
    assert read_stored_examples(facts.path) == stored


def test_hash_of_examples_leaves_out_where_they_were_found():
    body = {"messages": [USER, ASSISTANT]}
    assert hash_examples([Example(body, "row 2")]) == hash_examples([Example(body, "line 5")])
    assert hash_examples([Example(body, "row 2")]) != hash_examples([])
