"""Which watch it is, where it keeps its files, and that it runs once at a time."""

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from retune.config import DataConfig, RetrainConfig
from retune.data.example.example import canonical_json
from retune.files import writing
from retune.private_files import home_directory, make_private_directory, private_opener
from retune.run import compute_run_key


def source_hash(data: DataConfig) -> str:
    """16 hexadecimal digits that name a source: where it is, and the query that reads it."""
    return hashlib.sha256(canonical_json([data.source, data.query])).hexdigest()[:16]


def watch_key(config: RetrainConfig) -> str:
    """16 hexadecimal digits that name a watch: the source, and everything in the config that changes the model.

    Another base model or split is another watch, whose first check finds everything new: nothing was trained with it.
    """
    # Settings at their defaults are left out, so that a setting that is new makes no other watch.
    data = hashlib.sha256(canonical_json(config.data.model_dump(mode="json", exclude_defaults=True))).hexdigest()
    # As for run keys: what changes no model makes no other watch.
    return compute_run_key(config, data_sha256=data, provider_identity=config.provider.base_url or "")[:16]


class WatchFiles:
    """The files of one watch, in `watch/` of Retune's home directory; all workers should share that.

    Args:
        config: What would be trained.

    Attributes:
        known: Hashes of the examples that were announced last. Where it is lost, everything is new once more.
        counted: Hashes of the examples that were counted last, on their way to `known`.
    """

    def __init__(self, config: RetrainConfig) -> None:
        self._path = home_directory().absolute() / "watch" / watch_key(config)
        self.known = self._path.with_suffix(".known.npy")
        self.counted = self._path.with_suffix(".counted.npy")

    @contextmanager
    def exclusive(self) -> Iterator[bool]:
        """Hold the watch for this process; the lock ends with it, however it ends.

        Yields:
            Whether it is held: False where another process is checking right now.

        Raises:
            RunDirectoryError: The home directory can't be written.
        """
        path: Path = self._path.with_suffix(".lock")
        with writing(path):
            make_private_directory(path.parent)
            lock = open(path, "a", opener=private_opener)  # noqa: SIM115 - closed by its owner
        with lock:
            yield _try_to_lock(lock, path)

    def keep_counted(self) -> None:
        """Make what was counted last what was announced last.

        Raises:
            RunDirectoryError: The home directory can't be written.
        """
        with writing(self.known):
            self.counted.replace(self.known)


def _try_to_lock(lock: IO[str], path: Path) -> bool:
    # Some network file systems have no locks, and say so.
    with writing(path):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
