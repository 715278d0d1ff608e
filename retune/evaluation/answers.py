"""Asking a model every test example, several at once."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import openai
from openai.types import Completion, CompletionChoice
from openai.types.chat import ChatCompletion

from retune.errors import RetuneError
from retune.evaluation.answers_file import AnswersFile, request_key
from retune.evaluation.examples import Answer, EvaluationExample
from retune.evaluation.request_errors import (
    RequestFailedError,
    concerns_every_request,
    describe_failure,
    refuses_parameter,
)
from retune.provider.errors import explain, is_transient, retry_after_seconds
from retune.training_lines.keys import JsonObject

_SAME_FAILURES_UNTIL_GIVING_UP = 3

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and after which pauses, a transient failure is tried again.

    Attributes:
        attempts: Requests for one example, the first included.
        first_pause_seconds: Pause before the second request; it doubles from there.
        longest_pause_seconds: Longest pause of our own choice.
        longest_retry_after_seconds: Longest pause that the server may ask for; beyond it the example is given up.
    """

    attempts: int = 6
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 30.0
    longest_retry_after_seconds: float = 120.0

    def pause_seconds(self, error: openai.OpenAIError, attempt: int) -> float | None:
        """Pause before the next request; None where there must be none.

        Jitter spreads the requests that one overload refused at the same moment.
        """
        if attempt >= self.attempts or not is_transient(error):
            return None
        if asked_for := retry_after_seconds(error):
            jitter = random.uniform(0, self.first_pause_seconds)  # noqa: S311 - no secret
            return asked_for + jitter if asked_for <= self.longest_retry_after_seconds else None
        steady = min(self.first_pause_seconds * 2.0 ** (attempt - 1), self.longest_pause_seconds)
        return steady * random.uniform(0.75, 1.0)  # noqa: S311 - no secret


async def answer_examples(
    client: openai.AsyncOpenAI,
    model: str,
    examples: Sequence[EvaluationExample],
    *,
    concurrency: int = 8,
    max_tokens: int = 512,
    temperature: float = 0.0,
    seed: int | None = None,
    answers_path: Path | None = None,
    on_progress: OnProgress | None = None,
    retry: RetryPolicy = RetryPolicy(),
) -> list[Answer]:
    """Ask a model all examples, through chat completions or, where it completes prompts, through completions.

    Transient failures are tried again. What concerns one example becomes that answer's `error`. Where the first few
    requests all fail the same way and none is answered (no such model, say), the rest is not asked and carries the
    same error. Every answer is appended to `answers_path` as it comes, and a rerun asks only for what is missing
    there; errors are not kept.

    Args:
        client: With `max_retries=0`: the retries are made here.
        model: The model's name.
        examples: What to ask.
        concurrency: Requests under way at once.
        max_tokens: Longest answer, in tokens.
        temperature: Sampling temperature.
        seed: Sampling seed; None sends none.
        answers_path: JSONL file of finished answers; None keeps none.
        on_progress: Called with how many are done and how many there are, after each.
        retry: Attempts and pauses.

    Returns:
        One answer an example, in the order of `examples`.

    Raises:
        ProviderError: What concerns every request: nothing answers, the key is refused, the credit is used up.
        RunDirectoryError: `answers_path` can't be used.
    """
    settings = {"model": model, "temperature": temperature, **({} if seed is None else {"seed": seed})}
    with AnswersFile(answers_path) as kept:
        questioning = _Questioning(client, settings, max_tokens, kept, retry)
        return await questioning.ask_all(examples, concurrency, on_progress or (lambda _done, _total: None))


