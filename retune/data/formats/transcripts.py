"""Conversations in one text, with the marks of a chat template between the messages.

ChatML (`<|im_start|>user`), Llama 2 (`[INST] … [/INST]`), Llama 3, Gemma, Zephyr, Anthropic's old prompts
(`Human:`, `Assistant:`), Guanaco's (`### Human:`), Vicuna's (`USER:`) and Alpaca's (`### Instruction:`).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from retune.data.formats.role_names import role_of
from retune.training_lines.keys import JsonMapping, JsonObject

Message = JsonObject
_MOST_READ = 1_000_000
CALLS_IN_TEXT = ("<functioncall>", "FUNCTION RESPONSE:", "<tool_call>", "[TOOL_CALLS]", "<|python_tag|>")
"""Marks of calls of functions that stand among the words."""


class _Template(NamedTuple):
    """How a template marks who speaks.

    Attributes:
        title: What people call it.
        sign: What stands in every text of it; a quick look.
        start: A mark that begins a message; its group says who speaks.
        role: The role that the group stands for.
    """

    title: str
    sign: str
    start: re.Pattern[str]
    role: Callable[[str], str | None] = role_of


def _alpaca_role(said: str) -> str | None:
    return {"instruction": "user", "input": "input", "response": "assistant", "output": "assistant"}.get(said.lower())


_DIALOGUE = "Human and Assistant"
_LLAMA_2 = "Llama 2"
_TEMPLATES = (
    _Template("ChatML", "<|im_start|>", re.compile(r"<\|im_start\|>(\w+)\n")),
    _Template("Llama 3", "<|start_header_id|>", re.compile(r"<\|start_header_id\|>(\w+)<\|end_header_id\|>\n*")),
    _Template("Gemma", "<start_of_turn>", re.compile(r"<start_of_turn>(\w+)\n")),
    _Template("Zephyr", "<|user|>", re.compile(r"<\|(system|user|assistant)\|>\n")),
    _Template("Guanaco", "###", re.compile(r"###\s*(Human|Assistant|System|User)\s*:\s*")),
    _Template("Alpaca", "###", re.compile(r"###\s*(Instruction|Input|Response|Output)\s*:\s*"), _alpaca_role),
    _Template(_DIALOGUE, "Human", re.compile(r"(?:\A|\n\n)(Human|Assistant)\s*:[ \t]*")),
    _Template("Vicuna", "USER:", re.compile(r"(?:\A|(?<=\s)|(?<=</s>))(USER|ASSISTANT):\s*")),
)
_STARTS = ("<s>", "<bos>", "<|begin_of_text|>")
_ENDS = (
    *("</s>", "<s>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>", "<end_of_turn>", "<eos>"),
    "<|end|>",
)


def transcript_title(text: str) -> str | None:
    """What people call the template of a text; None where it has no such marks."""
    found = _read(text)
    return None if found is None else found[0]


def read_transcript(text: str) -> list[Message] | None:
    """The messages of a text; None unless it is a conversation with an answer, in one of the templates."""
    found = _read(text)
    if found is None or not any(message["role"] == "assistant" and message["content"] for message in found[1]):
        return None
    return found[1]


def read_open_transcript(text: str) -> list[Message] | None:
    """The messages of a text that ends where an answer is to follow; None for any other text."""
    found = _read(text)
    if found is None:
        return None
    _, messages = found
    if messages[-1]["role"] == "assistant" and not messages[-1]["content"]:
        messages = messages[:-1]
    return messages if messages[-1]["role"] == "user" else None


def find_open_template(rows: Sequence[JsonMapping], column: str) -> str | None:
    """The template in which all filled cells of a column ask; None where they have no marks, or several templates'."""
    texts = [row[column] for row in rows if row.get(column) not in (None, "")]
    are_open = (isinstance(text, str) and read_open_transcript(text) is not None for text in texts)
    titles = {transcript_title(text) if is_open else None for text, is_open in zip(texts, are_open, strict=True)}
    return titles.pop() if len(titles) == 1 else None


def without_marks(template: str | None) -> str:
    """What is added to a title where the marks of a template are left out."""
    return "" if template is None else f", without the marks of {template}"


def _read(text: str) -> tuple[str, list[Message]] | None:
    # Calls of functions that stand in the text are not the assistant's words.
    if len(text) > _MOST_READ or any(mark in text for mark in CALLS_IN_TEXT):
        return None
    body = text.lstrip()
    for start in _STARTS:
        body = body.removeprefix(start).lstrip()
    if body.startswith("[INST]") and (messages := list(_llama_2(body))):
        return _LLAMA_2, messages
    for template in _TEMPLATES:
        messages = list(_marked(template, text if template.title == _DIALOGUE else body))
        if len(messages) > 1:
            return template.title, messages
    return None


def _marked(template: _Template, text: str) -> Iterator[Message]:
    marks = list(template.start.finditer(text)) if template.sign in text else []
    roles = [template.role(mark[1]) for mark in marks]
    if not marks or None in roles or not {"user", "assistant"} <= set(roles):
        return
    # Beside Alpaca's and Vicuna's first mark stands what they say to every model.
    if before := text[: marks[0].start()].strip():
        yield {"role": "system", "content": before}
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    said = (_without_ends(text[mark.end() : end]) for mark, end in zip(marks, ends, strict=True))
    parts = list(zip(roles, said, strict=True))
    for place, (role, content) in enumerate(parts):
        if role == "input":
            continue
        about = parts[place + 1][1] if place + 1 < len(parts) and parts[place + 1][0] == "input" else ""
        yield {"role": role, "content": "\n\n".join(filter(None, (content, about)))}


def _llama_2(text: str) -> Iterator[Message]:
    for turn in text.split("[INST]")[1:]:
        asked, is_closed, answered = turn.partition("[/INST]")
        if not is_closed:
            return
        system, has_system, rest = asked.partition("<</SYS>>")
        if has_system:
            yield {"role": "system", "content": system.replace("<<SYS>>", "", 1).strip()}
        yield {"role": "user", "content": (rest if has_system else asked).strip()}
        if answer := _without_ends(answered):
            yield {"role": "assistant", "content": answer}


def _without_ends(text: str) -> str:
    """The text without the tokens that end it; no pattern, as one would look at long white space again and again."""
    text = text.strip()
    while end := next((end for end in _ENDS if text.endswith(end)), None):
        text = text.removesuffix(end).rstrip()
    return text
