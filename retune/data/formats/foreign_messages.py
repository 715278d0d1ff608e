"""Messages as other programs and services write them, read as the API's.

ShareGPT has `{"from": "human", "value": "…"}`, Open Assistant `{"role": "prompter", "text": "…"}`, Cohere
`{"role": "CHATBOT", "message": "…"}`, Gemini `{"role": "model", "parts": [{"text": "…"}]}`; others have a question and
its answer in one object. Calls of functions are messages of their own in ShareGPT: `function_call`, whose value is JSON
(`{"name": "find", "arguments": {"id": 7}}`), and `observation` with what came of it; Anthropic, Bedrock and Gemini have
them among the parts of a content, and the Responses API as items between the messages. All become `tool_calls` and
messages of the role `tool`. What doesn't fit stays as it is, and the checks name it.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from retune.data.formats.content_blocks import ContentBlock, api_content, has_foreign_blocks, read_block, written
from retune.data.formats.role_names import role_of
from retune.data.text.jsonl import parse_json
from retune.training_lines.keys import MESSAGE_KEYS, ROLES, JsonObject, holds_nothing

_CALLS = {"functioncall", "toolcall"}
_RESULTS = {"observation", "functionresponse", "toolresponse", "toolresult"}
_ROLE_KEYS = ("role", "from", "speaker", "author", "sender", "message.role")
_CONTENT_KEYS = ("content", "value", "text", "message", "parts", "message.content")
_API_FORM = ("role", "content")
_KEPT = [key for key in MESSAGE_KEYS if key not in _API_FORM]
_PAIRS = (
    *(("human", "assistant"), ("human", "gpt"), ("human", "bot"), ("human", "ai"), ("user", "assistant")),
    *(("user", "bot"), ("question", "answer"), ("query", "response"), ("prompt", "response"), ("prompt", "completion")),
    *(("instruction", "output"), ("input", "output"), ("q", "a")),
)
# Whether an answer is learned, as axolotl and other programs have it; the API has weights.
_LEARNED = ("train", "loss", "training", "trainable")
_CALL_SIGN = "<tool_call>"
# As far as the next bracket that opens a tag: a long text without an end is passed over once.
_CALL = re.compile(r"<tool_call>([^<]*)</tool_call>")
_RESULT = re.compile(r"<tool_response>(.*)</tool_response>", re.DOTALL)
_ITEM_CALL, _ITEM_RESULT = "function_call", "function_call_output"


def is_sharegpt_message(message: object) -> bool:
    """Whether a message is written as ShareGPT does."""
    return isinstance(message, dict) and "from" in message and "value" in message and "role" not in message


def is_foreign_message(message: Any) -> bool:
    """Whether a message is written in one of the ways that are read here, and not as the API has it."""
    if (form := _form(message)) is None:
        return _is_call_item(message)
    role, content = message[form[0]], message[form[1]]
    if form != _API_FORM:
        return form == ("from", "value") or isinstance(content, str) or has_foreign_blocks(content)
    if role not in ROLES:
        return _role(role) is not None
    is_unnamed_result = role == "tool" and holds_nothing(message.get("tool_call_id"))
    return (
        is_unnamed_result
        or _learned_key(message) is not None
        or _has_bare_calls(message)
        or has_foreign_blocks(content)
    )


def read_turn(item: object) -> tuple[Any, Any] | None:
    """The question and the answer of an object that holds these alone; None for anything else."""
    if not isinstance(item, dict):
        return None
    found = next((names for names in _PAIRS if item.keys() == set(names)), None)
    texts = None if found is None else (item[found[0]], item[found[1]])
    return None if texts is None or any(isinstance(text, list | dict) for text in texts) else texts


def unread_keys(messages: Sequence[object]) -> list[str]:
    """Keys of foreign messages that hold something and reach no example."""
    found: dict[str, None] = {}
    for message in messages:
        if isinstance(message, dict) and (form := _form(message)) is not None and is_foreign_message(message):
            left = message.keys() - {*form, *_kept(message, form), _learned_key(message)}
            found |= {key: None for key in message if key in left and not _says_nothing(key, message[key])}
    return list(found)


def api_messages(items: Sequence[Any], *, with_pairs: bool = False) -> list[Any]:
    """The messages as the API takes them; an unknown name stays as the role, and anything else as it is.

    Args:
        items: The messages.
        with_pairs: An object of a question and its answer is two messages.
    """
    reader = _Reader()
    for item in items:
        if with_pairs and (pair := read_turn(item)) is not None:
            reader.messages += [
                {"role": role, "content": text} for role, text in zip(_SIDES, pair, strict=True) if text
            ]
        else:
            reader.add(item)
    reader.name_the_assistant()
    return reader.messages


_SIDES = ("user", "assistant")


class _Reader:
    """Reads messages one after the other, as results belong to the calls before them."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self._foreign: list[Any] = []
        self._waiting: list[tuple[str, str | None]] = []
        self._n_calls = 0

    def add(self, message: Any) -> None:
        """Read one message."""
        if not is_foreign_message(message):
            self.messages.append(message)
        elif (form := _form(message)) is None:
            self._add_item(message)
        else:
            self._add_message(message, form)

    def name_the_assistant(self) -> None:
        """In dialogue data `system` is the program that answers: it speaks after a user, with no assistant there."""
        roles = [message.get("role") if isinstance(message, dict) else None for message in self.messages]
        if "assistant" in roles or "user" not in roles or "system" not in roles[roles.index("user") :]:
            return
        for message in self._foreign:
            if message["role"] == "system":
                message["role"] = "assistant"

    def _add_message(self, message: JsonObject, form: tuple[str, str]) -> None:
        self._add_said(message, form)
        if (key := _learned_key(message)) is not None and not message[key]:
            last = self.messages[-1]
            if last["role"] == "assistant":
                last["weight"] = 0

    def _add_said(self, message: JsonObject, form: tuple[str, str]) -> None:
        said, content = message[form[0]], message[form[1]]
        name = _normal(said)
        calls = _calls_in(content) if name in _CALLS else []
        if _has_bare_calls(message):
            self._call([_bare_call(call) for call in message["tool_calls"]], content or None)
        elif calls:
            self._call([ContentBlock("call", arguments, name) for name, arguments in calls], content=None)
        elif self._waiting and (name in _RESULTS or name == "tool") and holds_nothing(message.get("tool_call_id")):
            self._answer_all(content, message.get("name"))
        elif isinstance(content, str) and self._role_of(said) == "assistant" and (said_calls := _calls_within(content)):
            self._call([ContentBlock("call", arguments, name) for name, arguments in said_calls[1]], said_calls[0])
        elif has_foreign_blocks(content):
            blocks = [read_block(part) for part in content]
            self._add_blocks(self._role_of(said), blocks, _kept(message, form))
        else:
            self._append({"role": self._role_of(said), "content": content, **_kept(message, form)})

    @staticmethod
    def _role_of(said: object) -> object:
        return "tool" if _normal(said) in _RESULTS else _role(said) or said

    def _add_blocks(self, role: object, blocks: list[ContentBlock], kept: JsonObject) -> None:
        for block in blocks:
            if block.kind == "result":
                self._answer(block)
        calls = [block for block in blocks if block.kind == "call"]
        content = api_content(blocks)
        if calls:
            self._call(calls, content or None)
        elif content or not any(block.kind == "result" for block in blocks):
            self._append({"role": role, "content": content, **kept})

    def _add_item(self, item: JsonObject) -> None:
        if item["type"] == _ITEM_RESULT:
            self._answer(ContentBlock("result", item.get("output", ""), None, item.get("call_id")))
            return
        block = ContentBlock("call", item.get("arguments", "{}"), item.get("name"), item.get("call_id"))
        last = self.messages[-1] if self.messages else None
        if self._waiting and isinstance(last, dict) and "tool_calls" in last:
            last["tool_calls"].append(self._written_call(block))
        else:
            self._call([block], content=None)

    def _append(self, message: JsonObject) -> None:
        self.messages.append(message)
        self._foreign.append(message)

    def _call(self, calls: list[ContentBlock], content: object) -> None:
        self._waiting = []
        said = {} if content is None else {"content": content}
        self._append({"role": "assistant", **said, "tool_calls": [self._written_call(call) for call in calls]})

    def _written_call(self, call: ContentBlock) -> JsonObject:
        self._n_calls += 1
        id_ = call.id or f"call_{self._n_calls}"
        self._waiting.append((id_, call.name))
        return {"id": id_, "type": "function", "function": {"name": call.name, "arguments": written(call.value)}}

    def _answer(self, block: ContentBlock) -> None:
        fitting = [id_ for id_, name in self._waiting if block.id in (None, id_) and block.name in (None, name)]
        id_ = fitting[0] if fitting else block.id
        self._waiting = [call for call in self._waiting if call[0] != id_]
        self._append({"role": "tool", "tool_call_id": id_, "content": written(block.value)})

    def _answer_all(self, content: object, name: str | None) -> None:
        """An answer to every call, where a JSON list has one for each; else to that of a name, or the first."""
        if isinstance(content, str) and (inside := _RESULT.fullmatch(content.strip())) is not None:
            content = inside[1].strip()
        values = _json_in(content) if len(self._waiting) > 1 else None
        if not isinstance(values, list) or len(values) != len(self._waiting):
            values = [content]
        calls = [call for call in self._waiting if len(values) > 1 or call[1] == name] or self._waiting
        for call, value in zip(calls[: len(values)], values, strict=True):
            self._waiting.remove(call)
            self._append({"role": "tool", "tool_call_id": call[0], "content": _text(value)})


