"""What the names and the first bytes of files say about their format."""

from retune.config import SourceFormat
from retune.data.sources.files.compression import GZIP, ZSTD
from retune.data.sources.files.locations import FORMAT_BY_SUFFIX, SQLITE, Location
from retune.errors import SourceError

_NAMED_FORMATS = "csv, tsv, jsonl, json, parquet, arrow, excel or pickle"
_UNPACK = "Is it packed twice, or has its name lost the ending .{ending}? Rename it, or unpack it."

_EXPORT = "Save or export it as CSV UTF-8, and name that."
_OF_OTHERS = {
    ".xz": "Unpack it: unxz FILE.",
    **dict.fromkeys((".7z", ".rar"), "Unpack it, and name the folder."),
    **dict.fromkeys((".docx", ".doc", ".pdf", ".pptx", ".numbers", ".html", ".htm"), _EXPORT),
    **dict.fromkeys((".yaml", ".yml"), "Write it as JSON: yq -o json FILE.yaml > FILE.json"),
    ".xml": "Write it as CSV: python -c \"import pandas; pandas.read_xml('FILE.xml').to_csv('FILE.csv', index=False)\"",
    ".sql": "Load it into a database, and read that by its address with --query: sqlite:///PATH, postgresql://…",
    ".duckdb": "Export the table: duckdb FILE.duckdb \"COPY (SELECT question, answer FROM faq) TO 'faq.parquet'\"",
}

_PICKLE = "Rename it to end in .pkl, or use --format pickle."

_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"PAR1", "a Parquet file", "Rename it to end in .parquet, or use --format parquet."),
    (GZIP, "packed with gzip", _UNPACK.format(ending="gz")),
    (ZSTD, "packed with zstd", _UNPACK.format(ending="zst")),
    (b"ARROW1", "an Arrow file", "Rename it to end in .arrow, or use --format arrow."),
    (
        b"PK\x03\x04",
        "a spreadsheet or a ZIP archive",
        "If it is a spreadsheet, rename it to end in .xlsx or use --format excel; else unpack the archive.",
    ),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet of an old Office", "Rename it to end in .xls, or use --format excel."),
    (SQLITE, "a SQLite database", "Read it by its address, sqlite:///PATH, with --query."),
    (b"\x89PNG", "an image", "Name a file with the examples."),
    (b"\xff\xd8\xff", "an image", "Name a file with the examples."),
    (b"%PDF-", "a PDF document", "Name a file with the examples."),
    (b"ccopy_reg\n", "a pickle", _PICKLE),
    (b"(lp0\n", "a pickle", _PICKLE),
    *((b"\x80" + bytes([protocol]), "a pickle", _PICKLE) for protocol in range(2, 6)),
)


class UnreadableEndingError(SourceError):
    """A file whose name says a format that can't be read."""


def format_by_name(location: Location) -> SourceFormat | None:
    """The format that the file's ending stands for; None where it stands for none.

    Raises:
        UnreadableEndingError: It stands for one that can't be read.
    """
    advice = _OF_OTHERS.get(location.suffix)
    if advice is not None:
        raise UnreadableEndingError(f"{location.name} ends in {location.suffix}, which can't be read.", hint=advice)
    return FORMAT_BY_SUFFIX.get(location.suffix)


class UnknownFormatError(SourceError):
    """Neither the name nor the content of a file says its format."""


def unknown_format(location: Location) -> UnknownFormatError:
    """The error for a file whose format neither its name nor its content says."""
    return UnknownFormatError(
        f"Can't tell the format of {location.name} by its name or its content; known endings are "
        f"{', '.join(FORMAT_BY_SUFFIX)}, each also with .gz, .bz2 or .zst.",
        hint="Write the examples as CSV, with a column for what the user says and one for the answer, or as JSONL, one "
        f'{{"messages": […]}} a line. If its format is one of these, rename it, or use --format {_NAMED_FORMATS}.',
    )


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
