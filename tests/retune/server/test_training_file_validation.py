import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_process import example_lines

from retune.server.files.input_lines import MAX_LINE_BYTES, ReadingStoppedError
from retune.server.training.validation import (
    InvalidFileError,
    LearningModel,
    check_training_file,
    check_validation_file,
)
from retune.trainers.conditional_lm.messages import read_rows

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
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ([USER, ASSISTANT], "expected a JSON object, found a list"),
        ({}, "expected the key 'messages', found an empty object"),
        ({"messages": []}, "at least one message"),
        ({"messages": "hi"}, "found a string"),
        ({"messages": [USER]}, "no message from the assistant"),
        ({"messages": [USER, "hello"]}, "messages[1]: expected an object, found a string"),
        ({"messages": [USER, {"role": "bot", "content": "x"}]}, "found 'bot'"),
        ({"messages": [USER, {"role": "assistant"}]}, "'content' must be text, found null"),
        ({"messages": [USER, {"role": "assistant", "content": " "}]}, "messages[1]: 'content' is empty"),
        ({"messages": [USER, {**ASSISTANT, "mood": "good"}]}, "unknown key 'mood'"),
        ({"messages": [USER, {**ASSISTANT, "weight": 2}]}, "'weight' must be 0 or 1"),
        ({"messages": [{**USER, "weight": 1}, ASSISTANT]}, "on user"),
        ({"messages": [USER, ASSISTANT], "label": 1}, "unknown key 'label'"),
        ({"messages": [USER, ASSISTANT], "tools": {}}, "'tools' must be a list, found an object"),
        ({"messages": [USER, {"role": "assistant", "tool_calls": 1}]}, "'tool_calls' must be a list"),
        ({"messages": [USER, {"role": "assistant", "tool_calls": [{}]}]}, "tool_calls[0]: expected a function"),
        ({"messages": [USER, calling(name="no spaces")]}, "tool_calls[0]: 'name' must be 1 to 64"),
        ({"messages": [USER, calling(arguments={})]}, "'arguments' must be a string of JSON, found an object"),
        ({"messages": [USER, calling(arguments="{")]}, "'arguments' must be a string of JSON"),
        ({"messages": [USER, {"role": "assistant", "function_call": {}}]}, "function_call: 'name' must be"),
        ({"messages": [{**USER, "tool_calls": [{}]}, ASSISTANT]}, "belongs to assistant messages, found on user"),
        ({"messages": [USER, {"role": "tool", "content": "x"}, ASSISTANT]}, "'tool_call_id' must be text, found null"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}, ASSISTANT]}, "found 'image_url'"),
        ({"messages": [{"role": "user", "content": []}, ASSISTANT]}, "'content' is empty"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, example: Any, words: str):
    problem = problem_of(tmp_path / "train.jsonl", example)

    assert problem.startswith(": line 11: ")
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
def test_lines_of_another_format_are_told_by_its_name(tmp_path: Path, job: Any, example: Any, problem: str):
    assert problem_of(tmp_path / "train.jsonl", example, job) == problem


@pytest.mark.parametrize(
    ("example", "words"),
    [
        ({}, "expected the key 'completion', found an empty object"),
        ({"prompt": "a"}, "expected the key 'completion', found 'prompt'"),
        ({**PAIR, "label": 1}, "unknown key 'label' beside 'prompt' and 'completion'"),
        ({"prompt": ["a"], "completion": "b"}, "'prompt' must be text, found a list"),
        ({"prompt": "a", "completion": None}, "'completion' must be text, found null"),
        ({"prompt": "a", "completion": ""}, "'completion' is empty"),
    ],
)
def test_what_is_wrong_with_a_prompt_and_its_completion_is_told(tmp_path: Path, example: Any, words: str):
    problem = problem_of(tmp_path / "train.jsonl", example, COMPLETION)

    assert problem == f": line 11: {words}."


def test_prompts_may_be_empty_and_completions_blank(tmp_path: Path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(completion_lines(9) + b'{"prompt": "", "completion": "\\n"}\n')

    assert check_training_file(path, never, **COMPLETION) == 10


def test_good_files_are_counted_blank_lines_and_byte_order_mark_aside(tmp_path: Path):
    path = tmp_path / "train.jsonl"
    parts = {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}, {**ASSISTANT, "weight": 0}]}
    lines = [*example_lines(10).decode().splitlines(), "", json.dumps(parts), "  "]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())

    assert check_training_file(path, never, **CHAT) == 11


def test_a_validation_file_needs_one_example(tmp_path: Path):
    path = tmp_path / "validation.jsonl"
    path.write_bytes(example_lines(1))
    check_validation_file(path, never, **CHAT)
    path.write_bytes(b"\n")

    with pytest.raises(InvalidFileError, match="it holds no examples") as caught:
        check_validation_file(path, never, **CHAT)
    assert (caught.value.code, caught.value.param) == ("invalid_validation_file", "validation_file")


def test_a_server_that_stops_is_not_kept_waiting(tmp_path: Path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(example_lines(10))

    with pytest.raises(ReadingStoppedError):
        check_training_file(path, lambda: True, **CHAT)


def test_a_file_without_line_ends_is_not_read_into_memory(tmp_path: Path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(example_lines(10))
    with path.open("ab") as stream:
        stream.truncate(1 << 40)

    with pytest.raises(InvalidFileError) as caught:
        check_training_file(path, never, **CHAT)

    assert caught.value.message == f"{INVALID}: line 11: it is longer than {MAX_LINE_BYTES} bytes."


def test_a_line_ends_with_a_line_feed_for_the_trainer_too(tmp_path: Path):
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
def test_what_is_quoted_is_cut(tmp_path: Path, job: Any, example: Any):
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
def test_no_json_at_all_makes_it_stumble(tmp_path_factory: pytest.TempPathFactory, lines: list[Any], job: Any):
    path = tmp_path_factory.mktemp("any") / "train.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")

    with pytest.raises(InvalidFileError) as caught:
        check_training_file(path, never, **job)

    assert caught.value.code in {"invalid_training_file", "invalid_n_examples"}
