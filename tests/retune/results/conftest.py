"""A finished run to report on."""

import os
import shutil
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from retune.evaluation.examples import Answer
from retune.results.evaluation_figures import evaluation_figures
from retune.results.figures import training_figures
from retune.results.report_data import (
    DataFacts,
    JobFacts,
    ReportData,
    SplitFacts,
    StepDuration,
    report_evaluation,
)
from retune.results.report_figures import describe_figures

NASTY = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked=2'> "
    "\"quoted\" 'too' & `x` | 日本語 中文 \u2028"
)
INTENTS = ["refund", "login", "delivery", "<b>bold</b>"]


PROMPTS = [NASTY, "返金はいつですか", "我的订单在哪里？"]


def answer(index: int, content: str | None) -> Answer:
    return Answer(
        index=index,
        prompt=[{"role": "system", "content": "Sort."}, {"role": "user", "content": PROMPTS[index % 3]}],
        expected=INTENTS[index % 4],
        content=content,
        error=None if content is not None else "404 model_not_found: gone",
        latency_seconds=0.01 * (index + 1),
        prompt_tokens=20,
        completion_tokens=3,
    )


@pytest.fixture
def base_answers() -> list[Answer]:
    """Right in every fifth."""
    return [answer(i, INTENTS[i % 4] if i % 5 == 0 else NASTY) for i in range(40)]


@pytest.fixture
def fine_tuned_answers() -> list[Answer]:
    """Wrong in every tenth, which is also one that the base model has right."""
    return [answer(i, INTENTS[i % 4] if i % 10 else NASTY) for i in range(40)]


@pytest.fixture
def metrics_table() -> pd.DataFrame:
    steps = np.arange(1, 61)
    losses = 3 * np.exp(-steps / 20)
    table = pd.DataFrame({"step": steps, "train_loss": losses, "train_mean_token_accuracy": 1 - losses / 4})
    table["valid_loss"] = np.where(steps % 10 == 0, losses + 0.1, np.nan)
    table["full_valid_loss"] = np.select([steps == 20, steps == 40, steps == 60], [0.9, 0.5, 0.6], np.nan)
    return table


@pytest.fixture
def checkpoints() -> list[dict[str, object]]:
    return [{"step_number": step, "fine_tuned_model_checkpoint": f"ft:m::x:ckpt-step-{step}"} for step in (60, 40, 20)]


@pytest.fixture
def report(
    base_answers: list[Answer],
    fine_tuned_answers: list[Answer],
    metrics_table: pd.DataFrame,
    checkpoints: list[dict[str, object]],
) -> ReportData:
    evaluation = report_evaluation(base_answers, fine_tuned_answers)
    figures = training_figures(metrics_table, checkpoints, n_epochs=3)
    figures |= evaluation_figures(evaluation.comparison, fine_tuned_answers)
    return ReportData(
        run_key="7f3a9c",
        finished_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        job=JobFacts(
            id="ftjob-1",
            status="succeeded",
            provider_url="http://127.0.0.1:4000/v1",
            base_model="baseline-text",
            fine_tuned_model="ft:baseline-text:o:<i>:abc",
            hyperparameters={"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.0},
            trained_tokens=1234,
            metrics_sources=["result file"],
        ),
        data=DataFacts(source=NASTY, n_rows=400, splits=[SplitFacts(name="train", n_examples=320, n_tokens=999)]),
        durations=[StepDuration(name="wait for job", seconds=12.5), StepDuration(name="load data", seconds=0.1)],
        warnings=[f"Row 3 holds {NASTY}"],
        evaluation=evaluation,
        figures=describe_figures(figures),
    )


@pytest.fixture(scope="session")
def browser_path() -> str:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = os.environ.get("BROWSER_PATH") or next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium on this machine")
    return path
