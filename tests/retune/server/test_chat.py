"""Chat completions, whole and streamed."""

from typing import Any

import openai
import pytest
from contract import document
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from server_process import ServerProcess, ended, example_lines, upload

QUESTION: Any = [{"role": "system", "content": "You label."}, {"role": "user", "content": "question 4, number 4"}]


@pytest.fixture
def model(succeeded: FineTuningJob) -> str:
    assert succeeded.fine_tuned_model
    return succeeded.fine_tuned_model


def ask(client: OpenAI, model: str, **options: Any) -> Any:
    return client.chat.completions.create(**{"model": model, "messages": QUESTION, **options})


def test_an_answer_has_text_and_usage(client: OpenAI, model: str) -> None:
    answer = ask(client, model, temperature=0)

    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content.startswith("label")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_temperature_zero_and_a_seed_are_deterministic(client: OpenAI, model: str) -> None:
    assert ask(client, model, temperature=0).choices == ask(client, model, temperature=0).choices
    drawn = ask(client, model, temperature=1.8, seed=11, n=6).choices
    assert drawn == ask(client, model, temperature=1.8, seed=11, n=6).choices


def test_n_answers_are_numbered_and_counted(client: OpenAI, model: str) -> None:
    one = ask(client, model, temperature=0)
    three = ask(client, model, temperature=0, n=3)

    assert [choice.index for choice in three.choices] == [0, 1, 2]
    assert {choice.message.content for choice in three.choices} == {one.choices[0].message.content}
    assert three.usage.prompt_tokens == one.usage.prompt_tokens
    assert three.usage.completion_tokens == 3 * one.usage.completion_tokens


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_an_answer_ends_at_its_limit(client: OpenAI, model: str, limit: str) -> None:
    answer = ask(client, model, temperature=0, **{limit: 1})

    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 1


@pytest.mark.parametrize("stop", [" ", [" ", "never"], ["bel"]])
def test_an_answer_ends_before_a_stop_sequence(client: OpenAI, model: str, stop: Any) -> None:
    whole = ask(client, model, temperature=0).choices[0].message.content
    cut = ask(client, model, temperature=0, stop=stop).choices[0]

    first = stop[0] if isinstance(stop, list) else stop
    assert cut.message.content == whole[: whole.index(first)]
    assert cut.finish_reason == "stop"


def test_a_stream_has_the_same_text_as_the_whole_answer(client: OpenAI, model: str) -> None:
    whole = ask(client, model, temperature=0)
    chunks = list(ask(client, model, temperature=0, stream=True, stream_options={"include_usage": True}))

    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-2].choices[0].delta.content is None
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1
    assert len(chunks) > 4


def test_a_stream_of_n_answers_ends_each(client: OpenAI, model: str) -> None:
    chunks = list(ask(client, model, temperature=0, stream=True, n=2))

    ends = [chunk.choices[0].index for chunk in chunks if chunk.choices[0].finish_reason]
    assert ends == [0, 1]


def test_stream_is_sent_as_server_sent_events(server: ServerProcess, model: str) -> None:
    body = {"model": model, "messages": QUESTION, "stream": True, "temperature": 0}

    answer = server.request("POST", "/v1/chat/completions", body)

    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.content.decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(event.startswith("data: {") for event in events[:-2])
    assert '"usage"' not in answer.content.decode()


def test_the_untrained_base_answers_too(client: OpenAI) -> None:
    answer = ask(client, "gpt-4o-mini")

    assert answer.model == "gpt-4o-mini"
    assert answer.choices[0].message.content is not None


def test_text_parts_are_read_as_text(client: OpenAI, model: str) -> None:
    parts: Any = [{"role": "user", "content": [{"type": "text", "text": "question 4, number 4"}]}]

    assert (
        ask(client, model, messages=parts, temperature=0).choices
        == ask(client, model, messages=QUESTION[1:], temperature=0).choices
    )


