"""What logs and traces keep of a call to a model: the request's conversation, and the message that came back."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from retune.data.formats.content_blocks import blocks_text
from retune.data.formats.log_messages import Message, called, log_message, log_messages, log_settings, response_items
from retune.data.formats.structures import structure_in

_MOST_WRAPPERS = 6
_REQUEST_WRAPPERS = ("body", "request", "request_body", "input", "inputs", "json", "kwargs")
_ANSWER_WRAPPERS = ("body", "response", "response_body", "output", "outputs", "result", "message", "content")
_ANSWER_LISTS = ("choices", "generations", "candidates", "messages", "output")
_INSTRUCTIONS = ("system", "instructions", "systemInstruction", "system_instruction", "preamble")
_OF_CHOICES = {"index", "finish_reason", "finishReason", "generation_info"}
# Of chains that take one text and give one.
_ASKED = ("question", "query", "prompt", "input", "text", "user_input", "instruction")
_ANSWERED = ("answer", "response", "output", "text", "completion", "result", "content", "generated_text")


class Request(NamedTuple):
    """What a model was asked.

    Attributes:
        messages: The conversation.
        settings: Tools and the like.
        unread: The key of a system prompt that can't be read; empty where there is none.
    """

    messages: list[Message]
    settings: dict[str, Any]
    unread: str = ""


def read_request(value: Any, depth: int = _MOST_WRAPPERS) -> Request | None:
    """The conversation of a logged request; None where the cell holds none.

    Requests to chat completions, to the Responses API and to Anthropic's; lists of messages, LangChain's too; and
    objects of one text, such as {"question": "…"}.
    """
    found = structure_in(value)
    if isinstance(found, list):
        messages = log_messages(found)
        return None if messages is None else Request(messages, {})
    if not isinstance(found, dict) or depth == 0:
        return None
    given = found.get("messages", found.get("input", found.get("contents")))
    messages = log_messages(given)
    if messages is None and (asked := _asked_in_text(found)) is not None:
        messages = [{"role": "user", "content": asked}]
    if messages is not None:
        return _with_instructions(found, messages)
    if (message := log_message(found)) is not None:
        return Request([message], {})
    for key in _REQUEST_WRAPPERS:
        if (request := read_request(found.get(key), depth - 1)) is not None:
            return request
    text = _only_text(found, _ASKED)
    return None if text is None else Request([{"role": "user", "content": text}], {})


def _asked_in_text(found: Mapping[str, Any]) -> str | None:
    """The text of a request to the Responses API, or to the old completions, which name the model beside it."""
    texts = [found.get("input")] if "instructions" in found else []
    if "model" in found:
        prompt = found.get("prompt")
        texts += [found.get("input"), prompt[0] if isinstance(prompt, list) and len(prompt) == 1 else prompt]
    return next((text for text in texts if isinstance(text, str)), None)


def _with_instructions(found: Mapping[str, Any], messages: list[Message]) -> Request:
    """The messages after the system prompt beside them: a text, blocks of text, or messages."""
    settings = log_settings(found)
    key = next((key for key in _INSTRUCTIONS if found.get(key)), None)
    if key is None:
        return Request(messages, settings)
    said = found[key]
    are_texts = isinstance(said, list) and all(isinstance(each, str) for each in said)
    text = "\n".join(said) if are_texts else blocks_text(said)
    before = [{"role": "system", "content": text}] if text else log_messages(said)
    return Request([*(before or []), *messages], settings, "" if before else key)


def read_answer(value: Any, depth: int = _MOST_WRAPPERS) -> list[Message] | None:
    """What a model answered, as logged; None where the cell holds no answer.

    Responses of chat completions, of the Responses API and Anthropic's; messages, LangChain's too; and objects of one
    text, such as {"answer": "…"}.
    """
    found = structure_in(value) if depth else None
    if isinstance(found, list):
        return _read_answers(found, depth)
    return _read_response(found, depth) if isinstance(found, dict) else None


def _read_response(found: Mapping[str, Any], depth: int) -> list[Message] | None:
    inside = [found[key] for key in _ANSWER_LISTS if isinstance(found.get(key), list)]
    if (message := log_message(found)) is not None:
        return [message] if message["role"] == "assistant" else None
    inside += [found[key] for key in _ANSWER_WRAPPERS if structure_in(found.get(key)) is not None]
    for wrapped in inside:
        if (answer := read_answer(wrapped, depth - 1)) is not None:
            return answer
    # Without a role it is the assistant's, if it calls tools as only an assistant does.
    called = log_message({"role": "assistant", **found}) if "tool_calls" in found else None
    text = _only_text(found, _ANSWERED)
    spoken = None if text is None else {"role": "assistant", "content": text}
    return [message] if (message := called or spoken) else None


def is_one_text(value: Any) -> bool:
    """Whether a cell is an object of one text under a usual name; beside plain questions it may be meant as JSON."""
    found = structure_in(value)
    return isinstance(found, dict) and _only_text(found, _ANSWERED) is not None


def _read_answers(found: list[Any], depth: int) -> list[Message] | None:
    first = found[0] if found else None
    is_choice = isinstance(first, dict) and not _OF_CHOICES.isdisjoint(first)
    if isinstance(first, list) or is_choice or (isinstance(first, dict) and isinstance(first.get("message"), dict)):
        # Of several choices the first is what a caller took.
        return read_answer(first, depth - 1)
    if (message := response_items(found) or called(found)) is not None:
        return [message]
    messages = log_messages(found)
    return messages if messages is not None and messages[-1]["role"] == "assistant" else None


def _only_text(found: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The text of an object with one text under a usual name, and at most what a choice has beside it."""
    texts = [found[name] for name in names if isinstance(found.get(name), str)]
    beside = found.keys() - {*names, "index", "finish_reason", "logprobs", "generation_info", "type"}
    return texts[0] if len(texts) == 1 and not beside else None
