"""A worker: `python -m retune.server.worker LISTENER`, which answers requests on a socket that it inherits.

It reads the server's settings as a line of JSON from standard input, and says `ready` on standard output once it
answers. Standard input stays open as long as the main process lives; when it ends, so does the worker.
"""

import json
import logging
import os
import signal
import socket
import sys
import threading

from retune.errors import RetuneError
from retune.server.app import build_app
from retune.server.child_process import take_standard_output, wait_for_parents_end
from retune.server.http_server import run_http_server
from retune.server.logs import set_up_logging
from retune.server.services import Services
from retune.server.settings import ServerSettings
from retune.server.workers import READY

_log = logging.getLogger(__name__)


def main() -> int:
    """Run one worker."""
    ready = take_standard_output()
    introduction = json.loads(sys.stdin.buffer.readline())
    settings = ServerSettings.model_validate(introduction["settings"])
    set_up_logging(settings.log_file)
    threading.Thread(target=_stop_with_main_process, daemon=True).start()
    try:
        services = Services.open_beside(settings, introduction["instance"])
    except RetuneError as error:
        _log.error("%s", error)
        return 1
    listener = socket.socket(fileno=int(sys.argv[1]))
    run_http_server(build_app(services), listener, on_started=lambda: _say_ready(ready), shares_listener=True)
    return 0


def _say_ready(handle: int) -> None:
    os.write(handle, READY)
    os.close(handle)


def _stop_with_main_process() -> None:
    wait_for_parents_end()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
