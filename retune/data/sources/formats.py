"""What the names and the first bytes of files say about their format."""

from retune.config import SourceFormat
from retune.data.sources.locations import FORMAT_BY_SUFFIX, SQLITE, Location
from retune.data.sources.streams import GZIP, ZSTD
from retune.errors import SourceError

_NAMED_FORMATS = "csv, tsv, jsonl, json, parquet, arrow, excel or pickle"
_UNPACK = "Is it packed twice, or has its name lost the ending .{ending}? Rename it, or unpack it."

_PICKLE = "Rename it to end in .pkl, or say --format pickle."

_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"PAR1", "a Parquet file", "Rename it to end in .parquet, or say --format parquet."),
    (GZIP, "packed with gzip", _UNPACK.format(ending="gz")),
    (ZSTD, "packed with zstd", _UNPACK.format(ending="zst")),
    (b"ARROW1", "an Arrow file", "Rename it to end in .arrow, or say --format arrow."),
    (
        b"PK\x03\x04",
        "a spreadsheet or a ZIP archive",
        "If it is a spreadsheet, rename it to end in .xlsx or say --format excel; else unpack the archive.",
    ),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet of an old Office", "Rename it to end in .xls, or say --format excel."),
    (SQLITE, "a SQLite database", "Read it by its address, sqlite:///PATH, with --query."),
    (b"\x89PNG", "an image", "Name a file with the examples."),
    (b"\xff\xd8\xff", "an image", "Name a file with the examples."),
    (b"%PDF-", "a PDF document", "Name a file with the examples."),
    (b"ccopy_reg\n", "a pickle", _PICKLE),
    (b"(lp0\n", "a pickle", _PICKLE),
    *((b"\x80" + bytes([protocol]), "a pickle", _PICKLE) for protocol in range(2, 6)),
)


def format_of(location: Location, wanted: SourceFormat) -> SourceFormat:
    """The format that the user named, else what the file's ending stands for.

    Raises:
        SourceError: It stands for none.
    """
    known = FORMAT_BY_SUFFIX.get(location.suffix) if wanted is SourceFormat.AUTO else wanted
    if known is None:
        raise SourceError(
            f"Can't tell the format of {location.name} by its name; known endings are {', '.join(FORMAT_BY_SUFFIX)}, "
            "each also with .gz or .zst.",
            hint=f"Rename it, or say --format {_NAMED_FORMATS}.",
        )
    return known


def refuse_other_formats(head: bytes, name: str, expected: str) -> None:
    """Look at the first bytes of a file that should be text.

    Args:
        head: The first bytes.
        name: The file, for the error.
        expected: What it should be: "CSV".

    Raises:
        SourceError: They are of another format.
    """
    for signature, what, hint in _SIGNATURES:
        if head.startswith(signature):
            raise SourceError(f"{name} is {what} by its first bytes; expected {expected}.", hint=hint)
