"""Chat completions without HTTP: the routes answer with them, and so do batches."""

from collections.abc import Sequence
from typing import Any

from retune.server import ids
from retune.server.chat import response_format
from retune.server.chat.answer_head import answer_head
from retune.server.chat.logprobs import chat_logprobs
from retune.server.chat.models import chat_model
from retune.server.chat.requests import ChatRequest
from retune.server.chat.response_format import AnswerFormat
from retune.server.chat.usage import token_usage
from retune.server.services import Services
from retune.trainers.base import Completion, LanguageModel

# Where chance draws the answers, another one may meet the format that the first one missed.
_DRAWS = 4


def answer_chat(services: Services, request: ChatRequest) -> dict[str, Any]:
    """Answer a conversation, `n` times.

    Returns:
        The `chat.completion` object; whether the request asks for a stream plays no part.

    Raises:
        ApiError: What is asked for is not offered, there is no such chat model, or its answer is not of the
            requested format. A model's refusal is an answer.
    """
    answers = draw_answers(services, request)
    return {
        **answer_head(services, request, ids.new_completion_id(), "chat.completion"),
        "choices": [_choice(index, answer) for index, answer in enumerate(answers)],
        "usage": answers_usage(answers),
    }


def draw_answers(services: Services, request: ChatRequest) -> Sequence[Completion]:
    """The model's `n` answers; raises as of `answer_chat`."""
    request.refuse_what_is_not_offered()
    wanted = request.response_format.answer_format() if request.response_format else None
    model = chat_model(services, request.model)
    if request.is_drawn:
        answers = [_draw(model, request, wanted, index) for index in range(request.n_answers)]
    else:
        answers = [_draw(model, request, wanted, 0)] * request.n_answers
    services.count_usage(answers_usage(answers))
    return answers


def answers_usage(answers: Sequence[Completion]) -> dict[str, Any]:
    """Usage of all answers to one conversation."""
    return token_usage(answers[0].prompt_tokens, sum(answer.completion_tokens for answer in answers))


def _draw(model: LanguageModel, request: ChatRequest, wanted: AnswerFormat | None, index: int) -> Completion:
    conversation, limit = request.conversation(), request.token_limit
    top_logprobs = (request.top_logprobs or 0) if request.logprobs else None
    refusal = None
    for attempt in range(_DRAWS if wanted and request.is_drawn else 1):
        number = index + attempt * request.n_answers
        answer = request.draw(model, conversation, number, max_tokens=limit, top_logprobs=top_logprobs, accepts=wanted)
        problem = wanted.problem_of(answer.content) if wanted else None
        if answer.is_refusal:
            return answer
        # An answer that the client's own limit cuts is passed on: its finish reason says what it is.
        if problem is None or (answer.finish_reason == "length" and limit is not None):
            return answer
        refusal = refusal or response_format.not_met(answer.content, problem)
    assert refusal  # noqa: S101  # there was at least one draw, and none was passed on
    raise refusal


def _choice(index: int, answer: Completion) -> dict[str, Any]:
    said = (
        {"content": None, "refusal": answer.content}
        if answer.is_refusal
        else {"content": answer.content, "refusal": None}
    )
    message: dict[str, Any] = {"role": "assistant", **said, "annotations": []}
    logprobs = None if answer.logprobs is None else chat_logprobs(answer.logprobs, of_refusal=answer.is_refusal)
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": answer.finish_reason}