def _form(message: object) -> tuple[str, str] | None:
    """The keys of a message's role and content; None where it has none that are known."""
    if not isinstance(message, dict):
        return None
    role = next((key for key in _ROLE_KEYS if key in message), None)
    content = next((key for key in _CONTENT_KEYS if key in message), None)
    if role is None or content is None or (role != "from" and not isinstance(message[role], str)):
        return None
    return role, content


def _kept(message: JsonObject, form: tuple[str, str]) -> JsonObject:
    """What stays beside role and content; a name is the API's only where these two are."""
    names = (key for key in _KEPT if key in message and (key != "name" or form == _API_FORM))
    return {key: message[key] for key in names}


def _learned_key(message: JsonObject) -> str | None:
    """The key that says whether the message is learned, where no weight does."""
    keys = (key for key in _LEARNED if isinstance(message.get(key), bool))
    return next(keys, None) if holds_nothing(message.get("weight")) else None


def _is_call_item(message: object) -> bool:
    return isinstance(message, dict) and message.get("type") in (_ITEM_CALL, _ITEM_RESULT) and "call_id" in message


def _has_bare_calls(message: JsonObject) -> bool:
    """Whether calls lack what the API has of each: an id, and arguments as text; so chat templates take them."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or not calls:
        return False
    if not all(isinstance(call, dict) and isinstance(call.get("function"), dict) for call in calls):
        return False
    are_whole = all(isinstance(call["function"].get("arguments"), str) for call in calls)
    return not are_whole or any(holds_nothing(call.get("id")) for call in calls)


def _bare_call(call: JsonObject) -> ContentBlock:
    function = call["function"]
    return ContentBlock("call", function.get("arguments", {}), function.get("name"), call.get("id") or None)


def _calls_within(content: str) -> tuple[str | None, list[tuple[str, Any]]] | None:
    """What is said beside calls that stand in a text as Hermes writes them, and the calls; None where none do."""
    if _CALL_SIGN not in content:
        return None
    calls = [call for found in _CALL.findall(content) for call in _calls_in(found)]
    rest = _CALL.sub("", content).strip()
    return (rest or None, calls) if calls and _CALL_SIGN not in rest else None


def _role(said: object) -> str | None:
    return said if said in ROLES else role_of(said)


def _says_nothing(key: str, value: object) -> bool:
    return holds_nothing(value) or (key == "type" and value == "message")


def _normal(said: object) -> str:
    return said.lower().replace("_", "").replace("-", "").strip() if isinstance(said, str) else ""


def _calls_in(content: object) -> list[tuple[str, Any]]:
    """The calls that the JSON says, each by its name and its arguments; none where it doesn't fit."""
    found = list(_functions_in(content))
    return [call for call in found if call is not None] if None not in found else []


def _functions_in(content: object) -> Iterator[tuple[str, Any] | None]:
    value = _json_in(content)
    for item in value if isinstance(value, list) else [value]:
        call = item.get("function", item) if isinstance(item, dict) else None
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            yield None
        else:
            yield call["name"], call.get("arguments", call.get("parameters", {}))


def _text(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | bool | int | float) else value


def _json_in(content: object) -> object:
    if not isinstance(content, str):
        return content
    try:
        return parse_json(content)
    except ValueError:
        return None
