"""Asking models, with the real SDK against a real HTTP server."""

from pathlib import Path
from typing import Any

import openai
import pytest
from chat_host import QUICK, Host, completion, failure, questions
from fastapi import Response

from retune.errors import (
    AuthenticationFailedError,
    ProviderError,
    ProviderUnreachableError,
    QuotaExceededError,
)
from retune.evaluation.answers import RetryPolicy, answer_examples
from retune.evaluation.examples import EvaluationExample


async def test_answers_come_in_the_order_of_the_examples(host: Host, client: openai.AsyncOpenAI) -> None:
    progress = []

    answers = await answer_examples(
        client, "ft:m::1", questions(20), on_progress=lambda done, total: progress.append((done, total))
    )

    assert [answer.content for answer in answers] == [f"answer to question {i}" for i in range(20)]
    assert [answer.index for answer in answers] == list(range(20))
    assert answers[7].expected == "expected 7"
    assert (answers[7].prompt_tokens, answers[7].completion_tokens, answers[7].finish_reason) == (11, 3, "stop")
    assert answers[7].latency_seconds is not None
    assert answers[7].latency_seconds > 0
    assert progress == [(done, 20) for done in range(21)]


async def test_the_request_carries_the_settings(host: Host, client: openai.AsyncOpenAI) -> None:
    await answer_examples(client, "ft:m::1", questions(1), max_tokens=77, temperature=0.25, seed=5)
    await answer_examples(client, "ft:m::1", questions(1))

    with_seed, without_seed = host.requests
    assert with_seed == {
        "model": "ft:m::1",
        "messages": [{"role": "user", "content": "question 0"}],
        "max_completion_tokens": 77,
        "temperature": 0.25,
        "seed": 5,
    }
    assert "seed" not in without_seed


async def test_no_more_requests_are_under_way_than_allowed(host: Host, client: openai.AsyncOpenAI) -> None:
    host.delay_seconds = 0.02

    await answer_examples(client, "m", questions(12), concurrency=3)

    assert 1 < host.most_at_once <= 3


async def test_no_examples_send_no_requests(host: Host, client: openai.AsyncOpenAI) -> None:
    assert await answer_examples(client, "m", []) == []
    assert host.requests == []


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
async def test_transient_failures_are_tried_again(host: Host, client: openai.AsyncOpenAI, status: int) -> None:
    host.behave = lambda _body, attempt: completion("fine") if attempt == 3 else failure(status, "later")

    answers = await answer_examples(client, "m", questions(2), retry=QUICK)

    assert [answer.content for answer in answers] == ["fine", "fine"]
    assert len(host.requests) == 6


async def test_a_timeout_is_tried_again_and_then_becomes_the_examples_error(
    host: Host, client: openai.AsyncOpenAI
) -> None:
    host.delay_seconds = 0.3

    answers = await answer_examples(
        client.with_options(timeout=0.05), "m", questions(1), retry=RetryPolicy(attempts=2, first_pause_seconds=0.001)
    )

    assert answers[0].content is None
    assert answers[0].error == "The host did not answer in time."
    assert answers[0].latency_seconds is None


async def test_the_pause_that_the_server_asks_for_is_kept(host: Host, client: openai.AsyncOpenAI) -> None:
    asked_at_most = RetryPolicy(attempts=5, first_pause_seconds=0.001, longest_retry_after_seconds=60)
    host.behave = lambda _body, _attempt: failure(429, "come back tomorrow", retry_after="86400")

    answers = await answer_examples(client, "m", questions(1), retry=asked_at_most)

    assert answers[0].error == "429: come back tomorrow"
    assert len(host.requests) == 1


def status_error(status: int, **headers: str) -> openai.APIStatusError:
    import httpx2

    request = httpx2.Request("POST", "http://127.0.0.1/v1/chat/completions")
    response = httpx2.Response(status, headers=headers, request=request)
    return openai.APIStatusError("no", response=response, body=None)


def test_pauses_grow_and_stay_bounded() -> None:
    policy = RetryPolicy(attempts=10, first_pause_seconds=1, longest_pause_seconds=8)
    pauses = [policy.pause_seconds(status_error(500), attempt) for attempt in range(1, 11)]

    assert pauses[-1] is None
    for pause, longest in zip(pauses, [1, 2, 4, 8, 8, 8, 8, 8, 8], strict=False):
        assert pause is not None
        assert 0.75 * longest <= pause <= longest


def test_the_server_says_how_long_to_pause() -> None:
    policy = RetryPolicy(first_pause_seconds=0.5)
    told = policy.pause_seconds(status_error(429, **{"retry-after": "7"}), 1)

    assert told is not None
    assert 7 <= told <= 7.5
    assert policy.pause_seconds(status_error(503, **{"x-should-retry": "false"}), 1) is None
    assert policy.pause_seconds(status_error(400), 1) is None


async def test_a_permanent_error_stays_with_its_example(host: Host, client: openai.AsyncOpenAI) -> None:
    def behave(body: dict[str, Any], _attempt: int) -> Response:
        if "question 1" in str(body):
            return failure(400, "The prompt\nwas   flagged.", code="content_filter")
        return completion("fine")

    host.behave = behave
    answers = await answer_examples(client, "m", questions(3), retry=QUICK)

    assert [answer.content for answer in answers] == ["fine", None, "fine"]
    assert answers[1].error == "400 content_filter: The prompt was flagged."
    assert len(host.requests) == 3


