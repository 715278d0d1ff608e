"""`/v1/chat/completions`: answers of base models, fine-tuned models and their checkpoints, whole or as a stream.

Batches call `answer_chat` directly.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, NotRequired, TypedDict

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from retune.server import ids
from retune.server.chat.requests import ChatRequest
from retune.server.generation.answers import GeneratedAnswer, answers_usage, generate_answers
from retune.server.generation.model_lookup import in_model_thread
from retune.server.generation.streaming import AnswerHead, ChatLogprobs, answer_head, chat_logprobs, stream_events
from retune.server.generation.tools import Calling
from retune.server.services import Services, ServicesOf, TokenUsage

router = APIRouter(prefix="/chat")


class ToolCall(TypedDict):
    """A call of a function."""

    id: str
    type: Literal["function"]
    function: dict[str, str]


class ChatMessage(TypedDict):
    """What the model says; `function_call` is the older form of `tool_calls`."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    annotations: list[object]
    function_call: NotRequired[dict[str, str]]
    tool_calls: NotRequired[list[ToolCall]]


class ChatChoice(TypedDict):
    """One of the answers."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: str


class ChatCompletion(AnswerHead):
    """The `chat.completion` object."""

    choices: list[ChatChoice]
    usage: TokenUsage
    service_tier: Literal["default"]


def answer_chat(services: Services, request: ChatRequest) -> ChatCompletion:
    """Answer a conversation, `n` times.

    Returns:
        The `chat.completion` object; whether the request asks for a stream plays no part.

    Raises:
        ApiError: What is asked for is not offered, there is no such chat model, or its answer is not what the request
            wants. A model's refusal is an answer.
    """
    calling, answers = _ask(services, request)
    return {
        **answer_head(services, request, ids.new_id("chatcmpl-"), "chat.completion"),
        "choices": [_choice(index, answer, calling) for index, answer in enumerate(answers)],
        "usage": answers_usage(answers),
        "service_tier": "default",
    }


def stream_chat(services: Services, request: ChatRequest) -> Iterator[Mapping[str, object]]:
    """Answer a conversation, `n` times, as the chunks of a stream.

    The whole answer is there before its first chunk: whatever fails, fails with a status of its own.

    Raises:
        ApiError: As `answer_chat`.
    """
    calling, answers = _ask(services, request)
    head = answer_head(services, request, ids.new_id("chatcmpl-"), "chat.completion.chunk")
    return _chunks({**head, "service_tier": "default"}, answers, calling, with_usage=request.with_usage)


def _ask(services: Services, request: ChatRequest) -> tuple[Calling | None, list[GeneratedAnswer]]:
    request.refuse_what_is_not_offered()
    calling = request.calling()
    return calling, generate_answers(services, request.answer_request(calling))


def _choice(index: int, answer: GeneratedAnswer, calling: Calling | None) -> ChatChoice:
    message: ChatMessage = {
        "role": "assistant",
        "content": answer.content,
        "refusal": answer.refusal,
        "annotations": [],
    }
    if calling and answer.calls:
        functions = [{"name": call.name, "arguments": answer.arguments(call)} for call in answer.calls]
        if calling.is_legacy:
            message["function_call"] = functions[0]
        else:
            message["tool_calls"] = [_tool_call(function) for function in functions]
    # Only the tokens of the content have them; the service returns none for calls.
    tokens = () if answer.calls else answer.completion.logprobs or ()
    logprobs = chat_logprobs(tokens, of_refusal=answer.refusal is not None) if tokens else None
    finish_reason = _finish_reason(answer, calling)
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason}


def _tool_call(function: dict[str, str]) -> ToolCall:
    return {"id": ids.new_id("call_"), "type": "function", "function": function}


def _finish_reason(answer: GeneratedAnswer, calling: Calling | None) -> str:
    reason = answer.completion.finish_reason
    # A call that the request names itself ends with `stop`, as recorded of the service.
    if reason == "length" or not answer.calls or calling is None or calling.is_named:
        return reason
    return "function_call" if calling.is_legacy else "tool_calls"


def _chunks(
    head: Mapping[str, object], answers: list[GeneratedAnswer], calling: Calling | None, *, with_usage: bool
) -> Iterator[Mapping[str, object]]:
    usage = {"usage": None} if with_usage else {}
    for index, answer in enumerate(answers):
        for delta, logprobs in _deltas(answer, calling):
            choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}
            yield {**head, "choices": [choice], **usage}
        end = {"index": index, "delta": {}, "logprobs": None, "finish_reason": _finish_reason(answer, calling)}
        yield {**head, "choices": [end], **usage}
    if with_usage:
        yield {**head, "choices": [], "usage": answers_usage(answers)}


def _deltas(
    answer: GeneratedAnswer, calling: Calling | None
) -> Iterator[tuple[dict[str, object], ChatLogprobs | None]]:
    """What each chunk adds to an answer, and the log-probabilities of that."""
    beginning: dict[str, object] = {"role": "assistant", "content": None, "refusal": None}
    is_refusal = answer.refusal is not None
    said = "refusal" if is_refusal else "content"
    yield beginning if answer.text is None else {**beginning, said: ""}, None
    has_logprobs = answer.completion.logprobs is not None and not answer.calls
    for text, tokens in answer.pieces():
        yield {said: text}, chat_logprobs(tokens, of_refusal=is_refusal) if has_logprobs else None
    for index, call in enumerate(answer.calls):
        begun = {"name": call.name, "arguments": ""}
        is_legacy = calling is not None and calling.is_legacy
        yield (
            {"function_call": begun} if is_legacy else {"tool_calls": [{"index": index, **_tool_call(begun)}]},
            None,
        )
        for text in answer.argument_pieces(call):
            piece = {"arguments": text}
            yield {"function_call": piece} if is_legacy else {"tool_calls": [{"index": index, "function": piece}]}, None


@router.post("/completions")
async def create_chat_completion(body: ChatRequest, services: ServicesOf) -> Response:
    """Answer a conversation, `n` times."""
    return await in_model_thread(_respond, body, services)


def _respond(body: ChatRequest, services: Services) -> Response:
    return stream_events(stream_chat(services, body)) if body.stream else JSONResponse(answer_chat(services, body))
