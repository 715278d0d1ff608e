"""Logs of calls to a model: a request in one column, the answer to it in another, both as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from retune.data.formats.cells import UnusableCellError, cell_text, structure_in
from retune.data.formats.column_names import MESSAGES, find_column
from retune.data.formats.log_notes import is_failure, notes_of_log
from retune.data.formats.logged_calls import Request, is_one_text, read_answer, read_request
from retune.data.formats.row_format import ColumnFormat
from retune.data.formats.settings import settings_beside
from retune.data.formats.templates import TextSource
from retune.data.problems.problems import Finding
from retune.redaction.masking import shown
from retune.training_lines.keys import JsonMapping, JsonObject

_REQUESTS = (
    *("input", "inputs", "request", "request_body", "requests", "prompt", "body", MESSAGES),
    # Phoenix's, in the names of OpenInference.
    *("attributes.llm.input_messages", "attributes.input.value"),
)
_ANSWERS = (
    *("output", "outputs", "response", "response_body", "responses", "completion", "choices", "result", "answer"),
    *("answers", "attributes.llm.output_messages", "attributes.output.value"),
)
_EXPECTED_ANSWER = "the message of an answer"
_EXPECTED_REQUEST = "a request with its messages"


@dataclass
class LogFormat(ColumnFormat):
    """A logged call in every row.

    Attributes:
        request: Column with what was asked.
        answer: Column with what came back.
        answer_text: Puts the answer together, where its column holds texts and no messages.
    """

    request: str
    answer: str
    answer_text: TextSource | None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that every file must have."""
        return (self.request, self.answer, *self.system.columns)

    def body(self, values: JsonMapping) -> tuple[JsonObject, tuple[Finding, ...]]:
        """The conversation of the request, and after it the answer."""
        self.check_keys(values, (self.request, self.answer))
        asked, answered = self._read_request(values), self._read_answer(values)
        n_asked = len(asked.messages)
        left = [
            note for name in (self.request, self.answer) for note in notes_of_log(name, structure_in(values.get(name)))
        ]
        if answered[:n_asked] == asked.messages:
            # Graphs give the whole conversation back.
            answered = answered[n_asked:]
        messages, findings = self.framed([*asked.messages, *answered], values)
        return {MESSAGES: messages, **settings_beside(values, self.settings), **asked.settings}, (*findings, *left)

    def _read_request(self, values: JsonMapping) -> Request:
        cell = values.get(self.request)
        request = read_request(cell)
        if request is not None and request.unread:
            raise _unusable(self.request, f"text, blocks of text or messages as {request.unread}", cell)
        if request is not None:
            return request
        if structure_in(cell) is not None:
            raise _unusable(self.request, _EXPECTED_REQUEST, cell)
        return Request([{"role": "user", "content": cell_text(cell, self.request)}], {})

    def _read_answer(self, values: JsonMapping) -> list[JsonObject]:
        cell = values.get(self.answer)
        if self.answer_text is not None:
            return [{"role": "assistant", "content": self.answer_text.text(values)}]
        answer = read_answer(cell)
        if answer is not None:
            return answer
        if is_failure(cell if (found := structure_in(cell)) is None else found):
            message = f"column {self.answer}: a call that failed, without an answer: {shown(cell)}."
            raise UnusableCellError(Finding("failed_call", message))
        if structure_in(cell) is not None:
            raise _unusable(self.answer, _EXPECTED_ANSWER, cell)
        return [{"role": "assistant", "content": cell_text(cell, self.answer)}]


def hold_requests(rows: Sequence[JsonMapping], column: str) -> bool:
    """Whether half of the first rows, and more, have a request in a column, none of them with its answer."""
    requests = [read_request(cell) for cell in _filled(rows, column)]
    read = [request for request in requests if request is not None]
    is_answered = any(request.messages[-1].get("role") == "assistant" for request in read)
    return bool(read) and not is_answered and 2 * len(read) >= len(requests)


def hold_answers(rows: Sequence[JsonMapping], column: str, *, to_requests: bool) -> bool:
    """Whether half of the first rows, and more, have a logged answer in a column.

    Args:
        rows: The first rows.
        column: The column.
        to_requests: What was asked is logged too; if it isn't, objects of one text are taken for JSON that is meant.
    """
    cells = list(_filled(rows, column))
    answers = [read_answer(cell) if to_requests or not is_one_text(cell) else None for cell in cells]
    read = [answer for answer in answers if answer is not None]
    return bool(read) and 2 * len(read) >= len(answers)


def find_log(rows: Sequence[JsonMapping], columns: Sequence[str]) -> tuple[str | None, str | None]:
    """The only column with requests, and the only one with answers, among those of the usual names."""
    requests = [column for column in _among(columns, _REQUESTS) if hold_requests(rows, column)]
    answers = [column for column in _among(columns, _ANSWERS) if column not in requests]
    answers = [column for column in answers if hold_answers(rows, column, to_requests=bool(requests))]
    return (
        requests[0] if len(requests) == 1 else None,
        answers[0] if len(answers) == 1 else None,
    )


def _among(columns: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    return (column for name in names if (column := find_column(columns, name)) is not None)


def _filled(rows: Sequence[JsonMapping], column: str) -> Iterator[object]:
    return (row[column] for row in rows if row.get(column) not in (None, ""))


def _unusable(column: str, expected: str, cell: object) -> UnusableCellError:
    return UnusableCellError(
        Finding(
            "cell_not_messages", f"column {column}: expected {expected}, as the first rows have; found {shown(cell)}."
        )
    )
