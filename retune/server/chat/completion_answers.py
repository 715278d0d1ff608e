"""Legacy completions without HTTP: the routes answer with them, and so do batches."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from retune.server import ids
from retune.server.chat.answer_head import answer_head
from retune.server.chat.completion_requests import CompletionRequest
from retune.server.chat.logprobs import legacy_logprobs
from retune.server.chat.models import completion_model
from retune.server.chat.usage import token_usage
from retune.server.services import Services
from retune.trainers.base import Completion


class CompletedPrompt(NamedTuple):
    """One choice: what its text begins with, and the model's completion."""

    echo: str
    completion: Completion


def answer_completion(services: Services, request: CompletionRequest) -> dict[str, Any]:
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
    """The model's completions, prompt by prompt; raises as of `answer_completion`."""
    request.refuse_what_is_not_offered()
    model = completion_model(services, request.model)
    completed = [
        CompletedPrompt(
            request.echo_of(prompt),
            request.draw(model, prompt, number, max_tokens=request.token_limit, top_logprobs=request.logprobs),
        )
        for prompt in request.prompt
        for number in range(request.n_answers)
    ]
    services.count_usage(completions_usage(completed, request))
    return completed


def completion_head(services: Services, request: CompletionRequest) -> dict[str, Any]:
    """What a whole answer and each chunk of a streamed one begin with."""
    return answer_head(services, request, ids.new_legacy_completion_id(), "text_completion")


def completions_usage(completed: Sequence[CompletedPrompt], request: CompletionRequest) -> dict[str, Any]:
    """Usage of a whole request; each prompt counts once, however many answers it has."""
    prompt_tokens = sum(choice.completion.prompt_tokens for choice in completed[:: request.n_answers])
    return token_usage(prompt_tokens, sum(choice.completion.completion_tokens for choice in completed))


def _choice(index: int, choice: CompletedPrompt, top: int | None) -> dict[str, Any]:
    answer = choice.completion
    logprobs = None if answer.logprobs is None else legacy_logprobs(answer.logprobs, offset=0, top=top or 0)
    text = choice.echo + answer.content
    return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": answer.finish_reason}
