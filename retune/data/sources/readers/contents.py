"""Detects the format of a text file by its content, where its name says another format or none."""

import json

from retune.config import SourceFormat
from retune.data.sources.files.byte_stream import ByteStream
from retune.data.sources.files.locations import Location
from retune.data.sources.readers.csv_layout import DELIMITERS, is_table

_HEAD_BYTES = 1 << 16
_DECODER = json.JSONDecoder()
_TEXTS = {SourceFormat.CSV, SourceFormat.TSV, SourceFormat.JSON, SourceFormat.JSONL}


def format_by_content(location: Location, named: SourceFormat | None) -> SourceFormat | None:
    """The format of what stands in a file, if it is clear and another than its name says.

    Args:
        location: The file.
        named: What its name says; None for nothing.

    Returns:
        CSV, JSON or JSONL; None where it may well be what the name says.

    Raises:
        SourceError: It can't be read, or isn't text in UTF-8, and its name says nothing.
    """
    if named is not None and named not in _TEXTS:
        return None
    with ByteStream(location, "text" if named is None else named.upper()) as stream:
        content, is_whole = stream.peek_block(_HEAD_BYTES)
    text = content.decode(errors="replace").lstrip(" \t\r\n")
    found = _json_format(text, is_whole=is_whole)
    if found is not None:
        # A document that is named .json, and holds JSONL, is read by its own rules.
        return None if named in (found, SourceFormat.JSON) else found
    if named is SourceFormat.CSV or not is_table(text, is_whole=is_whole):
        return None
    is_tsv = named is SourceFormat.TSV and DELIMITERS[-1] in text.split("\n", 1)[0]
    return None if is_tsv else SourceFormat.CSV


def describe_content(named: SourceFormat | None, found: SourceFormat) -> str:
    """What is said of a file that is read by its content."""
    name = "its name says no format" if named is None else f"its name says {named.upper()}"
    return f"{name}; it is read as {found.upper()}, by its content"


def _json_format(text: str, *, is_whole: bool) -> SourceFormat | None:
    if text[:1] not in ("{", "["):
        return None
    line, has_more, _ = text.partition("\n")
    if text[0] == "{" and (has_more or is_whole) and isinstance(_parsed(line), dict):
        return SourceFormat.JSONL
    rest = text[1:].lstrip(" \t\r\n")[:1]
    if text[0] == "[":
        return SourceFormat.JSON if rest in ("{", "[") else None
    try:
        _, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        # The first object may be longer than what was looked at.
        return SourceFormat.JSON if not is_whole and line.strip() == "{" and rest == '"' else None
    after = text[end:].lstrip(" \t\r\n").removeprefix(",").lstrip(" \t\r\n")
    return SourceFormat.JSON if after[:1] in ("", "{") else None


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
