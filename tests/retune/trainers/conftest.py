"""A small set of real-looking messages, and a model trained on it."""

import json
from pathlib import Path

import pytest
from trainings import Pair, trained_model, write_rows

from retune.trainers.base import LanguageModel

_WISHES = {
    "refund": ["I want my money back", "please refund my order", "返金してください", "我要退款", "give me a refund"],
    "delivery": ["where is my parcel", "my parcel never arrived", "荷物が届きません", "包裹还没到", "track my parcel"],
    "login": ["I forgot my password", "my login fails", "ログインできません", "登录不了", "reset my password"],
}
_MANNERS = {
    "high": ["{}!!! this is urgent", "{} 今すぐ! urgent", "urgent: {}!"],
    "low": ["{}", "hello, {}", "{} thanks"],
}


@pytest.fixture(scope="session")
def support_pairs() -> list[Pair]:
    """90 short customer messages in three languages; six different JSON answers."""
    return [
        (manner.format(wish), json.dumps({"intent": intent, "urgency": urgency}))
        for intent, wishes in _WISHES.items()
        for urgency, manners in _MANNERS.items()
        for wish in wishes
        for manner in manners
    ]


@pytest.fixture(scope="session")
def support_file(support_pairs: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The messages as a training file."""
    return write_rows(tmp_path_factory.mktemp("support") / "train.jsonl", support_pairs)


@pytest.fixture(scope="session")
def support_model(support_file: Path, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """A model trained on the messages."""
    return trained_model(support_file, tmp_path_factory.mktemp("support-job"), batch_size=1)
