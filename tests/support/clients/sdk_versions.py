"""One walk through the API with whatever version of openai-python is installed; prints what it saw as one JSON object.

From 1.0 on every answer is validated strictly by the SDK's own types. OPENAI_BASE_URL, OPENAI_API_KEY, MODEL, QUESTION
and TRAINING_LINES are as in python_clients.py.
"""

import json
import os
import pathlib
import tempfile
import time
from typing import Any

import openai

MODEL, QUESTION = os.environ["MODEL"], os.environ["QUESTION"]
MESSAGES: Any = [{"role": "user", "content": QUESTION}]
ENDED = {"succeeded", "failed", "cancelled"}
_DEADLINE_SECONDS = 60


def training_file() -> pathlib.Path:
    path = pathlib.Path(tempfile.mkdtemp()) / "train.jsonl"
    path.write_text(os.environ["TRAINING_LINES"])
    return path


def walk_before_1() -> dict[str, Any]:
    """What code for openai 0.28 does: module functions, and uploads that are named `file`."""
    library: Any = openai
    library.api_base, library.api_key = os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
    with training_file().open("rb") as stream:
        file = library.File.create(file=stream, purpose="fine-tune")
    job = library.FineTuningJob.create(training_file=file.id, model="gpt-3.5-turbo-0125")
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while job.status not in ENDED and time.monotonic() < deadline:
        time.sleep(0.1)
        job = library.FineTuningJob.retrieve(job.id)
    asked = {"model": MODEL, "messages": MESSAGES, "temperature": 0}
    chunks = library.ChatCompletion.create(**asked, stream=True)
    return {
        "filename": file.filename,
        "status": job.status,
        "events": len(library.FineTuningJob.list_events(id=job.id, limit=5).data),
        "whole": library.ChatCompletion.create(**asked).choices[0].message.content,
        "streamed": "".join(chunk.choices[0].delta.get("content", "") for chunk in chunks),
    }


def walk() -> dict[str, Any]:
    url = os.environ["OPENAI_BASE_URL"]  # 1.0 does not look for it there itself
    client = openai.OpenAI(base_url=url, max_retries=0, _strict_response_validation=True)
    with training_file().open("rb") as stream:
        file = client.files.create(file=stream, purpose="fine-tune")
    job: Any = client.fine_tuning.jobs.create(training_file=file.id, model="gpt-3.5-turbo-0125")
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while job.status not in ENDED and time.monotonic() < deadline:
        time.sleep(0.1)
        job = client.fine_tuning.jobs.retrieve(job.id)
    chunks = client.chat.completions.create(model=MODEL, messages=MESSAGES, temperature=0, stream=True)
    whole = client.chat.completions.create(model=MODEL, messages=MESSAGES, temperature=0)
    client.completions.create(model="babbage-002", prompt=QUESTION)
    assert client.models.retrieve(MODEL).id == MODEL
    assert MODEL in [model.id for model in client.models.list()]
    assert file.id in [one.id for one in client.files.list()]
    assert job.id in [one.id for one in client.fine_tuning.jobs.list(limit=2)]
    return {
        "filename": file.filename,
        "status": job.status,
        "events": len(client.fine_tuning.jobs.list_events(job.id, limit=5).data),
        "whole": whole.choices[0].message.content,
        "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in chunks),
    }


if __name__ == "__main__":
    is_old = not hasattr(openai, "OpenAI")
    print(json.dumps(walk_before_1() if is_old else walk()))
