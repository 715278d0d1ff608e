"""Advice for exports of annotation and support programs, whose texts are nested deeply in objects."""

from collections.abc import Iterator, Sequence
from shlex import quote

from retune.data.formats.column_names import field_value
from retune.training_lines.keys import JsonMapping

_OF_INTERCOM = (
    "These are conversations of Intercom. As one message a row, without the marks of HTML: jq -c '(.conversations? // "
    ".)[] | .id as $id | (.source, .conversation_parts.conversation_parts[]) | select(.body) | {conversation_id: $id, "
    'author_type: .author.type, body: (.body | gsub("<[^>]*>"; ""))}\' conversations.json > messages.jsonl'
)
_TEXTS_OF_LABEL_STUDIO = ("choices", "text")


def advice_on_export(rows: Sequence[JsonMapping]) -> str | None:
    """How to read rows of Argilla, Label Studio or Intercom; None for others, and where more than one field is likely.

    Args:
        rows: The first rows.
    """
    if rows and all(_is_of_intercom(row) for row in rows):
        return _OF_INTERCOM
    for title, asked, answers in (("Argilla", "fields", _argilla_answers), ("Label Studio", "data", _studio_answers)):
        texts = _fields_of_all(rows, asked)
        found = list(dict.fromkeys(path for row in rows for path in answers(row)))
        if texts and found:
            return _say(title, [f"{asked}.{text}" for text in texts], found)
    return None


def _say(title: str, texts: Sequence[str], answers: Sequence[str]) -> str:
    flags = f"--user-column {quote(texts[0])} --assistant-column {quote(answers[0])}"
    if len(texts) == len(answers) == 1:
        return f"These are records of {title}, and this reads what the first annotator said: {flags}."
    return (
        f"These are records of {title}. Name the question and the first annotator's answer by their places, as in "
        f"{flags}; there are {', '.join(texts)} and {', '.join(answers)}."
    )


def _is_of_intercom(row: JsonMapping) -> bool:
    parts = field_value(row, "conversation_parts.conversation_parts")
    return isinstance(parts, list) and isinstance(field_value(row, "source.author.type"), str)


def _fields_of_all(rows: Sequence[JsonMapping], column: str) -> list[str]:
    """The fields of a column of objects that hold text in every row."""
    cells = [row.get(column) for row in rows]
    if not cells or not all(isinstance(cell, dict) for cell in cells):
        return []
    objects = [cell for cell in cells if isinstance(cell, dict)]
    return [key for key in objects[0] if all(isinstance(each.get(key), str) for each in objects)]


def _argilla_answers(row: JsonMapping) -> Iterator[str]:
    """Where the first responses are: of version 2 by their questions, of version 1 by their annotators."""
    responses = row.get("responses")
    if isinstance(responses, dict):
        for question, given in responses.items():
            if isinstance(given, list) and given and isinstance(given[0], dict) and "value" in given[0]:
                yield f"responses.{question}.0.value"
    elif isinstance(responses, list) and responses:
        values = field_value(row, "responses.0.values")
        yield from (f"responses.0.values.{question}.value" for question in (values if isinstance(values, dict) else ()))


def _studio_answers(row: JsonMapping) -> Iterator[str]:
    """Where the first annotation's results are that are choices or text."""
    results = field_value(row, "annotations.0.result")
    for place, result in enumerate(results if isinstance(results, list) else ()):
        value = result.get("value") if isinstance(result, dict) else None
        for kind in _TEXTS_OF_LABEL_STUDIO if isinstance(value, dict) else ():
            if isinstance(value, dict) and isinstance(value.get(kind), list):
                yield f"annotations.0.result.{place}.value.{kind}.0"
