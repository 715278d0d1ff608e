"""Validation of training files: which lines are refused, with which message."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_process import example_lines

from retune.server.json_input import ReadingStoppedError
from retune.server.training.validation import (
    InvalidFileError,
    LearningModel,
    check_training_file,
    check_validation_file,
)
from retune.trainers.conditional_lm.messages import read_rows
from retune.training_lines.keys import MAX_LINE_BYTES

USER = {"role": "user", "content": "hi"}
ASSISTANT = {"role": "assistant", "content": "hello"}
CHAT: Any = {"file_id": "file-abc", "model": LearningModel("gpt-4o-mini")}
COMPLETION: Any = {"file_id": "file-abc", "model": LearningModel("babbage-002", completes_prompts=True)}
INVALID = "The job failed due to an invalid training file. Invalid file format"


def calling(**function: Any) -> dict[str, Any]:
    """An assistant message with one call."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}", **function}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def never() -> bool:
    return False


def completion_lines(count: int) -> bytes:
    return b"".join(b'{"prompt": "%d ->", "completion": " yes\\n"}\n' % number for number in range(count))


def problem_of(path: Path, example: Any, job: Any = CHAT) -> str:
    line = example if isinstance(example, str) else json.dumps(example)
    good = completion_lines(10) if job is COMPLETION else example_lines(10)
    path.write_text(f"{good.decode()}{line}\n", encoding="utf-8")
    with pytest.raises(InvalidFileError) as caught:
        check_training_file(path, never, **job)
    assert (caught.value.code, caught.value.param) == ("invalid_training_file", "training_file")
    assert caught.value.message.startswith(INVALID)
    return caught.value.message.removeprefix(INVALID)


@pytest.mark.parametrize(
    ("example", "words"),
    [
        ("[1, x]", "column 5: expected a JSON object, but this is not valid JSON (Expecting value); found 'x]'"),
        ("[" * 100_000, "nested too deeply"),
        ([USER, ASSISTANT], "expected a JSON object, found a list"),
        ({}, "expected the key 'messages', found an empty object"),
        ({"messages": []}, "messages: expected a list of at least one message, found an empty list"),
        ({"messages": "hi"}, "found a string"),
        (
            {"messages": [USER]},
            "messages: expected at least one message of the role assist",
        ),
        ({"messages": [USER, "hello"]}, "messages[1]: expected an object, found a string"),
        ({"messages": [USER, {"role": "bot", "content": "x"}]}, "found 'bot'"),
        ({"messages": [USER, {"role": "assistant"}]}, "messages[1].content: expected text, found null"),
        ({"messages": [USER, {"role": "assistant", "content": " "}]}, "messages[1].content: expected text, found ' '"),
        ({"messages": [USER, {**ASSISTANT, "mood": "good"}]}, "messages[1]: expected the keys role, content, name, "),
        ({"messages": [USER, {**ASSISTANT, "weight": 2}]}, "messages[1].weight: expected 0 or 1, found 2"),
        (
            {"messages": [{**USER, "weight": 1}, ASSISTANT]},
            "weight: expected it on assistant messages alone, found",
        ),
        ({"messages": [USER, ASSISTANT], "label": 1}, "found the unknown key 'label'"),
        ({"messages": [USER, ASSISTANT], "tools": {"a": 1}}, "tools: expected a list, found an object"),
        (
            {"messages": [USER, {"role": "assistant", "tool_calls": 1}]},
            "tool_calls: expected a list, found a number",
        ),
        (
            {"messages": [USER, {"role": "assistant", "tool_calls": [{}]}]},
            "tool_calls[0]: expected an object of the",
        ),
        ({"messages": [USER, calling(name="no spaces")]}, "tool_calls[0].function.name: expected 1 to 64"),
        (
            {"messages": [USER, calling(arguments={})]},
            "arguments: expected a string of JSON, found an empty",
        ),
        ({"messages": [USER, calling(arguments="{")]}, "function.arguments: expected a string of JSON (Expecting"),
        (
            {"messages": [USER, {"role": "assistant", "function_call": {"a": 1}}]},
            "function_call.name: expected 1 to",
        ),
        (
            {"messages": [{**USER, "tool_calls": [{}]}, ASSISTANT]},
            "tool_calls: expected it on assistant messages alone",
        ),
        (
            {"messages": [USER, {"role": "tool", "content": "x"}, ASSISTANT]},
            "tool_call_id: expected text, found null",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}, ASSISTANT]}, "found 'image_url'"),
        (
            {"messages": [{"role": "user", "content": []}, ASSISTANT]},
            "content: expected text, found none in its parts",
        ),
    ],
)
def test_errors_name_the_line(tmp_path: Path, example: Any, words: str) -> None:
    problem = problem_of(tmp_path / "train.jsonl", example)

    assert problem.startswith((": line 11: ", ": line 11, column "))
    assert words in problem


