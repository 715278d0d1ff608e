"""Work that goes on behind requests: training jobs, batches, notifications."""

from typing import Final, Protocol

# Requests may be answered by other processes, whose news come through the database alone.
LOOK_AGAIN_SECONDS: Final = 0.5


class BackgroundWork(Protocol):
    """Works off what is in the database, in threads of its own. All are called by any thread.

    The database is the queue: what an earlier server left unfinished is taken up again, and `LOOK_AGAIN_SECONDS` after
    a change it is seen even if nobody called `wake`.
    """

    def start(self) -> None:
        """Begin."""
        ...

    def wake(self) -> None:
        """Look at the database now: something may have been added, or cancelled."""
        ...

    def is_alive(self) -> bool:
        """Whether all threads run that were started: none ends by itself, unless by a fault of the server."""
        ...

    def stop(self) -> None:
        """End all threads and processes, leaving unfinished work for the next server; a second time does nothing."""
        ...
