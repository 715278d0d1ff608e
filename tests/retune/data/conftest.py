from pathlib import Path

import pytest

from retune.config import DataConfig
from retune.data.examples import Example
from retune.data.sources import load_examples


@pytest.fixture(scope="session")
def banking77() -> Path:
    path = Path(__file__).parents[4] / "shared/data/banking77/train.csv"
    if not path.exists():
        pytest.skip("the shared data is not here")
    return path


@pytest.fixture(scope="session")
def banking77_examples(banking77: Path) -> list[Example]:
    return load_examples(DataConfig(path=banking77, user_column="text", assistant_column="category")).examples
