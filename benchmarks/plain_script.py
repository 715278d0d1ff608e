"""What people write without a pipeline: the same steps with the SDK, pandas, scikit-learn and plotly, top to bottom.

python plain_script.py TABLE OUTPUT_DIRECTORY      (OPENAI_BASE_URL and OPENAI_API_KEY say where)
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.express as px
from openai import OpenAI
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split

BASE_MODEL = "baseline-text"


def main(table: Path, output: Path) -> None:
    output.mkdir(parents=True)
    client = OpenAI()
    rows = pd.read_csv(table, dtype=str)
    train, rest = train_test_split(rows, test_size=0.2, random_state=42)
    validation, test = train_test_split(rest, test_size=0.5, random_state=42)
    files = {}
    for name, part in (("train", train), ("validation", validation)):
        path = output / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"messages": conversation(row)}) + "\n" for row in part.itertuples()))
        files[name] = client.files.create(file=path.open("rb"), purpose="fine-tune").id
    job = client.fine_tuning.jobs.create(
        model=BASE_MODEL, training_file=files["train"], validation_file=files["validation"], seed=42
    )
    while job.status not in {"succeeded", "failed", "cancelled"}:
        time.sleep(0.5)
        job = client.fine_tuning.jobs.retrieve(job.id)
    assert job.fine_tuned_model, job.error
    result = output / "step_metrics.csv"
    result.write_bytes(client.files.content(job.result_files[0]).read())
    px.line(pd.read_csv(result), x="step", y="train_loss").write_html(output / "loss.html")
    scores = {model: judge(client, model, test) for model in (BASE_MODEL, job.fine_tuned_model)}
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=100))
    started = next(event.created_at for event in events if event.message == "Fine-tuning job started")
    summary = {"scores": scores, "job_seconds": events[0].created_at - started}
    (output / "summary.json").write_text(json.dumps(summary))


def conversation(row: Any) -> list[dict[str, str]]:
    return [{"role": "user", "content": row.message}, {"role": "assistant", "content": row.answer}]


def judge(client: OpenAI, model: str, test: pd.DataFrame) -> dict[str, float]:
    def answer(row: Any) -> str:
        prompt: list[Any] = conversation(row)[:1]
        completion = client.chat.completions.create(model=model, messages=prompt, temperature=0, max_tokens=512)
        return completion.choices[0].message.content or ""

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(answer, test.itertuples()))
    expected = list(test["answer"])
    return {
        "accuracy": float(accuracy_score(expected, answers)),
        "macro_f1": float(f1_score(expected, answers, average="macro", zero_division=0)),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
