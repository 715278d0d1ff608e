"""Responses without HTTP, whole and as the typed events of a stream: routes use them, and so do batches."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from retune.server import ids
from retune.server.generation.answers import GeneratedAnswer, answers_usage, generate_answers
from retune.server.generation.streaming import ChatToken, LikelyToken, chat_logprobs
from retune.server.responses.requests import FunctionTool, ResponseRequest
from retune.server.services import Services, TokenUsage
from retune.trainers.base import TokenLogprob
from retune.training_lines.keys import JsonObject

Event = dict[str, object]


class TextPart(TypedDict):
    """A part of a message that is text."""

    type: Literal["output_text"]
    annotations: list[object]
    logprobs: list[ChatToken]
    text: str


class RefusalPart(TypedDict):
    """The only part of a message that refuses."""

    type: Literal["refusal"]
    refusal: str


class MessageItem(TypedDict):
    """What the model says."""

    id: str
    type: Literal["message"]
    status: str
    role: Literal["assistant"]
    content: list[TextPart | RefusalPart]


class CallItem(TypedDict):
    """A call of a function."""

    id: str
    type: Literal["function_call"]
    status: str
    call_id: str
    name: str
    arguments: str


class ResponseUsage(TypedDict):
    """`usage` of a response."""

    input_tokens: int
    input_tokens_details: dict[str, int]
    output_tokens: int
    output_tokens_details: dict[str, int]
    total_tokens: int


class EchoedSettings(TypedDict):
    """What a response repeats of its request, with the values that took effect."""

    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: None
    metadata: dict[str, str]
    model: str
    parallel_tool_calls: bool
    previous_response_id: None
    prompt_cache_key: None
    reasoning: dict[str, None]
    safety_identifier: str | None
    service_tier: Literal["default"]
    store: bool
    temperature: float
    text: JsonObject
    tool_choice: str | JsonObject
    tools: list[JsonObject]
    top_logprobs: int
    top_p: float
    truncation: str
    user: str | None


class ResponseObject(EchoedSettings):
    """The `response` object."""

    id: str
    object: Literal["response"]
    created_at: int
    status: str
    background: bool
    completed_at: int | None
    error: None
    incomplete_details: dict[str, str] | None
    output: list[MessageItem | CallItem]
    usage: ResponseUsage


@dataclass(frozen=True, slots=True)
class AnsweredResponse:
    """A response and the answer that it was made of.

    Attributes:
        response: The `response` object.
        answer: What it was made of; its items are in the order of the output.
    """

    response: ResponseObject
    answer: GeneratedAnswer


def answer_response(services: Services, request: ResponseRequest) -> ResponseObject:
    """Answer a request.

    Returns:
        The `response` object; whether the request asks for a stream plays no part.

    Raises:
        ApiError: What is asked for is not offered, there is no such chat model, or its answer is not what the request
            wants.
    """
    return respond(services, request).response


def respond(services: Services, request: ResponseRequest) -> AnsweredResponse:
    """Answer a request; raises the errors of `answer_response`."""
    began = int(time.time())
    answers = generate_answers(services, request.answer_request())
    answer = answers[0]
    is_cut = answer.completion.finish_reason == "length"
    status = "incomplete" if is_cut else "completed"
    response: ResponseObject = {
        "id": ids.new_id("resp_"),
        "object": "response",
        "created_at": began,
        "status": status,
        "background": False,
        "completed_at": None if is_cut else int(time.time()),
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        **_echoed_settings(request),
        "output": output_items(answer, status),
        "usage": _usage(answers_usage(answers)),
    }
    return AnsweredResponse(response, answer)


def output_items(answer: GeneratedAnswer, status: str) -> list[MessageItem | CallItem]:
    """The items of a response: the message, where it says something, and its calls."""
    items: list[MessageItem | CallItem] = []
    if answer.text is not None:
        if answer.refusal is not None:
            part: TextPart | RefusalPart = {"type": "refusal", "refusal": answer.refusal}
        else:
            # Of the text alone: the calls after it are other items.
            part = text_part(answer.text, tuple(token for _, tokens in answer.pieces() for token in tokens))
        message: MessageItem = {
            "id": ids.new_id("msg_"),
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": [part],
        }
        items.append(message)
    for call in answer.calls:
        called: CallItem = {
            "id": ids.new_id("fc_"),
            "type": "function_call",
            "status": status,
            "call_id": ids.new_id("call_"),
            "name": call.name,
            "arguments": answer.arguments(call),
        }
        items.append(called)
    return items


def text_part(text: str, tokens: Sequence[TokenLogprob]) -> TextPart:
    """A part of a message."""
    return {"type": "output_text", "annotations": [], "logprobs": text_logprobs(tokens), "text": text}


def text_logprobs(tokens: Sequence[TokenLogprob]) -> list[ChatToken]:
    """Log-probabilities of tokens; what has no bytes has an empty list of them."""
    found = chat_logprobs(tokens)["content"] or []
    for token in found:
        same_place: list[LikelyToken] = [token, *token["top_logprobs"]]
        for other in same_place:
            other["bytes"] = other["bytes"] or []
    return found


def _echoed_settings(request: ResponseRequest) -> EchoedSettings:
    return {
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": None,
        "metadata": request.metadata or {},
        "model": request.model,
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": request.safety_identifier,
        "service_tier": "default",
        "store": False,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "text": {"format": _text_format(request), "verbosity": "medium"},
        "tool_choice": request.chosen_tools(),
        "tools": [_tool(tool) for tool in request.tools or ()],
        "top_logprobs": request.top_logprobs or 0,
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "truncation": request.truncation or "disabled",
        "user": request.user,
    }


def _text_format(request: ResponseRequest) -> JsonObject:
    wanted = request.text.format if request.text else None
    if wanted is None or wanted.type != "json_schema":
        return {"type": wanted.type if wanted else "text"}
    about = {"name": wanted.name, "description": wanted.description, "strict": wanted.strict is not False}
    return {"type": "json_schema", **about, "schema": wanted.schema_}


def _tool(tool: FunctionTool) -> JsonObject:
    about = {"name": tool.name, "description": tool.description, "strict": tool.strict is not False}
    return {"type": "function", **about, "parameters": tool.parameters}


def _usage(usage: TokenUsage) -> ResponseUsage:
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage["total_tokens"],
    }


def response_events(answered: AnsweredResponse) -> Iterator[Event]:
    """The events of a response that is there already, in the order and shape of the API, numbered from 0."""
    for number, event in enumerate(_events(answered)):
        yield {"type": event["type"], "sequence_number": number, **event}


def _events(answered: AnsweredResponse) -> Iterator[Event]:
    response, answer = answered.response, answered.answer
    begun = {
        **response,
        "status": "in_progress",
        "completed_at": None,
        "incomplete_details": None,
        "output": [],
        "usage": None,
    }
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(response["output"]):
        if item["type"] == "message":
            yield from _message_events(item, answer, index)
        else:
            yield from _call_events(item, answer, index)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": f"response.{response['status']}", "response": response}


def _message_events(item: MessageItem, answer: GeneratedAnswer, index: int) -> Iterator[Event]:
    yield {
        "type": "response.output_item.added",
        "output_index": index,
        "item": {**item, "status": "in_progress", "content": []},
    }
    part = item["content"][0]
    where: Event = {"output_index": index, "item_id": item["id"], "content_index": 0}
    is_refusal = part["type"] == "refusal"
    empty = {"type": "refusal", "refusal": ""} if is_refusal else text_part("", ())
    yield {"type": "response.content_part.added", **where, "part": empty}
    for text, tokens in answer.pieces():
        if is_refusal:
            yield {"type": "response.refusal.delta", **where, "delta": text}
        else:
            yield {"type": "response.output_text.delta", **where, "delta": text, "logprobs": text_logprobs(tokens)}
    if part["type"] == "refusal":
        yield {"type": "response.refusal.done", **where, "refusal": part["refusal"]}
    else:
        yield {"type": "response.output_text.done", **where, "text": part["text"], "logprobs": part["logprobs"]}
    yield {"type": "response.content_part.done", **where, "part": part}


def _call_events(item: CallItem, answer: GeneratedAnswer, index: int) -> Iterator[Event]:
    begun = {**item, "status": "in_progress", "arguments": ""}
    yield {"type": "response.output_item.added", "output_index": index, "item": begun}
    where: Event = {"output_index": index, "item_id": item["id"]}
    call = answer.calls[index - (answer.text is not None)]
    for text in answer.argument_pieces(call):
        yield {"type": "response.function_call_arguments.delta", **where, "delta": text}
    call_fields = {"name": item["name"], "arguments": item["arguments"]}
    yield {"type": "response.function_call_arguments.done", **where, **call_fields}