class _Questioning:
    """What the requests to one model share while they are under way."""

    def __init__(
        self,
        client: openai.AsyncOpenAI,
        settings: JsonObject,
        max_tokens: int,
        kept: AnswersFile,
        retry: RetryPolicy,
    ) -> None:
        self._client = client
        self._settings = settings
        self._max_tokens = max_tokens
        self._limit_parameter = "max_completion_tokens"
        self._kept = kept
        self._retry = retry
        self._has_answered = False
        self._failures: Counter[str] = Counter()
        self._given_up: str | None = None

    async def ask_all(
        self, examples: Sequence[EvaluationExample], concurrency: int, on_progress: OnProgress
    ) -> list[Answer]:
        answers = self._kept_answers(examples)
        on_progress(len(answers), len(examples))
        missing = iter([position for position in range(len(examples)) if position not in answers])

        async def work(positions: Iterator[int]) -> None:
            # All workers draw from the one iterator, so each position is asked once.
            for position in positions:
                answers[position] = await self._answer(examples[position])
                on_progress(len(answers), len(examples))

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(concurrency, len(examples))):
                    workers.create_task(work(missing))
        except ExceptionGroup as failures:
            # One failure concerns them all; the others only repeat it.
            raise failures.exceptions[0] from None
        return [answers[position] for position in range(len(examples))]

    def _kept_answers(self, examples: Sequence[EvaluationExample]) -> dict[int, Answer]:
        found = {position: self._kept.find(self._key(example), example) for position, example in enumerate(examples)}
        kept = {position: answer for position, answer in found.items() if answer is not None}
        self._has_answered = bool(kept)
        return kept

    def _key(self, example: EvaluationExample) -> str:
        asked = {"prompt": example.prompt[0]["content"]} if example.completes else {"messages": example.prompt}
        return request_key({**self._settings, "max_tokens": self._max_tokens, **asked})

    async def _answer(self, example: EvaluationExample) -> Answer:
        if self._given_up:
            return _unanswered(example, self._given_up, asked=False)
        try:
            completion, latency = await self._ask_persistently(example)
        except RequestFailedError as failure:
            self._count_failure(failure)
            return _unanswered(example, failure.text)
        answer = _answer_from(completion, example, latency)
        self._has_answered = True
        self._kept.append(self._key(example), self._settings["model"], answer)
        return answer

    def _count_failure(self, failure: RequestFailedError) -> None:
        self._failures[failure.kind] += 1
        if self._has_answered and not failure.model_is_missing:
            return
        if self._failures[failure.kind] >= _SAME_FAILURES_UNTIL_GIVING_UP:
            self._given_up = failure.text

    async def _ask_persistently(self, example: EvaluationExample) -> tuple[ChatCompletion | Completion, float]:
        attempt = 1
        while True:
            started = time.perf_counter()
            try:
                completion = await self._ask(example)
            except openai.OpenAIError as error:
                pause = self._retry.pause_seconds(error, attempt)
                if pause is None:
                    raise self._failure(error) from error
            except (json.JSONDecodeError, UnicodeEncodeError) as error:
                # The SDK lets both through: a host's 200 with a body that is not JSON, half a character in the prompt.
                raise self._failure(error) from error
            else:
                return completion, time.perf_counter() - started
            await asyncio.sleep(pause)
            attempt += 1

    def _failure(self, error: Exception) -> RetuneError | RequestFailedError:
        if isinstance(error, openai.OpenAIError) and concerns_every_request(error):
            return explain(error, f"asking {self._settings['model']}")
        return describe_failure(error, secret=self._client.api_key)

    async def _ask(self, example: EvaluationExample) -> ChatCompletion | Completion:
        if example.completes:
            return await self._complete(example)
        parameter = self._limit_parameter
        try:
            completion = await self._create(example, parameter)
        except openai.APIStatusError as error:
            if parameter == "max_tokens" or not refuses_parameter(error, parameter):
                raise
            self._limit_parameter = "max_tokens"
            completion = await self._create(example, "max_tokens")
        if not isinstance(completion, ChatCompletion) or not completion.choices:
            raise openai.OpenAIError("The host's answer is not a chat completion.")
        return completion

    async def _complete(self, example: EvaluationExample) -> Completion:
        request: JsonObject = {**self._settings, "prompt": example.prompt[0]["content"]}
        if example.stop is not None:
            request["stop"] = [example.stop]
        completion = await self._client.completions.create(**request, max_tokens=self._max_tokens)
        if not isinstance(completion, Completion) or not completion.choices:
            raise openai.OpenAIError("The host's answer is not a completion.")
        return completion

    async def _create(self, example: EvaluationExample, limit_parameter: str) -> object:
        request: JsonObject = {**self._settings, "messages": example.prompt, limit_parameter: self._max_tokens}
        return await self._client.chat.completions.create(**request)


def _unanswered(example: EvaluationExample, error: str, *, asked: bool = True) -> Answer:
    return Answer(index=example.index, prompt=example.prompt, expected=example.expected, error=error, asked=asked)


def _answer_from(completion: ChatCompletion | Completion, example: EvaluationExample, latency_seconds: float) -> Answer:
    choice = completion.choices[0]
    refusal: str | None = None
    if isinstance(choice, CompletionChoice):
        content: str | None = choice.text
    else:
        message = choice.message
        # Some hosts leave an empty text beside a refusal.
        refusal = message.refusal if message and not message.content else None
        content = refusal or (message.content if message else None)
    usage = completion.usage
    return Answer(
        index=example.index,
        prompt=example.prompt,
        expected=example.expected,
        content=content,
        refused=bool(refusal),
        error=None if content is not None else f"The answer holds no text (finish_reason: {choice.finish_reason}).",
        latency_seconds=latency_seconds,
        prompt_tokens=usage.prompt_tokens if usage else None,
        completion_tokens=usage.completion_tokens if usage else None,
        finish_reason=choice.finish_reason,
    )
