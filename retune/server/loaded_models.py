"""The models that answer, loaded when they are first asked for; the last few used stay in memory."""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict

from retune.trainers.base import LanguageModel, Trainer


class ModelObject(TypedDict):
    """The Model object."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    shutdown_date: None


@dataclass(frozen=True, slots=True)
class Model:
    """A model by its name.

    Attributes:
        base_model: The base that its name shows: its own for a base or an alias.
        directory: Its checkpoint, relative to the data directory; None for an untrained base.
    """

    name: str
    created_at: int
    owned_by: str
    base_model: str
    directory: str | None

    def to_object(self) -> ModelObject:
        """The Model object."""
        return {
            "id": self.name,
            "object": "model",
            "created": self.created_at,
            "owned_by": self.owned_by,
            "shutdown_date": None,
        }


class _CachedModel(NamedTuple):
    model: Model
    at: float


@dataclass(slots=True)
class _Entry:
    loading: threading.Lock = field(default_factory=threading.Lock)
    model: LanguageModel | None = None


class LoadedModels:
    """Loads each checkpoint once, however many ask for it at the same time.

    Args:
        trainer: What loads them.
        capacity: How many stay in memory.
        cache_seconds: How long a model that was found is assumed to exist. That long may a deleted one keep
            answering in another process, where its checkpoint could not be removed.
    """

    def __init__(self, trainer: Trainer, *, capacity: int = 4, cache_seconds: float = 1.0) -> None:
        self._trainer = trainer
        self._capacity = capacity
        self._recall_seconds = cache_seconds
        self._lock = threading.Lock()
        self._entries: OrderedDict[Path | None, _Entry] = OrderedDict()
        self._cached: dict[str, _CachedModel] = {}

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

    def find_cached(self, name: str, data_directory: Path) -> Model | None:
        """A model that was found a moment ago, as long as its checkpoint is there.

        To delete a model removes its checkpoint, whichever process does it: what could be removed is never recalled.
        """
        found = self._cached.get(name)
        if found is None:
            return None
        directory = found.model.directory
        if directory is None:
            return found.model
        if time.monotonic() < found.at + self._recall_seconds and (data_directory / directory).is_dir():
            return found.model
        self._cached.pop(name, None)
        return None

    def cache(self, model: Model) -> None:
        """Cache a model that was found just now, so that the next request need not ask the database."""
        self._cached[model.name] = _CachedModel(model, time.monotonic())

    def evict(self, name: str, directory: Path) -> None:
        """Drop a model that is deleted."""
        self._cached.pop(name, None)
        with self._lock:
            self._entries.pop(directory, None)

    def _entry(self, directory: Path | None) -> _Entry:
        with self._lock:
            entry = self._entries.setdefault(directory, _Entry())
            self._entries.move_to_end(directory)
            while len(self._entries) > self._capacity:
                self._entries.popitem(last=False)
            return entry
