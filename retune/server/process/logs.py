"""The server's log: standard error, or a bounded file."""

import fcntl
import logging
from pathlib import Path
from typing import TextIO

from retune.errors import ServerError
from retune.private_files import make_private_directory, private_opener
from retune.processes.logs import MAX_LOG_BYTES, bound_log

_FORMAT = "%(asctime)s %(levelname)s %(message)s"


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
    """Appends to a file that several processes may share; see `retune.processes.logs.bound_log`.

    Args:
        path: The file.
        max_bytes: Of it, and of the second file; a line may reach over it.

    Raises:
        OSError: The file can't be written.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_LOG_BYTES) -> None:
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
            bound_log(self._path, self._max_bytes)
        except OSError:
            self.handleError(record)  # A full disk must not end the request that is logged.
        finally:
            fcntl.flock(self.stream, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file."""
        self.stream.close()
        super().close()
