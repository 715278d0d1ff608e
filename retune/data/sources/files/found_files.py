"""Files as they are found, before they are opened, and which files of a folder are read."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from retune.config import SourceFormat
from retune.data.sources.blocks import UnreadFile
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


_DATASET_DICT = "dataset_dict.json"
_METADATA = (
    # Written beside the examples by Hugging Face's libraries, describers of data sets, and Retune itself.
    *("dataset_info.json", "dataset_infos.json", _DATASET_DICT, "state.json", "config.json", "*_config.json"),
    *("tokenizer.json", "croissant.json", "datapackage.json", "package.json", "package-lock.json", "*.changes.jsonl"),
    "cache-*.arrow",
)
_TEXTS = (
    *("readme*", "license*", "licence*", "copying*", "notice*", "changelog*", "authors*", "citation*", "contributing*"),
    *("_success*", "_committed_*", "_started_*", "_metadata", "_common_metadata", "requirements*.txt", "robots.txt"),
    *("checksums*", "md5sums*", "sha256sums*", "makefile", "dockerfile", "thumbs.db", "desktop.ini"),
)
_HOLD_NO_EXAMPLES = {
    *(".md", ".rst", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".lock", ".log", ".crc", ".md5", ".sha256", ".sig"),
    *(".py", ".ipynb", ".r", ".js", ".ts", ".sh", ".sql", ".css", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp"),
    *(".bin", ".pt", ".pth", ".onnx", ".safetensors", ".gguf", ".npy", ".npz", ".tmp", ".bak", ".swp", ".idx"),
}
_OF_COPIES = {
    ".old",
    ".orig",
    ".part",
    ".partial",
    ".crdownload",
    ".download",
    ".save",
    ".copy",
    ".backup",
    ".filepart",
}

_RENAME = "if it is CSV, TSV or JSONL, rename it to end in .csv, .tsv or .jsonl"
_UNPACK, _DATABASE = "unpack it", "read it by its address, sqlite:///PATH, with --query"
_ADVICE = {
    **dict.fromkeys(
        (".zip", ".tar", ".tgz", ".tbz2"),
        "an archive in a folder is not read, as its files often lie beside it; name it by itself, or unpack it here "
        "and move it elsewhere",
    ),
    **dict.fromkeys((".7z", ".rar", ".xz"), _UNPACK),
    **dict.fromkeys((".gz", ".bz2", ".zst"), "name it by its format too, as in tickets.csv.gz"),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3"), _DATABASE),
    ".numbers": "export it as CSV",
}


def choose_files(
    files: Iterable[FoundFile], wanted: SourceFormat, *, is_folder: bool
) -> tuple[list[FoundFile], list[UnreadFile]]:
    """Divide the files of a folder, or those that match a pattern.

    Args:
        files: All of them.
        wanted: The format that the user named, or auto.
        is_folder: They are a folder's, whose hidden files are left out; a pattern may ask for them.

    Returns:
        Those that are read, or tried where their names say no format; and the others with the reason.
    """
    chosen, unread = [], []
    for file in files:
        reason = _why_left_out(file, wanted, is_folder=is_folder)
        if reason is None:
            chosen.append(file)
        elif wanted is SourceFormat.AUTO and _may_be_text(file, reason):
            chosen.append(replace(file, is_tried=True))
        else:
            unread.append(reason)
    return chosen, unread


def why_not_read(name: str, suffix: str) -> UnreadFile:
    """What is said of a file whose name says no format that can be read."""
    what = f"no format that can be read ends in {suffix}" if suffix else "its name has no ending"
    return UnreadFile(name, f"{what}; {_ADVICE.get(suffix, _RENAME)}", may_hold_examples=True)


def _may_be_text(file: FoundFile, reason: UnreadFile) -> bool:
    """Whether it is read if it is named by itself, and text of a known format stands in it."""
    suffixes = [suffix.lower().rstrip("~") for suffix in PurePosixPath(file.relative).suffixes]
    # "train.csv.part", "train.csv~" and "train.csv.old" are copies or torn downloads of a data file.
    is_copy = file.relative.endswith("~") or not _OF_COPIES.isdisjoint(suffixes)
    is_other = is_copy or file.suffix in _ADVICE or not FORMAT_BY_SUFFIX.keys().isdisjoint(suffixes)
    return reason.may_hold_examples and not is_other and file.size != 0 and file.fault is None


def saved_splits(files: Iterable[FoundFile]) -> dict[str, str]:
    """The splits of a `DatasetDict` that was saved to disk: by the folder of each, its name."""
    names = [file.relative for file in files]
    roots = {name.removesuffix(_DATASET_DICT) for name in names if PurePosixPath(name).name == _DATASET_DICT}
    folders = {name.rpartition("/")[0] for name in names}
    return {
        folder: folder.rpartition("/")[2] for folder in folders if folder and folder[: folder.rfind("/") + 1] in roots
    }


def _why_left_out(file: FoundFile, wanted: SourceFormat, *, is_folder: bool) -> UnreadFile | None:
    name = PurePosixPath(file.relative).name.lower()
    known = FORMAT_BY_SUFFIX.get(file.suffix)
    suffix = file.suffix or file.packed_suffix
    if is_folder and is_hidden(file.relative):
        reason = "it is hidden, by its name"
    elif any(fnmatch(name, pattern) for pattern in _METADATA + (() if known else _TEXTS)):
        reason = "its name says that it describes the data"
    elif suffix in _HOLD_NO_EXAMPLES:
        reason = f"files that end in {suffix} hold no examples"
    elif known is None:
        return why_not_read(file.name, suffix)
    elif wanted not in (SourceFormat.AUTO, known):
        return UnreadFile(file.name, f"it is {known} by its name, and --format names {wanted}", may_hold_examples=True)
    else:
        return None
    return UnreadFile(file.name, reason, may_hold_examples=False)
