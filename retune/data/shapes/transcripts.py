"""Conversations in one text, with the marks of a chat template between the messages.

ChatML (`<|im_start|>user`), Llama 2 (`[INST] … [/INST]`), Llama 3, Gemma, Zephyr, Anthropic's old prompts
(`Human:`, `Assistant:`), Guanaco's (`### Human:`), Vicuna's (`USER:`) and Alpaca's (`### Instruction:`).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from retune.data.shapes.role_names import role_of

Message = dict[str, Any]
_MOST_READ = 1_000_000
CALLS_IN_TEXT = ("<functioncall>", "FUNCTION RESPONSE:", "<tool_call>", "[TOOL_CALLS]", "<|python_tag|>")
"""Marks of calls of functions that stand among the words."""


class _Template(NamedTuple):
    """How a template marks who speaks.

    Attributes:
        title: What people call it.
        start: A mark that begins a message; its group says who speaks.
        end: What ends one, and is no text.
        role: The role that the group stands for.
    """

    title: str
    start: re.Pattern[str]
    end: re.Pattern[str]
    role: Callable[[str], str | None] = role_of


def _alpaca_role(said: str) -> str | None:
    return {"instruction": "user", "input": "input", "response": "assistant", "output": "assistant"}.get(said.lower())


_END = re.compile(r"\s*(?:</s>|<\|endoftext\|>|<\|end_of_text\|>|<\|eot_id\|>|<eos>)?\s*\Z")
_TEMPLATES = (
    _Template("ChatML", re.compile(r"<\|im_start\|>(\w+)\n"), re.compile(r"\s*(?:<\|im_end\|>)?\s*\Z")),
    _Template("Llama 3", re.compile(r"<\|start_header_id\|>(\w+)<\|end_header_id\|>\n*"), _END),
    _Template("Gemma", re.compile(r"<start_of_turn>(\w+)\n"), re.compile(r"\s*(?:<end_of_turn>)?\s*(?:<eos>)?\s*\Z")),
    _Template("Zephyr", re.compile(r"<\|(system|user|assistant)\|>\n"), _END),
    _Template("Guanaco", re.compile(r"###\s*(Human|Assistant|System|User)\s*:\s*"), _END),
    _Template("Alpaca", re.compile(r"###\s*(Instruction|Input|Response|Output)\s*:\s*"), _END, _alpaca_role),
    _Template("Human and Assistant", re.compile(r"(?:\A|\n\n)(Human|Assistant)\s*:[ \t]*"), _END),
    _Template("Vicuna", re.compile(r"(?:\A|(?<=\s)|(?<=</s>))(USER|ASSISTANT):\s*"), _END),
)
_LLAMA_2 = "Llama 2"
_INSTRUCTION = re.compile(
    r"\[INST\]\s*(?:<<SYS>>\s*(?P<system>.*?)\s*<</SYS>>\s*)?(?P<user>.*?)\s*\[/INST\]", re.DOTALL
)
_START = re.compile(r"\A\s*(?:<s>|<bos>|<\|begin_of_text\|>)?\s*")


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


def find_open_template(rows: Sequence[Mapping[str, Any]], column: str) -> str | None:
    """The template in which all filled cells of a column ask; None where they have no marks, or several templates'."""
    texts = [row[column] for row in rows if row.get(column) not in (None, "")]
    are_open = (isinstance(text, str) and read_open_transcript(text) is not None for text in texts)
    titles = {transcript_title(text) if is_open else None for text, is_open in zip(texts, are_open, strict=True)}
    return titles.pop() if len(titles) == 1 else None


def without_marks(template: str | None) -> str:
    """What is added to a title where the marks of a template are left out."""
    return "" if template is None else f", without the marks of {template}"


def _read(text: str) -> tuple[str, list[Message]] | None:
    # Calls of functions that stand in the text are no words of the assistant's.
    if len(text) > _MOST_READ or any(mark in text for mark in CALLS_IN_TEXT):
        return None
    body = _START.sub("", text, count=1)
    if body.startswith("[INST]") and (messages := list(_llama_2(body))):
        return _LLAMA_2, messages
    for template in _TEMPLATES:
        messages = list(_marked(template, text if template.title == "Human and Assistant" else body))
        if len(messages) > 1:
            return template.title, messages
    return None


def _marked(template: _Template, text: str) -> Iterator[Message]:
    marks = list(template.start.finditer(text))
    roles = [template.role(mark[1]) for mark in marks]
    if not marks or None in roles or not {"user", "assistant"} <= set(roles):
        return
    before = text[: marks[0].start()].strip()
    # Beside Alpaca's and Vicuna's first mark stands what they say to every model.
    if before:
        yield {"role": "system", "content": before}
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    parts = [
        (role, template.end.sub("", text[m.end() : end]).strip())
        for role, m, end in zip(roles, marks, ends, strict=True)
    ]
    for place, (role, content) in enumerate(parts):
        if role == "input":
            continue
        about = parts[place + 1][1] if place + 1 < len(parts) and parts[place + 1][0] == "input" else ""
        yield {"role": role, "content": "\n\n".join(filter(None, (content, about)))}


def _llama_2(text: str) -> Iterator[Message]:
    turns = list(_INSTRUCTION.finditer(text))
    ends = [turn.start() for turn in turns[1:]] + [len(text)]
    for turn, end in zip(turns, ends, strict=True):
        if turn["system"]:
            yield {"role": "system", "content": turn["system"]}
        yield {"role": "user", "content": turn["user"]}
        answer = text[turn.end() : end].strip().removesuffix("<s>").strip().removesuffix("</s>").strip()
        if answer:
            yield {"role": "assistant", "content": answer}
