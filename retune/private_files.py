"""Files and directories for their owner alone: training data, answers, keys and databases are nobody else's business.

Two things keep them so. Every process of Retune's has a umask that takes all rights from others, which its children
and the libraries in them inherit. And what Retune writes itself is made with its mode, in whatever process: a flow run
of somebody's own worker has the umask of that worker.

A directory that its owner has given to a group, with `chmod g+ws`, is the group's, and so is what is made in it.
"""

import contextlib
import os
import re
import stat
from pathlib import Path
from typing import Final

_OTHERS: Final = 0o007
_GROUP_AND_OTHERS: Final = 0o077
_WRITABLE_BY_GROUP: Final = stat.S_ISGID | stat.S_IWGRP
# What lies at the top of a home, and of a server's data directory.
_MADE_BY_RETUNE: Final = re.compile(
    r"runs|watch|server|prefect|logs|results|files|jobs|batches|metrics|[a-z]+\.lock|server\.(json|log(\.1)?|sqlite(-[a-z]+)?)"
)
_user_umask: int | None = None


def home_directory() -> Path:
    """Where Retune keeps things: RETUNE_HOME, else `.retune` in the working directory."""
    return Path(os.environ.get("RETUNE_HOME") or ".retune")


def keep_files_private(home: Path) -> int:
    """Have all that this process and its children make be for its owner alone; close what is open in `home`.

    Args:
        home: Where Retune keeps its things. An earlier version left them open to everybody. One that is a group's
            stays so, and is closed to others. One that holds other things too is left as it is.

    Returns:
        How many files and directories were open to others and are no longer.
    """
    denied = denied_rights(home)
    _set_umask(denied)
    return _close(home, denied)


def what_was_closed(home: Path, n_closed: int) -> str:
    """What to tell of a home that was open."""
    return (
        f"{home} was open to other users of this machine, as earlier versions made it: {n_closed} files and "
        "directories are closed to them now. To share it with a group: chmod -R g+rwX, and chmod g+ws its directories."
    )


def denied_rights(directory: Path) -> int:
    """The rights that nobody but its owner, or its group, has on what is in a directory: a umask."""
    return _OTHERS if _is_shared(directory) else _GROUP_AND_OTHERS


def user_file_mode() -> int:
    """The mode of a file that the user has asked for at a place of the user's own choice."""
    if _user_umask is not None:
        return 0o666 & ~_user_umask
    umask = os.umask(_GROUP_AND_OTHERS)  # It can't be read without setting it.
    os.umask(umask)
    return 0o666 & ~umask


def private_mode(path: Path) -> int:
    """The mode of a new file at `path`: for its owner alone, or for the group that its directory belongs to."""
    return 0o660 if _is_shared(path.parent) else 0o600


def private_opener(path: str, flags: int) -> int:
    """What `open` is to open a file with that it may have to make."""
    return os.open(path, flags, private_mode(Path(path)))


def make_private_directory(path: Path) -> None:
    """Make a directory and those above it that are missing; what is there already keeps its mode.

    Raises:
        OSError: It can't be made, or is a file.
    """
    if path.is_dir():
        return
    make_private_directory(path.parent)
    path.mkdir(0o770 if _is_shared(path.parent) else 0o700, exist_ok=True)


def _set_umask(umask: int) -> None:
    global _user_umask  # noqa: PLW0603  # a umask is the process's, and so is what it was
    earlier = os.umask(umask)
    if _user_umask is None:
        _user_umask = earlier


def _is_shared(directory: Path) -> bool:
    try:
        return directory.stat().st_mode & _WRITABLE_BY_GROUP == _WRITABLE_BY_GROUP
    except OSError:
        return False


def _close(home: Path, denied: int) -> int:
    """Take `denied` from what is ours in a home that is open itself; in one that is closed nobody gets to it.

    A directory that holds anything but what Retune makes, such as a project's or /tmp, is left as it is.
    """
    if not home.is_dir() or not _is_open(home, denied):
        return 0
    if not all(_MADE_BY_RETUNE.fullmatch(path.name) for path in home.iterdir()):
        return 0
    n_closed = 0
    for directory, _, files in os.walk(home, topdown=False):
        for path in (*(Path(directory, name) for name in files), Path(directory)):
            # Something may be gone since it was listed; and who can't write here at all will be told so when writing.
            with contextlib.suppress(OSError):
                if _is_open(path, denied):
                    path.chmod(stat.S_IMODE(path.stat().st_mode) & ~denied)
                    n_closed += 1
    return n_closed


def _is_open(path: Path, denied: int) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    is_ours = found.st_uid == os.geteuid() and not stat.S_ISLNK(found.st_mode)
    return is_ours and bool(found.st_mode & denied)