async def test_a_model_that_is_missing_is_not_asked_a_thousand_times(host: Host, client: openai.AsyncOpenAI) -> None:
    message = "The model `gone` does not exist or you do not have access to it."
    host.behave = lambda _body, _attempt: failure(404, message, code="model_not_found")

    answers = await answer_examples(client, "gone", questions(1000), concurrency=8)

    assert {answer.error for answer in answers} == {f"404 model_not_found: {message}"}
    assert len(host.requests) <= 3 + 8
    assert sum(answer.asked for answer in answers) == len(host.requests)


async def test_model_without_access_does_not_stop_the_evaluation(host: Host, client: openai.AsyncOpenAI) -> None:
    host.behave = lambda _body, _attempt: failure(403, "Project has no access to model `m`", code="model_not_found")

    answers = await answer_examples(client, "m", questions(2))

    assert [answer.error for answer in answers] == ["403 model_not_found: Project has no access to model `m`"] * 2


async def test_many_alike_errors_do_not_stop_a_model_that_answers(host: Host, client: openai.AsyncOpenAI) -> None:
    host.behave = lambda body, _attempt: completion("fine") if "question 0" in str(body) else failure(400, "flagged")

    answers = await answer_examples(client, "m", questions(30), concurrency=1)

    assert answers[0].content == "fine"
    assert len(host.requests) == 30


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        ((401, "invalid_api_key"), AuthenticationFailedError),
        ((403, "unsupported_country_region_territory"), ProviderError),
        ((429, "insufficient_quota"), QuotaExceededError),
    ],
)
async def test_error_of_all_requests_stops_the_evaluation(
    host: Host, client: openai.AsyncOpenAI, refusal: tuple[int, str], expected: Any
) -> None:
    status, code = refusal
    host.behave = lambda _body, _attempt: failure(status, "no", code=code)

    with pytest.raises(expected):
        await answer_examples(client, "m", questions(100), concurrency=2, retry=QUICK)

    assert len(host.requests) <= 2


async def test_unreachable_host_is_an_error(unused_port: int) -> None:
    client = openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{unused_port}/v1", api_key="k", max_retries=0)
    async with client:
        with pytest.raises(ProviderUnreachableError, match=r"127\.0\.0\.1"):
            await answer_examples(client, "m", questions(3), retry=QUICK)


async def test_hosts_that_only_know_max_tokens(host: Host, client: openai.AsyncOpenAI) -> None:
    def behave(body: dict[str, Any], _attempt: int) -> Response:
        if "max_completion_tokens" in body:
            return failure(400, "Unrecognized request argument: max_completion_tokens", param="max_completion_tokens")
        return completion(str(body["max_tokens"]))

    host.behave = behave
    answers = await answer_examples(client, "m", questions(10), concurrency=4, max_tokens=9)

    assert {answer.content for answer in answers} == {"9"}
    assert sum("max_completion_tokens" in body for body in host.requests) <= 4


async def test_refusals_and_answers_without_text(host: Host, client: openai.AsyncOpenAI) -> None:
    refusals = {"question 0": "I'd\nrather not.", "question 1": None}
    host.behave = lambda body, _attempt: completion(None, refusal=refusals[body["messages"][-1]["content"]])

    refused, empty = await answer_examples(client, "m", questions(2))

    assert (refused.content, refused.refused, refused.error) == ("I'd\nrather not.", True, None)
    assert refused.shown == "(refused) I'd\nrather not."
    assert (empty.content, empty.error) == (None, "The answer holds no text (finish_reason: stop).")
    assert refused.completion_tokens == 3


@pytest.mark.parametrize(
    "response",
    [
        Response("<html>welcome</html>", media_type="text/html"),
        Response("not json", media_type="application/json"),
        Response("", media_type="application/json"),
        Response('{"object":"chat.completion","choices":[]}', media_type="application/json"),
        Response('{"detail":"fine"}', media_type="application/json"),
    ],
    ids=["html", "no json", "nothing", "no choices", "another object"],
)
async def test_an_answer_that_is_no_completion_is_an_error_of_the_example(
    host: Host, client: openai.AsyncOpenAI, response: Response
) -> None:
    host.behave = lambda _body, _attempt: response

    answers = await answer_examples(client, "m", questions(1), retry=QUICK)

    assert answers[0].content is None
    assert answers[0].error is not None
    assert answers[0].error.startswith("The host's answer could not be understood")
    assert len(host.requests) == 1


async def test_half_a_character_in_a_prompt_is_that_examples_error(
    host: Host, client: openai.AsyncOpenAI, tmp_path: Path
) -> None:
    broken = EvaluationExample(index=0, prompt=[{"role": "user", "content": "half \ud83d"}], expected="x")

    bad, good = await answer_examples(client, "m", [broken, *questions(1)], answers_path=tmp_path / "answers.jsonl")

    assert bad.error is not None
    assert "half a character" in bad.error
    assert good.content == "answer to question 0"


async def test_the_api_key_never_shows_in_an_error(host: Host, client: openai.AsyncOpenAI, tmp_path: Path) -> None:
    host.behave = lambda _body, _attempt: failure(400, "request by sk-secret-key was bad")

    answers = await answer_examples(client, "m", questions(1), answers_path=tmp_path / "answers.jsonl")

    assert answers[0].error == "400: request by [API key] was bad"
