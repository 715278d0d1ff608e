"""The text of a JSON document, a few megabytes at a time, and the values in it."""

import codecs
import json
import re
from typing import Any

from retune.data.sources.blocks import BLOCK_BYTES
from retune.data.sources.bounds import Bounds
from retune.data.sources.files.byte_stream import ByteStream
from retune.data.sources.readers.json_advice import advice_on_text
from retune.data.sources.readers.repeated_keys import ESCAPED_QUOTE
from retune.data.text.encoding import SAVE_AS_UTF8, describe_bad_utf8
from retune.data.text.jsonl import STRICT_DECODER, TooManyValuesError, refuse_too_many_values
from retune.errors import SourceError
from retune.redaction.masking import masked

_NO_SPACE = re.compile(r"[^ \t\r\n]")
_LAX_DECODER = json.JSONDecoder()
# An error this near to the end may be for want of what comes next: an escape takes twelve letters.
_NEAR_THE_END = 12


class NotStrictError(ValueError):
    """A value holds `NaN` or the like. It was passed over."""

    def __init__(self, reason: str, length: int) -> None:
        super().__init__(reason)
        self.length = length


class JsonText:
    """Reads marks and values, one after the other.

    Args:
        stream: The document. Of it no more is held than one value and a few megabytes.
        name: The file, for errors.
        bounds: How long a value may be.

    Attributes:
        windows_line_ends: How many CRLF were read.
    """

    def __init__(self, stream: ByteStream, name: str, bounds: Bounds) -> None:
        self._stream = stream
        self._name = name
        self._bounds = bounds
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0
        self._is_at_end = self._ended_in_return = False
        self._lines_before = self._letters_before = 0  # the text held; letters are those of its first line
        self.windows_line_ends = 0

    def next_mark(self) -> str:
        """The next character that isn't white space, which stays there; empty at the end.

        Raises:
            SourceError: The file can't be read on.
        """
        while True:
            found = _NO_SPACE.search(self._text, self._at)
            if found:
                self._at = found.start()
                return found.group()
            self._at = len(self._text)
            if not self._read_on():
                return ""

    def take_mark(self, mark: str, expected: str) -> None:
        """Pass over a mark.

        Args:
            mark: What it must be.
            expected: What to call it, for the error.

        Raises:
            SourceError: It is another.
        """
        if self.next_mark() != mark:
            raise self.not_json(expected)
        self._at += 1

    def take_value(self, place: str) -> tuple[Any, int]:
        """Parse the value that comes next.

        Args:
            place: What it is, for errors: "row 7".

        Returns:
            The value, and its length in characters.

        Raises:
            NotStrictError: It holds `NaN` or the like.
            SourceError: It isn't JSON, is longer than the bounds allow, or the file can't be read on.
        """
        self.next_mark()
        decoder, fault = STRICT_DECODER, ""
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._may_be_cut(error):
                    raise self.not_json(error.msg, error.pos) from None
            except RecursionError:
                raise SourceError(f"{self._name}, {place}: not valid JSON (nested too deeply).") from None
            except ValueError as error:
                if fault:
                    raise SourceError(f"{self._name}, {place}: not valid JSON ({fault}).") from None
                # NaN, which many programs write all the same: where it ends is known, so the rest can be read.
                decoder, fault = _LAX_DECODER, str(error)
                continue
            else:
                # A number at the end of what was read may have more digits.
                if self._is_at_end or end < len(self._text) or self._text[end - 1] in '"]}':
                    length, self._at = end - self._at, end
                    if fault:
                        raise NotStrictError(fault, length)
                    return value, length
            self._read_more_of(place)

    def count_quotes(self, length: int) -> int:
        """How many quotes, and escapes of quotes, are in so many of the characters that were taken last."""
        start = self._at - length
        return self._text.count('"', start, self._at) + self._text.count(ESCAPED_QUOTE, start, self._at)

    def last_taken(self, length: int) -> str:
        """So many of the characters that were taken last, no more than those of one value."""
        return self._text[self._at - length : self._at]

    def read_to_the_end(self) -> None:
        """Pass over what is left.

        Raises:
            SourceError: The file can't be read on.
        """
        self._at = len(self._text)
        while self._read_on():
            self._at = len(self._text)

    def not_json(self, message: str, position: int | None = None) -> SourceError:
        """The error for what stands at a position of the text held, or where this is."""
        place = self._at if position is None else position
        line = self._lines_before + self._text.count("\n", 0, place) + 1
        start = self._text.rfind("\n", 0, place)
        column = place - start + (self._letters_before if start < 0 else 0)
        is_there = place < len(self._text)
        found = repr(masked(self._text, place, place + 40)) if is_there else "the end of the file"
        return SourceError(
            f"{self._name}, line {line}, column {column}: not valid JSON ({message}; found {found}).",
            hint=advice_on_text(self._text, place),
        )

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        is_near = error.pos >= len(self._text) - _NEAR_THE_END or error.msg.startswith("Unterminated string")
        return is_near and not self._is_at_end

    def _read_more_of(self, place: str) -> None:
        """Read on, where all of what is held is one value so far."""
        try:
            refuse_too_many_values(self._text, self._at)
        except TooManyValuesError as error:
            raise SourceError(f"{self._name}, {place}: {error}.") from None
        if len(self._text) - self._at > self._bounds.row_bytes:
            raise self._bounds.row_too_large(f"{self._name}, {place}")
        self._read_on()

    def _read_on(self) -> bool:
        """Forget what was passed over, and read more; whether there was more."""
        if self._is_at_end:
            return False
        passed = self._text[: self._at]
        newline = passed.rfind("\n")
        self._lines_before += passed.count("\n")
        self._letters_before = len(passed) - newline - 1 + (self._letters_before if newline < 0 else 0)
        self._text, self._at = self._text[self._at :], 0
        content, self._is_at_end = self._stream.peek_block(max(BLOCK_BYTES, len(self._text)))
        self._stream.skip(len(content))
        self.windows_line_ends += content.count(b"\r\n") + (self._ended_in_return and content.startswith(b"\n"))
        self._ended_in_return = content.endswith(b"\r")
        try:
            self._text += self._decoder.decode(content, final=self._is_at_end)
        except UnicodeDecodeError as error:
            line = 1 + self._lines_before + self._text.count("\n") + error.object[: error.start].count(b"\n")
            raise SourceError(f"{self._name}, line {line}: {describe_bad_utf8(error)}.", hint=SAVE_AS_UTF8) from None
        return True
