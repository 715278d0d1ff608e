"""Exports of chat programs with a conversation a row, read as tables with a column of messages."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from retune.data.formats.column_names import MESSAGES
from retune.data.formats.message_rows.chat_exports import TreeFormat
from retune.data.sources.blocks import Block, FileNote, Finding, Row, RowsBlock, Source, UnreadFile, describe_location
from retune.errors import EmptySourceError

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
