"""Files as they lie somewhere, before it is known how they are packed; and the names near one that isn't there."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from retune.config import SourceFormat
from retune.data.sources.files.compression import PACKED_SUFFIXES
from retune.errors import SourceError

FORMAT_BY_SUFFIX = {
    ".csv": SourceFormat.CSV,
    ".tsv": SourceFormat.TSV,
    ".tab": SourceFormat.TSV,
    ".jsonl": SourceFormat.JSONL,
    ".ndjson": SourceFormat.JSONL,
    ".json": SourceFormat.JSON,
    ".parquet": SourceFormat.PARQUET,
    ".pq": SourceFormat.PARQUET,
    **dict.fromkeys((".arrow", ".feather", ".ipc"), SourceFormat.ARROW),
    **dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"), SourceFormat.EXCEL),
    ".pkl": SourceFormat.PICKLE,
    ".pickle": SourceFormat.PICKLE,
}

_MOST_NAMES = 5


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One file.

    Attributes:
        name: What people call it.
        relative: Its path below the folder or pattern that was asked for, with slashes; else its own name.
        size: As it is stored; None where that isn't known.
        open: Opens it for reading bytes as they are stored.
        path: Where it is on this machine; None elsewhere.
        key: What its file system calls it, elsewhere.
        fault: Why it can't be a part of a source.
        split: The split that its place gives it; see `SourceFile.split`.
        is_tried: Its name says no format; it is read if what stands in it says one, and left out otherwise.
        archived_bytes: What it takes in the archive that it is in; None where it is in none.
        version: What is another text once the file was written again; empty where its file system knows no such thing.
    """

    name: str
    relative: str
    size: int | None
    open: Callable[[], Any]
    path: Path | None = None
    key: str = ""
    version: str = ""
    archived_bytes: int | None = None
    fault: SourceError | None = None
    split: str | None = None
    is_tried: bool = False

    @property
    def packed_suffix(self) -> str:
        """The ending that says how it is packed, in lower case; empty where it has none."""
        suffix = PurePosixPath(self.relative).suffix.lower()
        return suffix if suffix in PACKED_SUFFIXES else ""

    @property
    def suffix(self) -> str:
        """The ending that says its format, in lower case: ".csv" of "tickets.csv.gz"."""
        name = PurePosixPath(self.relative).name
        return PurePosixPath(name[: len(name) - len(self.packed_suffix)]).suffix.lower()


def is_hidden(relative: str) -> bool:
    """Whether a path below a folder is none of the user's data.

    Those are names that start with a dot, folders that start with an underscore: Spark and Delta Lake keep their
    own files there, and all readers of tables leave them out; and the files `~$…` of an Office that has one open.
    """
    *folders, name = relative.split("/")
    return name.startswith((".", "~$")) or any(folder.startswith((".", "_")) for folder in folders)


def names_near(wanted: str, names: Iterable[str]) -> str:
    """A hint: the names that come closest to one that isn't there, else some of those that are."""
    there = sorted(name for name in names if not name.startswith("."))
    near = difflib.get_close_matches(wanted, there, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    data = [name for name in there if FoundFile("", name, None, bytes).suffix in FORMAT_BY_SUFFIX]
    more = f" and {len(data) - _MOST_NAMES} more" if len(data) > _MOST_NAMES else ""
    return f"Data files there: {', '.join(data[:_MOST_NAMES])}{more}." if data else "No data file is there."


def split_pattern(path: str) -> tuple[str, str]:
    """Split a path with wildcards after the last folder that has none: "data", "2026/*.csv" of "data/2026/*.csv"."""
    parts = path.split("/")
    plain = next(place for place, part in enumerate(parts) if has_wildcard(part))
    return "/".join(parts[:plain]) + ("/" if plain else ""), "/".join(parts[plain:])


def has_wildcard(text: str) -> bool:
    """Whether a path is a pattern: it has `*`, `?` or `[`."""
    return any(mark in text for mark in "*?[")
