"""The models that chat answers with, loaded when they are first asked for; the last few used stay in memory."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from retune.server.models.store import Model
from retune.trainers.base import LanguageModel, Trainer


@dataclass(slots=True)
class _Entry:
    loading: threading.Lock = field(default_factory=threading.Lock)
    model: LanguageModel | None = None


class ChatModels:
    """Loads each checkpoint once, however many ask for it at the same time."""

    def __init__(self, trainer: Trainer, *, capacity: int = 4) -> None:
        self._trainer = trainer
        self._capacity = capacity
        self._lock = threading.Lock()
        self._entries: OrderedDict[Path | None, _Entry] = OrderedDict()
        self._found: dict[str, Model] = {}

    def __len__(self) -> int:
        """How many models are in memory."""
        return len(self._entries)

    def get(self, directory: Path | None) -> LanguageModel:
        """The model of a checkpoint directory; of the untrained base where it is None.

        Raises:
            TrainerError: There is no checkpoint that the trainer can read.
        """
        entry = self._entry(directory)
        with entry.loading:
            if entry.model is None:
                entry.model = self._trainer.load(directory)
            return entry.model

    def recall(self, name: str, data_directory: Path) -> Model | None:
        """A model as it was found last, as long as its checkpoint is there.

        To delete a model removes its checkpoint, whichever process does it: nothing deleted is recalled.
        """
        model = self._found.get(name)
        if model is None or model.directory is None or (data_directory / model.directory).is_dir():
            return model
        self._found.pop(name, None)
        return None

    def remember(self, model: Model) -> None:
        """Remember a model that was found, so that the next request for it need not look again."""
        self._found[model.name] = model

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