PAIR = {"prompt": "a", "completion": "b"}
PREFERENCE = {"input": {"messages": [USER]}, "preferred_output": [ASSISTANT], "non_preferred_output": [ASSISTANT]}
GRADED = {"messages": [USER], "reference": "hello"}
NO_DPO = (
    ". Input file file-abc is in the fine-tune-preference format, but the specified fine-tuning job is not using 'dpo' "
    "as the training method (provided method=supervised). The first such line is line 11."
)


@pytest.mark.parametrize(
    ("job", "example", "problem"),
    [
        (CHAT, PREFERENCE, NO_DPO),
        (COMPLETION, PREFERENCE, NO_DPO),
        (CHAT, GRADED, NO_DPO.replace("preference", "reinforcement").replace("dpo", "reinforcement")),
        (
            CHAT,
            PAIR,
            (
                ". Input file file-abc is in the fine-tune-completion format, but the specified model gpt-4o-mini "
                "learns chat messages: it takes lines with 'messages'. The first such line is line 11."
            ),
        ),
        (
            COMPLETION,
            {"messages": [USER, ASSISTANT]},
            (
                ". Input file file-abc is in the fine-tune-chat format, but the specified model babbage-002 learns "
                "prompts: it takes lines with 'prompt' and 'completion'. The first such line is line 11."
            ),
        ),
    ],
)
def test_lines_of_another_format_name_that_format(tmp_path: Path, job: Any, example: Any, problem: str) -> None:
    assert problem_of(tmp_path / "train.jsonl", example, job) == problem


@pytest.mark.parametrize(
    ("example", "words"),
    [
        ({}, "expected the key 'completion', found an empty object"),
        ({"prompt": "a"}, "expected the key 'completion', found 'prompt'"),
        ({**PAIR, "label": 1}, "expected the keys prompt, completion, found the unknown key 'label'"),
        ({"prompt": ["a"], "completion": "b"}, "prompt: expected text, found a list"),
        ({"prompt": "a", "completion": None}, "completion: expected text, found null"),
        ({"prompt": "a", "completion": ""}, "completion: expected text, found an empty text"),
    ],
)
def test_errors_of_prompt_completion_lines_are_named(tmp_path: Path, example: Any, words: str) -> None:
    problem = problem_of(tmp_path / "train.jsonl", example, COMPLETION)

    assert problem == f": line 11: {words}."


def test_every_wrong_line_is_named_up_to_ten_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    good, bad = example_lines(1), b'{"messages": [{"role": "user", "content": 7}]}\n'
    path.write_bytes(good + b'{"a": \xff}\n' + b'{"a" 2}\n' + good + bad * 11)

    with pytest.raises(InvalidFileError) as caught:
        check_training_file(path, never, **CHAT)

    first, *_, last = caught.value.message.removeprefix(f"{INVALID}: 13 lines are wrong: ").split("; ")
    assert first == "line 2, column 7: expected UTF-8 text, found the byte 0xff"
    assert "line 3, column 6: expected a JSON object" in caught.value.message
    assert caught.value.message.count("messages[0].content: expected text, found a number") == 8
    assert last == "and 3 more."


def test_blank_lines_are_counted_however_many_there_are(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    blank = "\n" * 200_000 + " \t\r\n" * 49_999 + " " * 100_000 + "\n" + " " * (MAX_LINE_BYTES + 10) + "\n"
    path.write_text(f"\ufeff\n{blank}{example_lines(10).decode()}{blank}7\n{blank}")

    with pytest.raises(InvalidFileError, match=": line 500014: expected a JSON object, found a number"):
        check_training_file(path, never, **CHAT)


def test_after_many_wrong_lines_no_more_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("7\n" * 100_000 + "\n" + "7\n" * 100_000)

    with pytest.raises(InvalidFileError) as caught:
        check_training_file(path, never, **CHAT)

    assert caught.value.message.startswith(f"{INVALID}: 100,000 lines are wrong: line 1: expected a JSON object, found")
    assert caught.value.message.endswith("; and 99,990 more. Lines after line 100,000 were not checked.")


def test_lines_of_another_format_are_named_in_addition_to_other_errors(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in [*[PAIR] * 12, []]))

    with pytest.raises(InvalidFileError) as caught:
        check_training_file(path, never, **CHAT)

    others = "12 lines are: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more."
    assert caught.value.message.endswith(f"{others} line 13: expected a JSON object, found an empty list.")


