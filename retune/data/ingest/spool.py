"""Handing large values from process to process through files that are read where they lie.

A pipe would copy every byte four times, and allocate it three times. These files live for a moment: they are removed
before the system writes them out.
"""

import mmap
import pickle
import struct
from pathlib import Path
from typing import Any

from retune.files import writing
from retune.private_files import make_private_directory, private_opener

_SIZE = struct.Struct("<Q")


def make_directory(path: Path) -> None:
    """Make the directory that values are written to.

    Raises:
        RunDirectoryError: It can't be made.
    """
    with writing(path):
        make_private_directory(path)


def dump(value: object, path: Path) -> None:
    """Write a value: its pickle, and beside it the buffers of its arrays as they are.

    Raises:
        RunDirectoryError: The file can't be written.
    """
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    pieces = [memoryview(head), *(buffer.raw() for buffer in buffers)]
    sizes = b"".join(_SIZE.pack(len(piece)) for piece in pieces)
    with writing(path.parent), open(path, "xb", buffering=0, opener=private_opener) as stream:
        for piece in (memoryview(_SIZE.pack(len(pieces)) + sizes), *pieces):
            _write_all(stream, piece)


def load(path: Path) -> Any:
    """Read what `dump` wrote, and remove the file; arrays stay where they are, for as long as somebody uses them.

    Only for files that this program wrote itself: a pickle runs code.
    """
    with path.open("rb") as stream:
        content = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    path.unlink()
    (count,) = _SIZE.unpack_from(content)
    sizes = struct.unpack_from(f"<{count}Q", content, _SIZE.size)
    place = _SIZE.size * (count + 1)
    pieces = []
    for size in sizes:
        pieces.append(content[place : place + size])
        place += size
    return pickle.loads(pieces[0], buffers=pieces[1:])  # noqa: S301  (written by this program a moment ago)


def _write_all(stream: Any, content: memoryview) -> None:
    while len(content):
        content = content[stream.write(content) :]
