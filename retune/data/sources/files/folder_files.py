"""Which files of a folder are read, and why the others are not."""

from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import PurePosixPath

from retune.config import SourceFormat
from retune.data.sources.blocks import UnreadFile
from retune.data.sources.files.found_files import FORMAT_BY_SUFFIX, FoundFile, is_hidden

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
    is_other = file.suffix in FORMAT_BY_SUFFIX or file.suffix in _ADVICE
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
        reason = "it tells of the data and holds no examples, by its name"
    elif suffix in _HOLD_NO_EXAMPLES:
        reason = f"files that end in {suffix} hold no examples"
    elif known is None:
        return why_not_read(file.name, suffix)
    elif wanted not in (SourceFormat.AUTO, known):
        return UnreadFile(file.name, f"it is {known} by its name, and --format names {wanted}", may_hold_examples=True)
    else:
        return None
    return UnreadFile(file.name, reason, may_hold_examples=False)