@pytest.mark.parametrize(
    "messages",
    [
        [USER, {**ASSISTANT, "refusal": None, "annotations": [], "audio": None, "function_call": None}],
        [USER, {**ASSISTANT, "tool_calls": [], "name": None, "weight": None, "reasoning": ""}],
        [{"role": "system", "content": ""}, USER, ASSISTANT],
        [{"role": "developer", "content": [{"type": "text", "text": " "}]}, USER, ASSISTANT],
        [USER, ASSISTANT, USER],
    ],
)
def test_empty_optional_values_are_accepted(tmp_path: Path, messages: Any) -> None:
    path = tmp_path / "train.jsonl"
    line = json.dumps({"messages": messages, "tools": [], "metadata": None}).encode()
    path.write_bytes(example_lines(9) + line)

    assert check_training_file(path, never, **CHAT) == len(read_rows(path)) == 10


def test_prompts_may_be_empty_and_completions_blank(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(completion_lines(9) + b'{"prompt": "", "completion": "\\n"}\n')

    assert check_training_file(path, never, **COMPLETION) == 10


def test_examples_are_counted_without_blank_lines_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    parts = {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}, {**ASSISTANT, "weight": 0}]}
    lines = [*example_lines(10).decode().splitlines(), "", json.dumps(parts), "  "]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())

    assert check_training_file(path, never, **CHAT) == 11


def test_a_validation_file_needs_one_example(tmp_path: Path) -> None:
    path = tmp_path / "validation.jsonl"
    path.write_bytes(example_lines(1))
    check_validation_file(path, never, **CHAT)
    path.write_bytes(b"\n")

    with pytest.raises(InvalidFileError, match="it holds no examples") as caught:
        check_validation_file(path, never, **CHAT)
    assert (caught.value.code, caught.value.param) == ("invalid_validation_file", "validation_file")


def test_validation_stops_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(example_lines(10))

    with pytest.raises(ReadingStoppedError):
        check_training_file(path, lambda: True, **CHAT)


def test_a_file_without_line_ends_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(example_lines(10))
    with path.open("ab") as stream:
        stream.truncate(1 << 40)

    with pytest.raises(InvalidFileError) as caught:
        check_training_file(path, never, **CHAT)

    assert caught.value.message == f"{INVALID}: line 11: it is longer than {MAX_LINE_BYTES} bytes."


def test_a_line_ends_with_a_line_feed_for_the_trainer_too(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(example_lines(10).replace(b": [", b":\r["))

    assert check_training_file(path, never, **CHAT) == len(read_rows(path)) == 10


LONG = "x" * 3_000_000


@pytest.mark.parametrize(
    ("job", "example"),
    [
        (CHAT, {"messages": [{**USER, "role": LONG}, ASSISTANT]}),
        (CHAT, {"messages": [{**USER, "role": [LONG] * 9}, ASSISTANT]}),
        (CHAT, {"messages": [{**USER, LONG: 1}, ASSISTANT]}),
        (CHAT, {"messages": [USER, {**ASSISTANT, "weight": LONG}]}),
        (CHAT, {"messages": [USER, {**ASSISTANT, "content": [{"type": LONG}]}]}),
        (CHAT, {"messages": [USER, ASSISTANT], LONG: 1}),
        (CHAT, {LONG + str(number): 1 for number in range(5)}),
        (COMPLETION, {LONG: 1}),
        (COMPLETION, {**PAIR, LONG: 1}),
    ],
    ids=range(9),
)
def test_quoted_text_is_cut(tmp_path: Path, job: Any, example: Any) -> None:
    assert len(problem_of(tmp_path / "train.jsonl", example, job)) < 700


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool"]) | json_values, "content": json_values},
    optional={"weight": json_values, "tool_calls": json_values, "name": json_values},
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries({"messages": st.lists(messages | json_values, max_size=3) | json_values}) | json_values,
        min_size=1,
        max_size=2,
    ),
    st.sampled_from([CHAT, COMPLETION]),
)
def test_any_json_lines_are_refused_with_a_code(
    tmp_path_factory: pytest.TempPathFactory, lines: list[Any], job: Any
) -> None:
    path = tmp_path_factory.mktemp("any") / "train.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")

    with pytest.raises(InvalidFileError) as caught:
        check_training_file(path, never, **job)

    assert caught.value.code in {"invalid_training_file", "invalid_n_examples"}
