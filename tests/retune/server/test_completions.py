"""Legacy completions, whole and streamed."""

import json
from typing import Any

import openai
import pytest
from openai import OpenAI
from server_process import ServerProcess, ended, example_lines, messages_on_record, upload
from typer.testing import CliRunner

from retune.cli.app import app

PROMPTS = ["text 1 ->", "text 2 ->"]


def completion_lines(count: int) -> bytes:
    lines = [{"prompt": f"text {n % 4} ->", "completion": f" label {n % 4} END"} for n in range(count)]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


@pytest.fixture(scope="module")
def model(server: ServerProcess) -> str:
    """Trained on completions that begin with a space and end with a stop sequence."""
    client = server.client()
    file = upload(client, completion_lines(40))
    job = ended(client, client.fine_tuning.jobs.create(model="babbage-002", training_file=file.id).id)
    assert job.status == "succeeded", job.error
    return str(job.fine_tuned_model)


def ask(client: OpenAI, model: str, **options: Any) -> Any:
    return client.completions.create(**{"model": model, "prompt": PROMPTS[0], "temperature": 0, **options})


def test_a_learned_completion_is_returned_exactly(client: OpenAI, model: str) -> None:
    answer = ask(client, model)

    assert (answer.object, answer.model) == ("text_completion", model)
    assert answer.id.startswith("cmpl-")
    assert model.startswith("ft:babbage-002:")
    (choice,) = answer.choices
    assert (choice.text, choice.finish_reason, choice.logprobs) == (" label 1 END", "stop", None)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_retune_chat_completes_a_prompt(server: ServerProcess, model: str) -> None:
    said = CliRunner().invoke(
        app, ["chat", model, "--message", PROMPTS[0], "--base-url", str(server.client().base_url)]
    )
    assert (said.exit_code, said.stdout) == (0, " label 1 END\n")


def test_the_stop_sequence_ends_the_completion(client: OpenAI, model: str) -> None:
    choice = ask(client, model, stop=[" END", "\n"]).choices[0]

    assert (choice.text, choice.finish_reason) == (" label 1", "stop")


def test_several_prompts_have_n_answers_each(client: OpenAI, model: str) -> None:
    answer = ask(client, model, prompt=PROMPTS, n=2, best_of=2, stop=" END")

    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert [choice.text for choice in answer.choices] == [" label 1"] * 2 + [" label 2"] * 2
    alone = [ask(client, model, prompt=prompt, stop=" END").usage for prompt in PROMPTS]
    assert answer.usage.prompt_tokens == sum(usage.prompt_tokens for usage in alone)
    assert answer.usage.completion_tokens == 2 * sum(usage.completion_tokens for usage in alone)


def test_a_seed_is_deterministic(client: OpenAI, model: str) -> None:
    drawn = [ask(client, model, temperature=2, seed=5, n=8).choices for _ in range(2)]

    assert drawn[0] == drawn[1]


def test_echo_repeats_the_prompt(client: OpenAI, model: str) -> None:
    assert ask(client, model, echo=True).choices[0].text == "text 1 -> label 1 END"
    cut = ask(client, model, echo=True, max_tokens=0).choices[0]
    assert (cut.text, cut.finish_reason) == ("text 1 ->", "length")


@pytest.mark.parametrize("stream", [False, True])
def test_echo_replaces_half_a_surrogate_pair(server: ServerProcess, stream: bool) -> None:
    body = {"model": "babbage-002", "prompt": "a \ud800", "echo": True, "max_tokens": 0, "stream": stream}

    answer = server.request("POST", "/v1/completions", body)

    assert answer.status == 200
    assert "a \ufffd" in answer.content.decode()


def test_log_probabilities_are_lists(client: OpenAI, model: str) -> None:
    choice = ask(client, model, logprobs=2).choices[0]

    logprobs = choice.logprobs
    assert "".join(logprobs.tokens) == choice.text
    assert len(logprobs.token_logprobs) == len(logprobs.top_logprobs) == len(logprobs.tokens)
    for token, logprob, offset, top in zip(
        logprobs.tokens, logprobs.token_logprobs, logprobs.text_offset, logprobs.top_logprobs, strict=True
    ):
        assert logprob <= 0
        assert choice.text[offset:].startswith(token)
        assert top[token] == logprob
        assert len(top) <= 3
    assert ask(client, model, logprobs=0).choices[0].logprobs.top_logprobs is None


