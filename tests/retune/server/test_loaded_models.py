from pathlib import Path

import pytest

from retune.server.errors import ApiError
from retune.server.generation.model_lookup import chat_model
from retune.server.loaded_models import LoadedModels, Model
from retune.server.services import Services
from retune.server.settings import ServerSettings
from retune.trainers.registry import default_trainer

CHECKPOINT = "jobs/a/epoch-0001"
FINE_TUNED = Model("ft:baseline-text:retune::a", 0, "retune", "baseline-text", CHECKPOINT)
BASE = Model("baseline-text", 0, "retune", "baseline-text", None)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    directory = tmp_path / CHECKPOINT
    directory.mkdir(parents=True)
    return directory


def test_a_model_is_recalled_as_long_as_its_checkpoint_is_there(tmp_path: Path, checkpoint: Path):
    models = LoadedModels(default_trainer())
    models.cache(FINE_TUNED)
    assert models.find_cached(FINE_TUNED.name, tmp_path) == FINE_TUNED

    checkpoint.rmdir()

    assert models.find_cached(FINE_TUNED.name, tmp_path) is None


def test_a_model_that_was_deleted_is_not_recalled_though_its_checkpoint_stays(tmp_path: Path, checkpoint: Path):
    models = LoadedModels(default_trainer())
    models.cache(FINE_TUNED)

    models.evict(FINE_TUNED.name, checkpoint)

    assert models.find_cached(FINE_TUNED.name, tmp_path) is None


@pytest.mark.usefixtures("checkpoint")
def test_what_was_found_long_ago_is_looked_up_again(tmp_path: Path):
    models = LoadedModels(default_trainer(), cache_seconds=0)
    for model in (FINE_TUNED, BASE):
        models.cache(model)

    assert models.find_cached(FINE_TUNED.name, tmp_path) is None
    # A base is never deleted.
    assert models.find_cached(BASE.name, tmp_path) == BASE


@pytest.mark.usefixtures("checkpoint")
def test_a_model_that_is_deleted_before_it_is_loaded_does_not_exist(tmp_path: Path):
    services = Services.open(ServerSettings(data_directory=tmp_path))
    try:
        services.loaded_models.cache(FINE_TUNED)
        with pytest.raises(ApiError) as caught:
            chat_model(services, FINE_TUNED.name)
    finally:
        services.close()

    assert (caught.value.status, caught.value.body["error"]["code"]) == (404, "model_not_found")
