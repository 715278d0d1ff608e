"""`/v1/models`: list, retrieve, delete. The trainer's base models, their aliases, and the fine-tuned ones."""

import logging
import shutil
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from retune.server.errors import ApiError
from retune.server.loaded_models import Model
from retune.server.services import ServicesOf
from retune.server.storage.statuses import UNFINISHED_JOBS
from retune.server.storage.tables import CheckpointPermissionRow, JobRow, ModelRow
from retune.trainers.base import Trainer

# The model object wants a creation time; this is the day when Retune's base models first appeared.
_BASE_CREATED_AT = 1_795_132_800
_OWNER = "retune"
router = APIRouter(prefix="/models")
_log = logging.getLogger(__name__)


def all_models(session: Session, trainer: Trainer) -> list[Model]:
    """All models: the bases, then the fine-tuned ones, oldest first."""
    fine_tuned = session.scalars(select(ModelRow).order_by(ModelRow.position)).all()
    return [*_base_models(trainer), *map(_fine_tuned, fine_tuned)]


def find_model(session: Session, trainer: Trainer, name: str) -> Model | None:
    """The model of this name."""
    row = session.scalar(select(ModelRow).where(ModelRow.name == name))
    if row is not None:
        return _fine_tuned(row)
    return next((model for model in _base_models(trainer) if model.name == name), None)


def get_model(session: Session, trainer: Trainer, name: str) -> Model:
    """Like `find_model`.

    Raises:
        ApiError: 404: there is no such model.
    """
    model = find_model(session, trainer, name)
    if model is None:
        raise ApiError(404, f"The model '{name}' does not exist", param="model", code="model_not_found")
    return model


def remove_model(session: Session, trainer: Trainer, name: str) -> str:
    """Delete a fine-tuned model with its permissions.

    Returns:
        Its directory, for the caller to remove once this is committed.

    Raises:
        ApiError: 404: there is no such model; 403: it is a base model; 409: an unfinished job starts from it.
    """
    model = get_model(session, trainer, name)
    if model.directory is None:
        raise ApiError(403, f"The model '{name}' is a base model of this server and can't be deleted.", param="model")
    starts_from_it = select(JobRow.id).where(JobRow.model == name, JobRow.status.in_(UNFINISHED_JOBS)).limit(1)
    job_id = session.scalar(starts_from_it)
    if job_id is not None:
        raise ApiError(
            409,
            f"The model '{name}' is in use by the fine-tuning job {job_id}, which is not finished. "
            "Cancel the job or wait for its end, then delete the model.",
            param="model",
            code="model_in_use",
        )
    session.execute(delete(ModelRow).where(ModelRow.name == name))
    session.execute(delete(CheckpointPermissionRow).where(CheckpointPermissionRow.checkpoint == name))
    return model.directory


def _base_models(trainer: Trainer) -> list[Model]:
    base = trainer.base_model
    alias_owner = f"{_OWNER}:alias-of:{base}"
    return [
        Model(base, _BASE_CREATED_AT, _OWNER, base, None),
        *(Model(alias, _BASE_CREATED_AT, alias_owner, alias, None) for alias in trainer.aliases),
    ]


def _fine_tuned(row: ModelRow) -> Model:
    return Model(row.name, row.created_at, _OWNER, row.base_model, row.directory)


@router.get("")
def list_models(services: ServicesOf) -> JSONResponse:
    """List all models that answer."""
    with services.database.read() as session:
        models = all_models(session, services.trainer)
    return JSONResponse({"object": "list", "data": [model.to_object() for model in models]})


# A model's name may hold what a client had to escape: `path` takes slashes too.
@router.get("/{name:path}")
def retrieve_model(name: str, services: ServicesOf) -> JSONResponse:
    """Retrieve one model."""
    with services.database.read() as session:
        return JSONResponse(get_model(session, services.trainer, name).to_object())


@router.delete("/{name:path}")
def delete_model(name: str, services: ServicesOf) -> JSONResponse:
    """Delete a fine-tuned model, with its weights."""
    with services.database.write() as session:
        relative = remove_model(session, services.trainer, name)
    directory = services.directory.path / relative
    services.loaded_models.evict(name, directory)
    _remove(directory)
    return JSONResponse({"id": name, "object": "model", "deleted": True})


def _remove(directory: Path) -> None:
    # Removed in one step: half a checkpoint must never be loaded.
    doomed = directory.with_name(f"deleted-{directory.name}")
    try:
        directory.rename(doomed)
        shutil.rmtree(doomed)
    except OSError as error:
        _log.warning("%s of a deleted model could not be removed; the next start removes it: %s", directory, error)
