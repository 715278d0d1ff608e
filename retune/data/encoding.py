"""Reading a source's bytes as UTF-8, with errors that say where."""

import codecs

from retune.errors import SourceError

SAVE_AS_UTF8 = "Save the file as UTF-8; spreadsheets call it “CSV UTF-8”."

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def refuse_utf16(head: bytes, name: str) -> None:
    """Look at the first bytes of a file that should be UTF-8.

    Text of two bytes a character gives itself away by its mark, or by the zero beside its first letter: no table and
    no JSON starts with the character NUL.

    Args:
        head: The first bytes.
        name: The file, for the error.

    Raises:
        SourceError: They are UTF-16.
    """
    if head.startswith(_UTF16_MARKS) or 0 in head[:2]:
        raise SourceError(f"{name} is UTF-16; expected UTF-8.", hint=SAVE_AS_UTF8)


def describe_bad_utf8(error: UnicodeDecodeError) -> str:
    """Say which byte it is: "the byte 0xe9 is not UTF-8"."""
    return f"the byte 0x{error.object[error.start]:02x} is not UTF-8"


def decode_utf8(content: bytes, name: str) -> str:
    """Decode the whole of a file, with or without a byte order mark.

    Args:
        content: Its bytes.
        name: The file, for the error.

    Raises:
        SourceError: The bytes are not UTF-8; it names the first line that isn't.
    """
    refuse_utf16(content, name)
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = 1 + error.object[: error.start].count(b"\n")
        raise SourceError(f"{name}, line {line}: {describe_bad_utf8(error)}.", hint=SAVE_AS_UTF8) from None
