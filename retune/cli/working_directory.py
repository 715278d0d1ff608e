"""A directory for temporary files of a command."""

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from retune.cli.terminal import print_quietly
from retune.staging import CHECK_PREFIX, staging_directory

_ENDING = (signal.SIGTERM, signal.SIGHUP)
_EXIT_OF_SIGNALS = 128


class _Ended(SystemExit):
    """A signal asked the program to stop."""


def _end(number: int, _frame: FrameType | None) -> None:
    raise _Ended(_EXIT_OF_SIGNALS + number)


@contextmanager
def working_directory() -> Iterator[Path]:
    """A directory that is removed afterwards, also after a signal; after SIGKILL, by the next check."""
    # What is ignored already, as by nohup, stays so.
    before = {number: signal.getsignal(number) for number in _ENDING if signal.getsignal(number) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, _end)
    before[signal.SIGINT] = signal.getsignal(signal.SIGINT)
    try:
        with staging_directory(Path(tempfile.gettempdir()), prefix=CHECK_PREFIX) as directory:
            try:
                yield directory
            finally:
                # A second Ctrl-C, which impatient people press, would leave half of it behind.
                for number in before:
                    signal.signal(number, signal.SIG_IGN)
    except _Ended as ended:
        name = signal.Signals(int(str(ended.code)) - _EXIT_OF_SIGNALS).name
        print_quietly(f"Stopped by {name}. Temporary files were removed.")
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
