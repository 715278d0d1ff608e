"""The model that a request asks for: found by its name, of the right kind, and loaded."""

import logging

from retune.errors import TrainerError
from retune.server.errors import ApiError
from retune.server.models import store as model_store
from retune.server.models.store import Model
from retune.server.services import Services
from retune.trainers.base import LanguageModel

_log = logging.getLogger(__name__)
# As recorded of the service.
_NO_CHAT_MODEL = (
    "This is not a chat model and thus not supported in the v1/chat/completions endpoint. "
    "Did you mean to use v1/completions?"
)
_NO_COMPLETION_MODEL = (
    "This is a chat model and not supported in the v1/completions endpoint. Did you mean to use v1/chat/completions?"
)


def chat_model(services: Services, name: str) -> LanguageModel:
    """A model that answers conversations.

    Raises:
        ApiError: 404: there is no such model, or it completes prompts; 500: its checkpoint can't be read.
    """
    return _model(services, name, completes_prompts=False)


def completion_model(services: Services, name: str) -> LanguageModel:
    """A model that completes prompts.

    Raises:
        ApiError: 404: there is no such model, or it chats; 500: its checkpoint can't be read.
    """
    return _model(services, name, completes_prompts=True)


def _model(services: Services, name: str, *, completes_prompts: bool) -> LanguageModel:
    model = services.loaded_models.recall(name, services.directory.path) or _look_up(services, name)
    if model is None:
        raise _no_such_model(name)
    if (model.base_model in services.trainer.completion_models) != completes_prompts:
        raise ApiError(404, _NO_COMPLETION_MODEL if completes_prompts else _NO_CHAT_MODEL, param="model")
    directory = services.directory.path / model.directory if model.directory else None
    try:
        return services.loaded_models.get(directory)
    except TrainerError as error:
        if _look_up(services, name) is None:  # deleted meanwhile
            raise _no_such_model(name) from error
        _log.exception("The model %s can't be loaded", name)
        message = f"The model `{name}` can't be loaded: {error}"
        raise ApiError(500, message, type="server_error", code="model_not_loadable") from error


def _look_up(services: Services, name: str) -> Model | None:
    # PostgreSQL takes no NUL in a text, and no model has one in its name.
    if "\0" in name:
        return None
    with services.database.read() as session:
        model = model_store.find_model(session, services.trainer, name)
    if model is not None:
        services.loaded_models.remember(model)
    return model


def _no_such_model(name: str) -> ApiError:
    message = f"The model `{name}` does not exist or you do not have access to it."
    return ApiError(404, message, code="model_not_found")
