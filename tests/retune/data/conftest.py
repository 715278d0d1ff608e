from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def banking77() -> Path:
    path = Path(__file__).parents[4] / "shared/data/banking77/train.csv"
    if not path.exists():
        pytest.skip("the shared data is not here")
    return path
