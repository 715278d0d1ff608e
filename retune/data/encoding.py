"""Reading a source's bytes as UTF-8, with errors that say where."""

import codecs
from pathlib import Path

from retune.errors import SourceError

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SAVE_AS_UTF8 = "Save the file as UTF-8; spreadsheets call it “CSV UTF-8”."


def read_bytes(path: Path) -> bytes:
    """Read a whole source.

    Raises:
        SourceError: The file can't be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"Can't read {path}: {error.strerror}.") from error


def decode_utf8(content: bytes, path: Path, *, first_line: int = 1) -> str:
    """Decode UTF-8, with or without a byte order mark.

    Args:
        content: The bytes of the file, or of some of its lines.
        path: The file, for the error.
        first_line: Number of the line that `content` starts with.

    Raises:
        SourceError: The bytes are not UTF-8; it names the first line that isn't.
    """
    if first_line == 1 and content.startswith(_UTF16_MARKS):
        raise SourceError(f"{path} is UTF-16; expected UTF-8.", hint=_SAVE_AS_UTF8)
    try:
        return content.removeprefix(codecs.BOM_UTF8 if first_line == 1 else b"").decode()
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line = first_line + before.count(b"\n")
        raise SourceError(
            f"{path}, line {line}: not UTF-8 (the byte 0x{error.object[error.start]:02x}).", hint=_SAVE_AS_UTF8
        ) from None
