"""`/v1/models`: list, retrieve, delete."""

import logging
import shutil
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from retune.server.models import store as model_store
from retune.server.services import ServicesOf

router = APIRouter(prefix="/models")

_log = logging.getLogger(__name__)


@router.get("")
def list_models(services: ServicesOf) -> JSONResponse:
    """List all models that answer."""
    with services.database.read() as session:
        models = model_store.list_models(session, services.trainer)
    return JSONResponse({"object": "list", "data": [model.to_object() for model in models]})


# A model's name may hold what a client had to escape: `path` takes slashes too.
@router.get("/{name:path}")
def retrieve_model(name: str, services: ServicesOf) -> JSONResponse:
    """Retrieve one model."""
    with services.database.read() as session:
        return JSONResponse(model_store.get_model(session, services.trainer, name).to_object())


@router.delete("/{name:path}")
def delete_model(name: str, services: ServicesOf) -> JSONResponse:
    """Delete a fine-tuned model, with its weights."""
    with services.database.write() as session:
        relative = model_store.delete_model(session, services.trainer, name)
    directory = services.directory.path / relative
    services.loaded_models.forget(name, directory)
    _remove(directory)
    return JSONResponse({"id": name, "object": "model", "deleted": True})


def _remove(directory: Path) -> None:
    # Gone in one step: nobody may load half a checkpoint.
    doomed = directory.with_name(f"deleted-{directory.name}")
    try:
        directory.rename(doomed)
        shutil.rmtree(doomed)
    except OSError as error:
        _log.warning("%s of a deleted model could not be removed; the next start removes it: %s", directory, error)
