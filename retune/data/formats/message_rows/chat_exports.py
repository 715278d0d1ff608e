"""Exports of chat programs, a conversation a row: trees of messages, or messages under names of their own."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

from retune.data.formats.column_names import MESSAGES
from retune.data.formats.message_rows.branches import Place, one_branch
from retune.data.formats.role_names import role_of
from retune.data.problems.problems import FileNote, Finding
from retune.data.sources.blocks import Block, Row, RowsBlock, Source, UnreadFile, describe_location
from retune.errors import EmptySourceError
from retune.training_lines.keys import JsonMapping, JsonObject


class Read(NamedTuple):
    """What a row holds.

    Attributes:
        messages: In order; the API's.
        n_branched: Messages of other branches.
        n_empty: Messages of this one that are no text: of tools, pictures, hidden ones.
    """

    messages: list[JsonObject]
    n_branched: int = 0
    n_empty: int = 0


class TreeFormat(NamedTuple):
    """One program's way to write a conversation.

    Attributes:
        title: What people call it.
        columns: Those that are read; the first is the one that tells.
        is_one: Tells whether a cell of that column is written so.
        read: Reads a row.
    """

    title: str
    columns: tuple[str, ...]
    is_one: Callable[[Any], bool]
    read: Callable[[JsonMapping], Read]


def find_tree_format(columns: Sequence[str], rows: Sequence[JsonMapping]) -> TreeFormat | None:
    """The program whose export it is; None for any other table."""
    for form in _FORMATS:
        if form.columns[0] in columns and MESSAGES not in columns:
            cells = [row[form.columns[0]] for row in rows if row.get(form.columns[0]) is not None]
            if cells and sum(map(form.is_one, cells)) * 2 > len(cells):
                return form
    return None


def joined_turns(messages: Sequence[JsonObject]) -> list[JsonObject]:
    """The messages, those of the same speaker one after the other in one."""
    joined = [dict(message) for message in messages[:1]]
    for before, message in pairwise(messages):
        if before["role"] == message["role"]:
            joined[-1]["content"] = f"{joined[-1]['content']}\n{message['content']}"
        else:
            joined.append(dict(message))
    return joined


def _is_mapping(cell: object) -> bool:
    return (
        isinstance(cell, dict)
        and bool(cell)
        and all(isinstance(node, dict) and {"message", "parent"} & node.keys() for node in cell.values())
    )


def _read_chatgpt(values: JsonMapping) -> Read:
    nodes: JsonObject = values["mapping"]
    current = values.get("current_node")
    path: list[str]
    if isinstance(current, str) and current in nodes:
        upwards: dict[str, None] = {}
        name: Any = current
        while isinstance(name, str) and name in nodes and name not in upwards:
            upwards[name] = None
            name = nodes[name].get("parent")
        path = list(reversed(upwards))
    else:
        path = one_branch(list(nodes), lambda name: Place(name, nodes[name].get("parent"), None))
    spoken = [message for name in path if (message := nodes[name].get("message")) is not None]
    read = [message for message in map(_chatgpt_message, spoken) if message is not None]
    visible = [message for message in spoken if not _is_hidden(message)]
    n_all = sum(1 for node in nodes.values() if _chatgpt_message(node.get("message")) is not None)
    return Read(joined_turns(read), n_all - len(read), len(visible) - len(read))


def _is_hidden(message: object) -> bool:
    """Whether it is none of the conversation's own: a system message without words, or what ChatGPT doesn't show."""
    if not isinstance(message, dict):
        return True
    metadata = message.get("metadata") or {}
    author = (message.get("author") or {}).get("role")
    is_empty_system = author == "system" and not _parts_text(message.get("content"))
    return is_empty_system or bool(metadata.get("is_visually_hidden_from_conversation")) or message.get("weight") == 0


def _chatgpt_message(message: Any) -> JsonObject | None:
    """What user, assistant or a system prompt says in words; None for tools, calls of them, pictures and the like."""
    if _is_hidden(message) or message.get("recipient", "all") not in ("all", None):
        return None
    role = role_of((message.get("author") or {}).get("role"))
    content = message.get("content")
    kind = content.get("content_type") if isinstance(content, dict) else None
    text = _parts_text(content)
    if role not in ("system", "user", "assistant") or kind not in ("text", "multimodal_text") or not text:
        return None
    return {"role": role, "content": text}


def _parts_text(content: Any) -> str:
    parts = content.get("parts") if isinstance(content, dict) else None
    texts = [part for part in parts if isinstance(part, str)] if isinstance(parts, list) else []
    return "\n".join(text for text in texts if text.strip())


def _are_claude_messages(cell: object) -> bool:
    return isinstance(cell, list) and all(isinstance(item, dict) and "sender" in item for item in cell)


def _read_claude(values: JsonMapping) -> Read:
    found = [(role_of(item["sender"]), _claude_text(item)) for item in values["chat_messages"]]
    read = [{"role": role, "content": text} for role, text in found if role is not None and text]
    return Read(joined_turns(read), 0, len(found) - len(read))


def _claude_text(item: JsonMapping) -> str:
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    written = "\n".join(text for text in texts if isinstance(text, str) and text.strip())
    text = item.get("text")
    return written or (text if isinstance(text, str) and text.strip() else "")


def _is_tree(cell: object) -> bool:
    return isinstance(cell, dict) and isinstance(cell.get("text"), str) and isinstance(cell.get("replies"), list)


def _read_open_assistant(values: JsonMapping) -> Read:
    nodes: list[tuple[int, int | None, JsonObject]] = []
    waiting: deque[tuple[int | None, Any]] = deque([(None, values["prompt"])])
    while waiting:
        parent, item = waiting.popleft()
        if isinstance(item, dict) and isinstance(item.get("text"), str) and not item.get("deleted"):
            nodes.append((len(nodes), parent, item))
            replies = item.get("replies")
            waiting += [(len(nodes) - 1, reply) for reply in (replies if isinstance(replies, list) else [])]
    branch = one_branch(nodes, lambda node: Place(node[0], node[1], node[2].get("role"), _rank(node[2])))
    read = [(role_of(item.get("role")), item["text"]) for _, _, item in branch]
    messages = [{"role": role, "content": text} for role, text in read if role is not None and text.strip()]
    return Read(joined_turns(messages), len(nodes) - len(branch), len(branch) - len(messages))


def _rank(item: JsonMapping) -> float | None:
    rank = item.get("rank")
    return float(rank) if isinstance(rank, int | float) and not isinstance(rank, bool) else None


_FORMATS = (
    TreeFormat("ChatGPT's export", ("mapping", "current_node"), _is_mapping, _read_chatgpt),
    TreeFormat("Claude's export", ("chat_messages",), _are_claude_messages, _read_claude),
    TreeFormat("Open Assistant's trees", ("prompt",), _is_tree, _read_open_assistant),
)


_RULES = {
    "branched": ("branches_left_out", "message", "of other branches left out"),
    "empty": ("messages_left_out", "message", "without text for people to read left out"),
    "unanswered": ("conversations_left_out", "conversation", "without an answer left out"),
}


class TreesSource(Source):
    """The conversations of such an export.

    Args:
        source: The export.
        form: Whose it is.
    """

    def __init__(self, source: Source, form: TreeFormat) -> None:
        self.name = source.name
        self._source = source
        self._form = form
        self.files = [
            replace(
                file,
                columns=(MESSAGES, *(name for name in file.columns if name not in form.columns)),
                reading=form.title,
            )
            for file in source.files
        ]
        self._counts: Counter[str] = Counter()
        self._first: dict[str, tuple[int, int]] = {}
        self._sample = list(self._read(0, source.sample()))
        self._n_read = 0

    def sample(self) -> list[Row]:
        """The first conversations."""
        return list(self._sample)

    def blocks(self) -> Iterator[Block]:
        """Read everything, once; see `Source`."""
        self._counts.clear()
        self._first.clear()
        for block in self._source.blocks():
            rows = list(self._read(block.file, block.rows()))
            self._n_read += len(rows)
            yield RowsBlock(block.file, rows, source_bytes=block.source_bytes)
        if not self._n_read:
            raise EmptySourceError(
                f"None of the conversations in {self.name} has an answer.", hint="Was the export cut off?"
            )

    def unread(self) -> list[UnreadFile]:
        """See `Source.unread`."""
        return self._source.unread()

    def notes(self) -> list[FileNote]:
        """See `Source.notes`; and what was left out."""
        found = list(self._source.notes())
        for kind, (rule, noun, text) in _RULES.items():
            if number := self._counts[kind]:
                file, row = self._first[kind]
                where = describe_location(self.files, file, row)
                message = f"{number:,} {noun}{'' if number == 1 else 's'} {text}; the first: {where}."
                found.append(FileNote(file, Finding(rule, message)))
        return found

    def _read(self, file: int, rows: Any) -> Iterator[Row]:
        form = self._form
        for row in rows:
            if row.findings:
                yield row
                continue
            cell = row.values.get(form.columns[0])
            if not form.is_one(cell):
                message = f"column {form.columns[0]}: expected what {form.title} has there, found something else."
                yield Row(row.number, {}, (Finding("cell_not_messages", message),))
                continue
            read = form.read(row.values)
            self._count("branched", read.n_branched, file, row.number)
            self._count("empty", read.n_empty, file, row.number)
            if any(message["role"] == "assistant" for message in read.messages):
                beside = {name: value for name, value in row.values.items() if name not in form.columns}
                yield Row(row.number, {MESSAGES: read.messages, **beside}, remarks=row.remarks)
            else:
                self._count("unanswered", 1, file, row.number)

    def _count(self, kind: str, number: int, file: int, row: int) -> None:
        self._counts[kind] += number
        if number:
            self._first.setdefault(kind, (file, row))
