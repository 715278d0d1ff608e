"""`/v1/models`: list, retrieve, delete."""

import shutil

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from retune.server.models import store as model_store
from retune.server.services import ServicesOf

router = APIRouter(prefix="/models")


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
    services.chat_models.forget(directory)
    shutil.rmtree(directory, ignore_errors=True)
    return JSONResponse({"id": name, "object": "model", "deleted": True})