@pytest.mark.parametrize(
    ("options", "param", "words"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "not supported"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto"}, "tools", "not supported"),
        ({"functions": [{"name": "f"}]}, "tools", "not supported"),
        ({"tool_choice": "required"}, "tool_choice", "only allowed when 'tools' are specified"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "Expected a value <= 20, but got 21 instead."),
        ({"top_logprobs": 3}, "top_logprobs", "only allowed when 'logprobs' is enabled"),
        ({"logit_bias": {"1": 5}}, "logit_bias", "not supported"),
        ({"store": True}, "store", "keeps no answers"),
        ({"extra_body": {"top_k": 5}}, "top_k", "Unknown parameter: 'top_k'."),
        ({"temperature": 2.1}, "temperature", "decimal above maximum value. Expected a value <= 2, but got 2.1"),
        ({"extra_body": {"temperature": "hot"}}, "temperature", "expected a decimal, but got a string"),
        ({"top_p": -0.1}, "top_p", "decimal below minimum value. Expected a value >= 0, but got -0.1"),
        ({"n": 0}, "n", "integer below minimum value. Expected a value >= 1, but got 0 instead."),
        ({"n": 129}, "n", "Expected a value <= 128"),
        ({"max_tokens": 0}, "max_tokens", "Expected a value >= 1"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens", "at the same time"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "array too long. Expected an array with maximum length 4"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "only allowed when 'stream' is enabled"),
        ({"messages": []}, "messages", "empty array"),
        ({"messages": [1] * 50}, "messages[0]", "expected an object, but got an integer"),
        ({"messages": [1] * 3000}, "messages", "maximum length 2048, but got an array with length 3000"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}] * 2049}]},
            "messages[0].content",
            "maximum length 2048",
        ),
        ({"tools": [1] * 129}, "tools", "maximum length 128"),
        ({"functions": [1] * 129}, "functions", "maximum length 128"),
        ({"metadata": {str(n): 1 for n in range(17)}}, "metadata", "at most 16"),
        ({"stream_options": {str(n): 1 for n in range(65)}}, "stream_options", "at most 64 properties"),
        ({"response_format": {str(n): 1 for n in range(65)}}, "response_format", "at most 64 properties"),
        ({"messages": [{"role": "judge", "content": "x"}]}, "messages[0].role", "Supported values are: 'developer'"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "but got null instead"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages[0].role", "a preceding"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
            "messages[0].content",
            "'image_url' is not supported",
        ),
    ],
)
def test_what_is_not_offered_is_refused(client: OpenAI, options: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "baseline-text", **options)

    assert caught.value.param == param
    assert words in caught.value.message
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_half_a_surrogate_pair_is_an_invalid_role(server: ServerProcess) -> None:
    body = {"model": "baseline-text", "messages": [{"role": "\ud800", "content": "\ud800"}]}

    answer = server.request("POST", "/v1/chat/completions", body)

    assert (answer.status, answer.error["param"]) == (400, "messages[0].role")


def test_parameters_with_neutral_values_are_accepted(client: OpenAI) -> None:
    ask(
        client,
        "baseline-text",
        user="me",
        logprobs=False,
        presence_penalty=0,
        frequency_penalty=None,
        response_format={"type": "text"},
        tools=[{"type": "function", "function": {"name": "f"}}],
        tool_choice="none",
        functions=[{"name": "f"}],
        function_call="none",
        prediction={"type": "content", "content": "x"},
        seed=-1,
        parallel_tool_calls=True,
        temperature=None,
        stop=None,
        metadata={"a": "b"},
    )


def test_each_token_has_its_log_probability(client: OpenAI, model: str) -> None:
    choice = ask(client, model, temperature=0, logprobs=True, top_logprobs=3).choices[0]
    (first, *_) = tokens = choice.logprobs.content

    assert b"".join(bytes(token.bytes) for token in tokens).decode() == choice.message.content
    assert "".join(token.token for token in tokens) == choice.message.content
    assert choice.logprobs.refusal is None
    for token in tokens:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 3
        assert [other.logprob for other in token.top_logprobs] == sorted(
            (other.logprob for other in token.top_logprobs), reverse=True
        )
    assert first.token in {other.token for other in first.top_logprobs}
    bare = ask(client, model, temperature=0, logprobs=True).choices[0]
    assert [token.logprob for token in bare.logprobs.content] == [token.logprob for token in tokens]
    assert all(token.top_logprobs == [] for token in bare.logprobs.content)


