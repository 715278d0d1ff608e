"""Any models on the same examples, asked at a real host."""

from pathlib import Path
from typing import Any

import openai
import pytest
from chat_host import Host, completion, failure, questions
from fastapi import Response

from retune.config import EvaluationConfig
from retune.evaluation.evaluate_models import ModelToAsk, evaluate_models

SETTINGS = EvaluationConfig(concurrency=4, max_tokens=9, temperature=0.0)


def by_model(body: dict[str, Any], _attempt: int) -> Response:
    """`right` knows every answer, `half` every other one, and nobody has `gone`."""
    number = int(str(body["messages"][-1]["content"]).split()[-1])
    if body["model"] == "gone":
        return failure(404, "There is no model gone", code="model_not_found")
    return completion(f"expected {number}" if body["model"] == "right" or number % 2 else "?")


async def test_each_model_is_compared_with_the_first(host: Host, client: openai.AsyncOpenAI, tmp_path: Path) -> None:
    host.behave = by_model
    models = [ModelToAsk(name, "local", client) for name in ("half", "right", "gone")]
    seen: list[tuple[str, int, int]] = []
    found = await evaluate_models(
        models, questions(20), SETTINGS, answers_directory=tmp_path, on_progress=lambda *how: seen.append(how)
    )
    half, right, gone = found.models
    assert [model.scores.exact_match for model in found.models] == [0.5, 1.0, 0.0]
    assert half.difference is None
    # The answers are open text, of which chrF says most.
    assert right.rows[0].name == "chrf"
    assert right.difference
    assert right.difference.is_certain
    [exact] = [row for row in right.rows if row.name == "exact_match"]
    assert (exact.base, exact.fine_tuned, exact.better) == (0.5, 1.0, True)
    assert found.silent == [gone]
    assert {model for model, done, total in seen if done == total == 20} == {"half", "right", "gone"}


async def test_a_question_is_asked_once_of_a_model_at_a_host(
    host: Host, client: openai.AsyncOpenAI, tmp_path: Path
) -> None:
    async def ask(model: str, at: str) -> int:
        host.requests.clear()
        await evaluate_models([ModelToAsk(model, at, client)], questions(6), SETTINGS, answers_directory=tmp_path)
        return len(host.requests)

    assert await ask("m", "a.example") == 6
    assert await ask("m", "a.example") == 0
    # The same name elsewhere is another model.
    assert await ask("m", "b.example") == 6
    assert await ask("../../m", "a.example") == 6


@pytest.mark.parametrize(
    ("hosts", "titles"),
    [(["local", "local"], ["m", "m"]), (["local", "a.example"], ["m at local", "m at a.example"])],
)
async def test_models_of_several_hosts_are_shown_with_their_hosts(
    host: Host, client: openai.AsyncOpenAI, tmp_path: Path, hosts: list[str], titles: list[str]
) -> None:
    models = [ModelToAsk("m", name, client) for name in hosts]
    found = await evaluate_models(models, questions(2), SETTINGS, answers_directory=tmp_path)
    assert found.titles == titles