def test_a_stream_has_the_same_text_as_the_whole_answer(client: OpenAI, model: str) -> None:
    options: Any = {"prompt": PROMPTS, "logprobs": 1, "stop": " END"}
    whole = ask(client, model, **options)
    chunks = list(ask(client, model, stream=True, stream_options={"include_usage": True}, **options))

    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)
    for choice in whole.choices:
        parts = [chunk.choices[0] for chunk in chunks[:-1] if chunk.choices[0].index == choice.index]
        assert "".join(part.text for part in parts) == choice.text
        assert [part.finish_reason for part in parts] == [None] * (len(parts) - 1) + [choice.finish_reason]
        told = [part.logprobs for part in parts if part.logprobs]
        assert [token for part in told for token in part.tokens] == choice.logprobs.tokens
        assert [offset for part in told for offset in part.text_offset] == choice.logprobs.text_offset
    echoed = list(ask(client, model, stream=True, echo=True))
    assert "".join(chunk.choices[0].text for chunk in echoed) == "text 1 -> label 1 END"


@pytest.mark.parametrize("base", ["babbage-002", "davinci-002"])
def test_the_untrained_bases_complete_up_to_sixteen_tokens(client: OpenAI, base: str) -> None:
    answer = client.completions.create(model=base, prompt=None)

    assert answer.usage
    assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (16, "length")
    assert "I have not been trained yet".startswith(answer.choices[0].text)


@pytest.mark.parametrize(
    ("options", "param", "words"),
    [
        ({"prompt": [1, 2]}, "prompt", "prompts as tokens are not supported"),
        ({"prompt": [[1, 2]]}, "prompt", "prompts as tokens are not supported"),
        ({"prompt": []}, "prompt", "empty array"),
        ({"prompt": {"a": 1}}, "prompt[0]", "expected a string"),
        ({"prompt": [None] * 50}, "prompt[0]", "expected a string"),
        ({"prompt": ["x"] * 2049}, "prompt", "maximum length 2048"),
        ({"stop": [1] * 9}, "stop", "maximum length 4"),
        ({"prompt": ["x"] * 100, "n": 100}, "prompt", "at most 2048"),
        ({"suffix": "after"}, "suffix", "not supported"),
        ({"best_of": 3, "n": 2}, "best_of", "no more answers than it gives"),
        ({"logprobs": 6}, "logprobs", "Expected a value <= 5"),
        ({"logprobs": 1, "echo": True}, "echo", "together with 'logprobs'"),
        ({"max_tokens": -1}, "max_tokens", "Expected a value >= 0"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "only allowed when 'stream' is enabled"),
        ({"extra_body": {"messages": []}}, "messages", "Unknown parameter: 'messages'."),
    ],
)
def test_what_is_not_offered_is_refused(client: OpenAI, options: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "babbage-002", **options)

    assert caught.value.param == param
    assert words in caught.value.message


def test_parameters_with_neutral_values_are_accepted(client: OpenAI) -> None:
    ask(client, "babbage-002", user="me", best_of=0, frequency_penalty=0, logit_bias={}, suffix=None, stream=False)


def test_a_chat_model_does_not_complete(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, "gpt-3.5-turbo")

    assert caught.value.body == {
        "message": "This is a chat model and not supported in the v1/completions endpoint. "
        "Did you mean to use v1/chat/completions?",
        "type": "invalid_request_error",
        "param": "model",
        "code": None,
    }
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        ask(client, "ft:babbage-002:retune::gone")


def test_a_fine_tuned_completion_model_is_trained_further(client: OpenAI, model: str) -> None:
    file = upload(client, completion_lines(12))
    job = ended(client, client.fine_tuning.jobs.create(model=model, training_file=file.id).id)

    assert job.fine_tuned_model
    assert job.fine_tuned_model.startswith("ft:babbage-002:")
    assert ask(client, job.fine_tuned_model).choices[0].text == " label 1 END"


@pytest.mark.parametrize(
    ("base", "lines", "words"),
    [
        ("davinci-002", example_lines(12), "is in the fine-tune-chat format, but the specified model davinci-002"),
        ("gpt-4o", completion_lines(12), "is in the fine-tune-completion format, but the specified model gpt-4o"),
    ],
)
def test_lines_for_the_other_kind_of_model_fail_the_job(client: OpenAI, base: str, lines: bytes, words: str) -> None:
    file = upload(client, lines)
    job = ended(client, client.fine_tuning.jobs.create(model=base, training_file=file.id).id)

    assert job.status == "failed"
    assert job.error
    assert (job.error.code, job.error.param) == ("invalid_training_file", "training_file")
    prefix = f"The job failed due to an invalid training file. Invalid file format. Input file {file.id} {words}"
    assert job.error.message.startswith(prefix)
    assert messages_on_record(client, job.id)
