"""Everything that the routes use, opened together and closed together."""

import os
import secrets
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Annotated, TypedDict

from fastapi import Depends, Request

from retune.server.fair_slots import FairSlots
from retune.server.loaded_models import LoadedModels
from retune.server.request_metrics import RequestMetrics
from retune.server.settings import ServerSettings
from retune.server.storage.content_store import ContentStore
from retune.server.storage.data_directory import DataDirectory, not_writable
from retune.server.storage.database import Database
from retune.server.storage.engines import database_url
from retune.server.work_queue import BackgroundWork
from retune.trainers.base import Trainer
from retune.trainers.registry import default_trainer


class TokenUsage(TypedDict):
    """The `usage` object."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]
    completion_tokens_details: dict[str, int]


@dataclass(frozen=True, slots=True)
class Services:
    """One open data directory, with its database, contents and trainer.

    Attributes:
        background: The background work; `open_services` adds it.
    """

    settings: ServerSettings
    directory: DataDirectory
    database: Database
    contents: ContentStore
    trainer: Trainer
    loaded_models: LoadedModels
    model_slots: FairSlots
    metrics: RequestMetrics
    version: str
    instance: str
    background: list[BackgroundWork] = field(default_factory=list)

    @classmethod
    def open(cls, settings: ServerSettings) -> "Services":
        """Lock the data directory and open what is in it; nothing is started yet.

        Raises:
            ServerError: Another server has the directory, it can't be written, or its database is damaged.
        """
        directory = DataDirectory(settings.data_directory)
        directory.lock()
        try:
            directory.prepare()
            return cls._open(settings, directory, instance=secrets.token_hex(8), owner=True)
        except OSError as error:
            directory.unlock()
            raise not_writable(directory.path, error) from error
        except BaseException:
            directory.unlock()
            raise

    @classmethod
    def open_for_worker(cls, settings: ServerSettings, instance: str) -> "Services":
        """Open the directory of a running server in a worker process, to answer requests and nothing else.

        Raises:
            ServerError: The database can't be used.
        """
        return cls._open(settings, DataDirectory(settings.data_directory), instance=instance, owner=False)

    @classmethod
    def _open(cls, settings: ServerSettings, directory: DataDirectory, *, instance: str, owner: bool) -> "Services":
        trainer = default_trainer()
        return cls(
            settings=settings,
            directory=directory,
            contents=ContentStore(directory.contents),
            trainer=trainer,
            loaded_models=LoadedModels(trainer),
            # More at once than there are cores answer nothing sooner: they only take the interpreter's lock from
            # each other.
            model_slots=FairSlots(max(2, os.cpu_count() or 1)),
            metrics=RequestMetrics(directory.metrics if settings.workers > 1 else None),
            version=version("retune"),
            instance=instance,
            # Last: nothing can fail behind it and leave it open.
            database=Database(database_url(settings.database_url, directory.database), owner=owner),
        )

    def start(self) -> None:
        """Start the background work."""
        for work in self.background:
            work.start()

    def wake(self) -> None:
        """Wake the background work: the database has changed. Without this, it would notice a little later."""
        for work in self.background:
            work.wake()

    def count_usage(self, usage: TokenUsage) -> None:
        """Count the tokens of a model's answer for `/metrics`, from its `usage` object."""
        self.metrics.count_tokens(prompt=usage["prompt_tokens"], completion=usage["completion_tokens"])
        self.metrics.models_loaded.set(len(self.loaded_models))

    def close(self) -> None:
        """Stop the background work and unlock the data directory; a second call does nothing."""
        for work in reversed(self.background):
            work.stop()
        self.database.close()
        self.directory.unlock()


async def _services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesOf = Annotated[Services, Depends(_services_of)]
