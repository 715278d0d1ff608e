"""Responses without HTTP, whole and as the typed events of a stream: routes use them, and so do batches."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from retune.server import ids
from retune.server.generation.answers import GeneratedAnswer, answers_usage, generate_answers
from retune.server.generation.streaming import chat_logprobs
from retune.server.responses.requests import FunctionTool, ResponseRequest
from retune.server.services import Services
from retune.trainers.base import TokenLogprob

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AnsweredResponse:
    """A response and the answer that it was made of.

    Attributes:
        response: The `response` object.
        answer: What it was made of; its items are in the order of the output.
    """

    response: dict[str, Any]
    answer: GeneratedAnswer


def answer_response(services: Services, request: ResponseRequest) -> dict[str, Any]:
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
    response = {
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


def output_items(answer: GeneratedAnswer, status: str) -> list[dict[str, Any]]:
    """The items of a response: the message, where it says something, and its calls."""
    items: list[dict[str, Any]] = []
    if answer.text is not None:
        if answer.refusal is not None:
            part: dict[str, Any] = {"type": "refusal", "refusal": answer.refusal}
        else:
            # Of the text alone: the calls after it are other items.
            part = text_part(answer.text, tuple(token for _, tokens in answer.pieces() for token in tokens))
        head = {"id": ids.new_id("msg_"), "type": "message", "status": status}
        items.append({**head, "role": "assistant", "content": [part]})
    for call in answer.calls:
        head = {"id": ids.new_id("fc_"), "type": "function_call", "status": status}
        called = {"call_id": ids.new_id("call_"), "name": call.name, "arguments": answer.arguments(call)}
        items.append({**head, **called})
    return items


def text_part(text: str, tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    """A part of a message."""
    return {"type": "output_text", "annotations": [], "logprobs": text_logprobs(tokens), "text": text}


def text_logprobs(tokens: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    """Log-probabilities of tokens; what has no bytes has an empty list of them."""
    found: list[dict[str, Any]] = chat_logprobs(tokens)["content"]
    for token in found:
        for other in (token, *token["top_logprobs"]):
            other["bytes"] = other["bytes"] or []
    return found


def _echoed_settings(request: ResponseRequest) -> dict[str, Any]:
    """What a response repeats of its request, with the values that took effect."""
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


def _text_format(request: ResponseRequest) -> dict[str, Any]:
    wanted = request.text.format if request.text else None
    if wanted is None or wanted.type != "json_schema":
        return {"type": wanted.type if wanted else "text"}
    about = {"name": wanted.name, "description": wanted.description, "strict": wanted.strict is not False}
    return {"type": "json_schema", **about, "schema": wanted.schema_}


def _tool(tool: FunctionTool) -> dict[str, Any]:
    about = {"name": tool.name, "description": tool.description, "strict": tool.strict is not False}
    return {"type": "function", **about, "parameters": tool.parameters}


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
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
        place = {"output_index": index}
        events = (
            _message_events(item, answer, place) if item["type"] == "message" else _call_events(item, answer, place)
        )
        yield from events
        yield {"type": "response.output_item.done", **place, "item": item}
    yield {"type": f"response.{response['status']}", "response": response}


def _message_events(item: Event, answer: GeneratedAnswer, place: Event) -> Iterator[Event]:
    yield {"type": "response.output_item.added", **place, "item": {**item, "status": "in_progress", "content": []}}
    part = item["content"][0]
    where = {**place, "item_id": item["id"], "content_index": 0}
    is_refusal = answer.refusal is not None
    empty = {"type": "refusal", "refusal": ""} if is_refusal else text_part("", ())
    yield {"type": "response.content_part.added", **where, "part": empty}
    for text, tokens in answer.pieces():
        if is_refusal:
            yield {"type": "response.refusal.delta", **where, "delta": text}
        else:
            yield {"type": "response.output_text.delta", **where, "delta": text, "logprobs": text_logprobs(tokens)}
    if is_refusal:
        yield {"type": "response.refusal.done", **where, "refusal": part["refusal"]}
    else:
        yield {"type": "response.output_text.done", **where, "text": part["text"], "logprobs": part["logprobs"]}
    yield {"type": "response.content_part.done", **where, "part": part}


def _call_events(item: Event, answer: GeneratedAnswer, place: Event) -> Iterator[Event]:
    yield {"type": "response.output_item.added", **place, "item": {**item, "status": "in_progress", "arguments": ""}}
    where = {**place, "item_id": item["id"]}
    call = answer.calls[place["output_index"] - (answer.text is not None)]
    for text in answer.argument_pieces(call):
        yield {"type": "response.function_call_arguments.delta", **where, "delta": text}
    call_fields = {"name": item["name"], "arguments": item["arguments"]}
    yield {"type": "response.function_call_arguments.done", **where, **call_fields}
