"""The server's log: standard error, or a bounded file."""

import fcntl
import logging
import os
import shutil
from pathlib import Path
from typing import TextIO

from retune.errors import ServerError
from retune.private_files import make_private_directory, private_opener

_FORMAT = "%(asctime)s %(levelname)s %(message)s"
_MAX_BYTES = 10 * 1024 * 1024


def set_up_logging(log_file: Path | None) -> None:
    """Log to a bounded file; to standard error if none is named.

    Raises:
        ServerError: The file can't be written.
    """
    try:
        handler = logging.StreamHandler() if log_file is None else BoundedFileHandler(log_file)
    except OSError as error:
        hint = "Name another file with --log-file."
        raise ServerError(f"Can't write the log {log_file}: {error.strerror}.", hint=hint) from error
    logging.basicConfig(level=logging.INFO, format=_FORMAT, handlers=[handler])
    # At INFO it logs its plugins; the server logs its migrations itself.
    logging.getLogger("alembic").setLevel(logging.WARNING)


class BoundedFileHandler(logging.StreamHandler[TextIO]):
    """Appends to a file that several processes may share; when it is full, its content replaces that of a second file.

    The file is emptied in place and never replaced: every process that has it open continues at its new end.

    Args:
        path: The file. The second one has `.1` behind its name.
        max_bytes: Of each of the two; a line may reach over it.

    Raises:
        OSError: The file can't be written.
    """

    def __init__(self, path: Path, *, max_bytes: int = _MAX_BYTES) -> None:
        make_private_directory(path.parent)
        stream = open(path, "a", encoding="utf-8", errors="backslashreplace", opener=private_opener)  # noqa: SIM115 - the handler's
        super().__init__(stream)
        self._path = path
        self._max_bytes = max_bytes

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        fcntl.flock(self.stream, fcntl.LOCK_EX)
        try:
            super().emit(record)
            if os.fstat(self.stream.fileno()).st_size > self._max_bytes:
                shutil.copyfile(self._path, self._path.with_name(self._path.name + ".1"))
                self.stream.truncate(0)
        except OSError:
            self.handleError(record)  # A full disk must not end the request that is logged.
        finally:
            fcntl.flock(self.stream, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file."""
        self.stream.close()
        super().close()
