"""Reading a source: whatever the user points at, as a list of examples."""

import difflib
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from retune.config import DataConfig, SourceFormat
from retune.data.examples import Example
from retune.data.formats import FORMAT_BY_SUFFIX, open_table
from retune.data.shapes import read_examples
from retune.errors import SourceError


class SourceFacts(BaseModel):
    """What was read.

    Attributes:
        path: The file.
        format: How it was read.
        bytes: Its size.
        rows: Its examples: rows without the header, or lines, leaving out blank ones.
        columns: The names of its columns; of JSONL, the keys of its objects.
    """

    model_config = ConfigDict(frozen=True)

    path: Path
    format: SourceFormat
    bytes: int
    rows: int
    columns: list[str]


@dataclass(frozen=True, slots=True)
class LoadedExamples:
    """The examples of a source, in its order, and what the source is."""

    examples: list[Example]
    facts: SourceFacts


def load_examples(config: DataConfig) -> LoadedExamples:
    """Read every example of a CSV, JSONL, Parquet or pickle file; the file itself is never touched.

    Raises:
        SourceError: The file is missing, empty or of another format; or the columns are not there.
    """
    path = config.path
    _check_file(path)
    source_format = _format_by_name(path) if config.format is SourceFormat.AUTO else config.format
    table = open_table(path, source_format)
    examples = read_examples(table, config)
    facts = SourceFacts(
        path=path, format=source_format, bytes=path.stat().st_size, rows=len(examples), columns=list(table.columns)
    )
    return LoadedExamples(examples, facts)


def _check_file(path: Path) -> None:
    try:
        _check_regular_file(path)
    except OSError as error:
        raise SourceError(f"Can't read {path}: {error.strerror}.") from error


def _check_regular_file(path: Path) -> None:
    if path.is_dir():
        raise SourceError(f"{path} is a directory; expected a file.", hint=_name_a_file(path, ""))
    if not path.exists():
        raise SourceError(f"There is no file {path}.", hint=_name_a_file(path.parent, path.name))
    if not path.is_file():
        raise SourceError(f"{path} is not a regular file.")
    if not path.stat().st_size:
        raise SourceError(f"{path} is empty.")


def _name_a_file(directory: Path, wanted: str) -> str:
    if not directory.is_dir():
        return f"There is no directory {directory} either."
    names = sorted(entry.name for entry in directory.iterdir() if entry.suffix.lower() in FORMAT_BY_SUFFIX)
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"Data files there: {', '.join(names[:5])}." if names else "No data file is there."


def _format_by_name(path: Path) -> SourceFormat:
    known = FORMAT_BY_SUFFIX.get(path.suffix.lower())
    if known is None:
        raise SourceError(
            f"Can't tell the format of {path} by its name; known endings are {', '.join(FORMAT_BY_SUFFIX)}.",
            hint="Rename it, or say --format csv, jsonl, parquet or pickle.",
        )
    return known
