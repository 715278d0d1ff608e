"""`python -m retune.server`: the server as a process of its own."""

import argparse
import logging
import sys
from pathlib import Path

from pydantic import ValidationError

from retune.errors import ServerError
from retune.server.serve import serve
from retune.server.settings import API_KEY_VARIABLE, ServerSettings
from retune.server.storage.data_directory import DataDirectoryInUseError

_log = logging.getLogger(__name__)
_EXIT_FAILED = 1


def main() -> int:
    """Run the server; the exit status tells whoever started it what went wrong."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        serve(_settings())
    except ServerError as error:
        _log.error("%s", error)  # a traceback would bury the one line that helps
        return DataDirectoryInUseError.EXIT_STATUS if isinstance(error, DataDirectoryInUseError) else _EXIT_FAILED
    return 0


def _settings() -> ServerSettings:
    parser = argparse.ArgumentParser(prog="python -m retune.server", description="Run the fine-tuning server.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8123, help="port; 0 takes any free one (default: 8123)")
    parser.add_argument("--data-dir", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--api-key", help=f"key of clients; {API_KEY_VARIABLE} is not seen in the list of processes")
    parser.add_argument("--max-concurrent-jobs", type=int, default=1, help="trainings at once (default: 1)")
    parser.add_argument("--max-queued-jobs", type=int, default=100, help="jobs that may wait (default: 100)")
    parser.add_argument("--max-file-bytes", type=int, default=512 << 20, help="largest upload (default: 512 MiB)")
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when standard input ends")
    given = vars(parser.parse_args())
    given["data_directory"] = given.pop("data_dir")
    if given["api_key"] is None:
        del given["api_key"]
    try:
        return ServerSettings(**given)
    except ValidationError as error:
        problem = error.errors()[0]
        parser.error(f"--{str(problem['loc'][0]).replace('_', '-')}: {problem['msg']}")


if __name__ == "__main__":
    sys.exit(main())
