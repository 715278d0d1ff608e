"""A response as the typed events of a stream."""

from collections.abc import Iterator
from typing import Any

from retune.server.chat.drawing import DrawnAnswer
from retune.server.responses.answers import Answered, text_logprobs, text_part

Event = dict[str, Any]


def response_events(answered: Answered) -> Iterator[Event]:
    """The events of a response that is there already, in the order and shape of the API, numbered from 0."""
    for number, event in enumerate(_events(answered)):
        yield {"type": event["type"], "sequence_number": number, **event}


def _events(answered: Answered) -> Iterator[Event]:
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


def _message_events(item: Event, answer: DrawnAnswer, place: Event) -> Iterator[Event]:
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


def _call_events(item: Event, answer: DrawnAnswer, place: Event) -> Iterator[Event]:
    yield {"type": "response.output_item.added", **place, "item": {**item, "status": "in_progress", "arguments": ""}}
    where = {**place, "item_id": item["id"]}
    call = answer.calls[place["output_index"] - (answer.text is not None)]
    for text in answer.argument_pieces(call):
        yield {"type": "response.function_call_arguments.delta", **where, "delta": text}
    told = {"name": item["name"], "arguments": item["arguments"]}
    yield {"type": "response.function_call_arguments.done", **where, **told}
