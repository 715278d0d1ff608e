"""It really learns: answers to messages it has not seen, far above what guessing gives."""

import csv
from pathlib import Path

import pytest
from trainings import Pair, ask, trained_model, write_rows

from retune.trainers.base import LanguageModel, RequestedHyperparameters
from retune.trainers.registry import default_trainer

REPOSITORY = Path(__file__).parents[3]
TICKETS = REPOSITORY / "examples" / "support_tickets.csv"
BANKING = REPOSITORY.parent / "shared" / "data" / "banking77" / "train.csv"


def read_pairs(path: Path, *columns: str) -> list[Pair]:
    with path.open(encoding="utf-8", newline="") as stream:
        return [(line[columns[0]], line[columns[1]]) for line in csv.DictReader(stream)]


def exact_match_on_every_fifth(pairs: list[Pair], directory: Path) -> float:
    """Train on four fifths with the automatic hyperparameters; the fraction of right answers on the rest."""
    held_out = pairs[::5]
    training = [pair for index, pair in enumerate(pairs) if index % 5]
    numbers = default_trainer().resolve_hyperparameters(RequestedHyperparameters(), n_examples=len(training))
    path = write_rows(directory / "train.jsonl", training)
    model = trained_model(path, directory / "job", **numbers.model_dump())
    return sum(ask(model, user) == answer for user, answer in held_out) / len(held_out)


def test_trained_model_repeats_its_training_answers(support_model: LanguageModel, support_pairs: list[Pair]) -> None:
    right = sum(ask(support_model, user) == answer for user, answer in support_pairs)
    assert right >= 0.98 * len(support_pairs)


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("could you refund this order", "refund"),
        ("退款", "refund"),
        ("パスワードでログイン", "login"),
        ("parcel?", "delivery"),
    ],
)
def test_it_answers_new_messages_in_three_languages(support_model: LanguageModel, text: str, intent: str) -> None:
    assert f'"intent": "{intent}"' in ask(support_model, text)


@pytest.mark.skipif(not TICKETS.exists(), reason="the example table is not there")
@pytest.mark.slow
def test_it_learns_varied_customer_messages(tmp_path: Path) -> None:
    # Some thirty different answers, about equally frequent: guessing gives 0.05.
    assert exact_match_on_every_fifth(read_pairs(TICKETS, "message", "answer"), tmp_path) > 0.5


@pytest.mark.skipif(not BANKING.exists(), reason="the shared data is not there")
def test_it_learns_twelve_intents_of_a_bank_from_a_few_hundred_questions(tmp_path: Path) -> None:
    pairs = read_pairs(BANKING, "text", "category")
    intents = sorted({intent for _, intent in pairs})[::6]
    chosen = [pair for intent in intents for pair in [p for p in pairs if p[1] == intent][:35]]
    assert exact_match_on_every_fifth(chosen, tmp_path) > 0.85
