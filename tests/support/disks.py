"""A small disk to be filled."""

import os
from pathlib import Path


def fill(disk: Path, *, leave: int) -> Path:
    """Take all room of a disk but so many bytes; the file that takes it, to be removed again."""
    status = os.statvfs(disk)
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        os.posix_fallocate(stream.fileno(), 0, status.f_bavail * status.f_frsize - leave)
    return ballast
