"""`python -m retune.server`: the server as a process of its own."""

import atexit
import gc
import logging
import sys

import typer

from retune.errors import RetuneError
from retune.server.process.command import start
from retune.server.process.logs import set_up_logging
from retune.server.storage.data_directory import DataDirectoryInUseError

_log = logging.getLogger(__name__)
_EXIT_FAILED = 1


def main() -> int:
    """Run the server and return its exit status."""
    # Else Python looks for cycles in all that the libraries made, several times, while somebody waits for the end.
    atexit.register(gc.freeze)
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(start)
    try:
        app(prog_name="python -m retune.server")
    except RetuneError as error:
        set_up_logging(None)  # Where it failed before it had a log.
        _log.error("%s", error)  # a traceback would bury the one line that helps
        return DataDirectoryInUseError.EXIT_STATUS if isinstance(error, DataDirectoryInUseError) else _EXIT_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