def test_a_stream_has_the_log_probabilities_of_each_piece(client: OpenAI, model: str) -> None:
    options: Any = {"temperature": 0, "logprobs": True, "top_logprobs": 2}
    whole = ask(client, model, **options).choices[0]
    pieces = [chunk.choices[0] for chunk in ask(client, model, stream=True, **options)]

    told = [piece for piece in pieces if piece.logprobs]
    assert [token for piece in told for token in piece.logprobs.content] == whole.logprobs.content
    for piece in told:
        assert b"".join(bytes(token.bytes) for token in piece.logprobs.content).decode() == piece.delta.content


def test_stop_sequence_cuts_log_probabilities_with_the_text(client: OpenAI, model: str) -> None:
    choice = ask(client, model, temperature=0, logprobs=True, stop="bel").choices[0]

    assert choice.message.content == "la"
    assert bytes(choice.logprobs.content[0].bytes) == b"la"


def test_no_field_of_the_published_api_is_unknown(server: ServerProcess) -> None:
    schemas = document()["components"]["schemas"]

    def fields(schema: dict[str, Any]) -> set[str]:
        parts = [
            schemas[part["$ref"].rpartition("/")[2]] if "$ref" in part else part for part in schema.get("allOf", [])
        ]
        return set(schema.get("properties", ())).union(*map(fields, parts))

    known = fields(schemas["CreateChatCompletionRequest"])
    assert len(known) > 30
    for name in known:
        answer = server.request("POST", "/v1/chat/completions", {"model": "baseline-text", name: {"odd": 1}})
        assert answer.error["message"] != f"Unrecognized request argument supplied: {name}"


def test_a_completion_model_does_not_chat(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, "davinci-002")

    assert caught.value.body == {
        "message": "This is not a chat model and thus not supported in the v1/chat/completions endpoint. "
        "Did you mean to use v1/completions?",
        "type": "invalid_request_error",
        "param": "model",
        "code": None,
    }


def test_a_deleted_model_is_a_404(client: OpenAI) -> None:
    file = upload(client, example_lines(10))
    name = str(ended(client, client.fine_tuning.jobs.create(model="gpt-4o", training_file=file.id).id).fine_tuned_model)
    assert ask(client, name).choices
    client.models.delete(name)

    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, name)
    assert caught.value.code == "model_not_found"


def test_a_deleted_model_is_a_404_even_if_its_checkpoint_remains(client: OpenAI, server: ServerProcess) -> None:
    file = upload(client, example_lines(10))
    job = ended(client, client.fine_tuning.jobs.create(model="gpt-4o", training_file=file.id).id)
    name = str(job.fine_tuned_model)
    assert ask(client, name).choices
    (checkpoint,) = (server.data_directory / "jobs" / job.id).glob("epoch-0010")
    # Where it would be moved to, something is in the way.
    (checkpoint.with_name(f"deleted-{checkpoint.name}") / "left").mkdir(parents=True)
    client.models.delete(name)

    assert checkpoint.is_dir()
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, name)
    assert caught.value.code == "model_not_found"


def test_a_damaged_model_is_an_error_of_the_request_alone(client: OpenAI, server: ServerProcess) -> None:
    file = upload(client, example_lines(10))
    job = ended(client, client.fine_tuning.jobs.create(model="baseline-text", training_file=file.id).id)
    for path in (server.data_directory / "jobs" / job.id).glob("epoch-*/*"):
        path.write_bytes(b"damaged")

    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, str(job.fine_tuned_model))

    assert caught.value.code == "model_not_loadable"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert ask(client, "baseline-text").choices
