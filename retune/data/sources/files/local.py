"""Finding files on this machine."""

import glob
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from retune.data.sources.files.found_files import FoundFile, has_wildcard, is_hidden, names_near, split_pattern
from retune.errors import EmptySourceError, SourceError
from retune.redaction.addresses import expand


def find_local_files(written: str, source: str, *, follow_links: bool = False) -> tuple[list[FoundFile], bool]:
    """Find a file, the files of a folder, or those of a pattern.

    Links to folders are not walked through, as they may lead in circles.

    Args:
        written: The path as the user wrote it.
        source: The path with the values of its variables.
        follow_links: Links to files that are not below the folder, or the pattern's, are allowed.

    Returns:
        The files in order of their paths, and whether it is just the one that the user named.

    Raises:
        SourceError: There is none, or a folder can't be read.
    """
    place = os.path.expanduser(source)  # noqa: PTH111  (a Path would drop the slash at the end)
    try:
        kind = _kind(place)
        if kind is None and has_wildcard(place):
            return _matching_files(written, place, follow_links=follow_links), False
        if kind is None:
            raise _nothing_at(written, Path(place))
        if stat.S_ISDIR(kind):
            return _files_below(written, place, follow_links=follow_links), False
        return [_stored(written, Path(place).name, Path(place))], True
    except (OSError, ValueError) as error:
        raise explain_os_error(written, error) from None


def explain_os_error(name: str, error: Exception) -> SourceError:
    """The error for a file or folder that the operating system doesn't give out."""
    if isinstance(error, SourceError):
        return error
    reason = getattr(error, "strerror", None) or str(error)
    return SourceError(f"Can't read {name}: {reason}.")


def _kind(place: str) -> int | None:
    try:
        return Path(place).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _files_below(written: str, folder: str, *, follow_links: bool) -> list[FoundFile]:
    relatives = sorted(_walk(folder))
    root = written.rstrip("/") + "/"
    bound = None if follow_links else Path(folder)
    return [
        FoundFile(root + relative, relative, None, Path(folder, relative).open)  # It is left out, whatever it is.
        if is_hidden(relative)
        else _stored(root + relative, relative, Path(folder, relative), bound)
        for relative in relatives
    ]


def _walk(folder: str) -> Iterator[str]:
    """The files below a folder; of hidden folders their names alone, with a slash at the end."""

    def fail(error: OSError) -> None:
        raise explain_os_error(str(error.filename), error)

    for parent, folders, names in os.walk(folder, onerror=fail):
        hidden = [name for name in folders if is_hidden(f"{name}/x")]
        folders[:] = [name for name in folders if name not in hidden]
        place = Path(parent).relative_to(folder)
        yield from (f"{(place / name).as_posix()}/" for name in hidden)
        yield from ((place / name).as_posix() for name in names)


def _matching_files(written: str, pattern: str, *, follow_links: bool) -> list[FoundFile]:
    root, below = split_pattern(pattern)
    # The folder before the first wildcard is shown as it was written, with its ~ and its variables.
    shown, rest = split_pattern(written) if has_wildcard(written) else (root, "")
    if os.path.expanduser(expand(shown)) != root:  # noqa: PTH111  (as above)
        shown = root
    matches = sorted(match for match in _matches(pattern) if not Path(match).is_dir())
    if not is_hidden(below):
        matches = [match for match in matches if not is_hidden(match[len(root) :])]
    if not matches:
        folder = Path(root)
        there = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        no_folder = f"There is no folder {shown}." if root and not folder.is_dir() else None
        kind = SourceError if no_folder else EmptySourceError
        raise kind(f"No file matches {written}.", hint=no_folder or names_near(rest, there))
    bound = None if follow_links else Path(root)
    return [_stored(shown + path[len(root) :], path[len(root) :], Path(path), bound) for path in matches]


def _matches(pattern: str) -> set[str]:
    """What a pattern matches; `**` doesn't follow links, as it does in the standard library's."""
    parts = pattern.split("/")
    if "**" not in parts:
        return set(glob.iglob(pattern))  # noqa: PTH207  (a Path would drop what stands before a slash)
    place = parts.index("**")
    below = "/".join(parts[place + 1 :]) or "*"
    roots = glob.iglob("/".join(parts[:place]) + "/") if place else [""]  # noqa: PTH207  (as above)
    return {match for root in roots for folder in _folders(root) for match in _matches(glob.escape(folder) + below)}


def _folders(root: str) -> Iterator[str]:
    """A folder that ends in a slash, and those in it and below."""
    for parent, folders, _ in os.walk(root or "."):
        folders[:] = [name for name in folders if not name.startswith(".")]
        relative = os.path.relpath(parent, root or ".")
        yield root if relative == "." else f"{root}{relative}/"


def _stored(name: str, relative: str, path: Path, bound: Path | None = None) -> FoundFile:
    status = path.stat()
    fault = None
    if not stat.S_ISREG(status.st_mode):
        fault = SourceError(f"{name} is not a regular file.", hint="Write what it gives to a file, and name that.")
    elif bound is not None and not path.resolve().is_relative_to(bound.resolve()):
        fault = SourceError(
            f"{name} is a link to {path.resolve()}, which is outside of the folder.",
            hint="Name that file itself; or let links lead out of the folder: data.follow_links (--follow-links).",
        )
    # A copy may keep the time of its content; no program sets the other one.
    version = f"{status.st_mtime_ns} {status.st_ctime_ns}"
    return FoundFile(
        name, relative, status.st_size, lambda: path.open("rb", buffering=0), path, version=version, fault=fault
    )


def _nothing_at(written: str, path: Path) -> SourceError:
    message = f"There is no file or folder {written}."
    parent = path.parent
    if not parent.is_dir():
        return SourceError(message, hint=f"There is no folder {Path(written).parent} either.")
    return SourceError(message, hint=names_near(path.name, (entry.name for entry in parent.iterdir())))
