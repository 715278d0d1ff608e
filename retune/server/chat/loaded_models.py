"""The models that chat answers with, loaded when they are first asked for; the last few used stay in memory."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from retune.trainers.base import ChatModel, Trainer


@dataclass(slots=True)
class _Entry:
    loading: threading.Lock = field(default_factory=threading.Lock)
    model: ChatModel | None = None


class ChatModels:
    """Loads each checkpoint once, however many ask for it at the same time."""

    def __init__(self, trainer: Trainer, *, capacity: int = 4) -> None:
        self._trainer = trainer
        self._capacity = capacity
        self._lock = threading.Lock()
        self._entries: OrderedDict[Path | None, _Entry] = OrderedDict()

    def get(self, directory: Path | None) -> ChatModel:
        """The model of a checkpoint directory; of the untrained base where it is None.

        Raises:
            TrainerError: There is no checkpoint that the trainer can read.
        """
        entry = self._entry(directory)
        with entry.loading:
            if entry.model is None:
                entry.model = self._trainer.load(directory)
            return entry.model

    def forget(self, directory: Path) -> None:
        """Let go of a model that is deleted."""
        with self._lock:
            self._entries.pop(directory, None)

    def _entry(self, directory: Path | None) -> _Entry:
        with self._lock:
            entry = self._entries.setdefault(directory, _Entry())
            self._entries.move_to_end(directory)
            while len(self._entries) > self._capacity:
                self._entries.popitem(last=False)
            return entry
