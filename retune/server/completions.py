"""`/v1/completions`: legacy completions of prompt and completion models, whole or as a stream."""

from collections.abc import Iterator, Sequence
from typing import Annotated, NamedTuple, TypedDict

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import BeforeValidator, FailFast, Field
from pydantic_core import PydanticCustomError

from retune.server import ids
from retune.server.api.request_bodies import at_most
from retune.server.errors import ApiError
from retune.server.generation.model_lookup import completion_model, in_model_thread
from retune.server.generation.sampling import SamplingRequest, refuse_fields
from retune.server.generation.streaming import (
    AnswerHead,
    LegacyLogprobs,
    answer_head,
    legacy_logprobs,
    pieces_of,
    stream_events,
    token_usage,
)
from retune.server.services import Services, ServicesOf, TokenUsage
from retune.trainers.base import Completion

_DEFAULT_MAX_TOKENS = 16
_MAX_ANSWERS = 2048
# Fields of the API that this server does not offer, with the values that ask for nothing.
_NOT_OFFERED: dict[str, tuple[object, ...]] = {
    "suffix": (None, ""),
}
router = APIRouter(prefix="/completions")


def _prompts(value: object) -> object:
    listed = value if isinstance(value, list) else ["" if value is None else value]
    if any(isinstance(item, int | list) for item in listed):
        raise PydanticCustomError(
            "unsupported_value", "prompts as tokens are not supported by this server; give them as text"
        )
    return listed


class CompletionRequest(SamplingRequest):
    """The body of POST /v1/completions; without a prompt, the completion starts from nothing."""

    prompt: Annotated[list[str], FailFast(), at_most(_MAX_ANSWERS, "prompts"), BeforeValidator(_prompts)] = Field(
        default_factory=lambda: [""], min_length=1
    )
    max_tokens: int | None = Field(None, ge=0)
    logprobs: int | None = Field(None, ge=0, le=5)
    echo: bool | None = None
    best_of: int | None = Field(None, ge=0, le=20)

    def refuse_what_is_not_offered(self) -> None:
        """Refuse what this server can't honour, rather than drop it silently.

        Raises:
            ApiError: 400.
        """
        refuse_fields(self.model_extra or {}, not_offered=_NOT_OFFERED)
        self.refuse_sampling_that_is_not_offered()
        # The published schema takes 0, which asks for nothing.
        if self.best_of not in (None, 0, self.n_answers):
            text = f"Invalid value for 'best_of': this server draws no more answers than it gives, {self.n_answers}."
            raise ApiError(400, text, param="best_of", code="unsupported_value")
        if self.echo and self.logprobs is not None:
            text = "'echo' together with 'logprobs' is not supported: this server's models give prompts no probability."
            raise ApiError(400, text, param="echo", code="unsupported_parameter")
        if len(self.prompt) * self.n_answers > _MAX_ANSWERS:
            text = f"Too many answers in one request: expected at most {_MAX_ANSWERS} prompts × n, but got "
            raise ApiError(400, f"{text}{len(self.prompt)} × {self.n_answers}.", param="prompt", code="invalid_value")

    @property
    def token_limit(self) -> int:
        """The maximum of tokens of an answer."""
        return _DEFAULT_MAX_TOKENS if self.max_tokens is None else self.max_tokens

    def echo_of(self, prompt: str) -> str:
        """What the text of a choice begins with."""
        # As the model read it: JSON can hold half of a surrogate pair, which no answer can.
        return prompt.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if self.echo else ""


class CompletedPrompt(NamedTuple):
    """One choice: what its text begins with, and the model's completion."""

    echo: str
    completion: Completion


class CompletionPart(TypedDict):
    """What a chunk adds to a choice."""

    text: str
    logprobs: LegacyLogprobs | None
    finish_reason: str | None


class CompletionChoice(CompletionPart):
    """One choice of an answer."""

    index: int


class TextCompletion(AnswerHead):
    """The `text_completion` object."""

    choices: list[CompletionChoice]
    usage: TokenUsage


def answer_completion(services: Services, request: CompletionRequest) -> TextCompletion:
    """Complete every prompt of a request, `n` times each.

    Returns:
        The `text_completion` object; whether the request asks for a stream plays no part.

    Raises:
        ApiError: What is asked for is not offered, or there is no such completion model.
    """
    completed = complete_prompts(services, request)
    return {
        **completion_head(services, request),
        "choices": [_choice(index, choice, request.logprobs) for index, choice in enumerate(completed)],
        "usage": completions_usage(completed, request),
    }


def complete_prompts(services: Services, request: CompletionRequest) -> list[CompletedPrompt]:
    """The model's completions, prompt by prompt; raises the errors of `answer_completion`."""
    request.refuse_what_is_not_offered()
    model = completion_model(services, request.model)
    completed = [
        CompletedPrompt(
            request.echo_of(prompt),
            request.complete(model, prompt, number, max_tokens=request.token_limit, top_logprobs=request.logprobs),
        )
        for prompt in request.prompt
        for number in range(request.n_answers)
    ]
    services.count_usage(completions_usage(completed, request))
    return completed


def completion_head(services: Services, request: CompletionRequest) -> AnswerHead:
    """What a whole answer and each chunk of a streamed one begin with."""
    return answer_head(services, request, ids.new_id("cmpl-"), "text_completion")


def completions_usage(completed: Sequence[CompletedPrompt], request: CompletionRequest) -> TokenUsage:
    """Usage of a whole request; each prompt counts once, however many answers it has."""
    prompt_tokens = sum(choice.completion.prompt_tokens for choice in completed[:: request.n_answers])
    return token_usage(prompt_tokens, sum(choice.completion.completion_tokens for choice in completed))


def _choice(index: int, choice: CompletedPrompt, top: int | None) -> CompletionChoice:
    answer = choice.completion
    logprobs = None if answer.logprobs is None else legacy_logprobs(answer.logprobs, offset=0, top=top or 0)
    text = choice.echo + answer.content
    return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": answer.finish_reason}


@router.post("")
async def create_completion(body: CompletionRequest, services: ServicesOf) -> Response:
    """Complete every prompt, `n` times each."""
    return await in_model_thread(_respond, body, services)


def _respond(body: CompletionRequest, services: Services) -> Response:
    if not body.stream:
        return JSONResponse(answer_completion(services, body))
    completed = complete_prompts(services, body)
    return stream_events(_chunks(completion_head(services, body), completed, body))


def _chunks(
    head: AnswerHead, completed: Sequence[CompletedPrompt], request: CompletionRequest
) -> Iterator[dict[str, object]]:
    usage = {"usage": None} if request.with_usage else {}
    for index, choice in enumerate(completed):
        for part in _parts(choice, request.logprobs or 0):
            yield {**head, "choices": [{"index": index, **part}], **usage}
    if request.with_usage:
        yield {**head, "choices": [], "usage": completions_usage(completed, request)}


def _parts(choice: CompletedPrompt, top: int) -> Iterator[CompletionPart]:
    if choice.echo:
        yield {"text": choice.echo, "logprobs": None, "finish_reason": None}
    answer, offset = choice.completion, 0
    for text, tokens in pieces_of(answer):
        logprobs = None if answer.logprobs is None else legacy_logprobs(tokens, offset=offset, top=top)
        yield {"text": text, "logprobs": logprobs, "finish_reason": None}
        offset += len(text)
    yield {"text": "", "logprobs": None, "finish_reason": answer.finish_reason}
