"""Applications and libraries of others, and older versions of the SDK, each in its own environment."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server_process import ServerProcess, ended, example_lines, upload

CLIENTS = Path(__file__).parents[2] / "support" / "clients"
CITIES = ["Berlin", "Tokyo", "Madrid", "Oslo", "Cairo", "Quito", "Delhi"]
TICKET = {"city": "Tokyo", "urgent": True}
QUESTION = "ticket 8 from Tokyo"
CHATTING = (
    "aisuite", "autogen", "dspy", "haystack", "instructor", "langchain", "litellm", "llama_index", "llm", "magentic",
    "mirascope", "openai_agents", "pydantic_ai", "smolagents",
)  # fmt: skip
UV = Path(sys.executable).with_name("uv")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not UV.exists(), reason="uv, which `make` installs, is missing"),
]


def run(command: list[str | Path], **environment: str) -> str:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=480
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def new_environment(folder: Path, *requirements: str | Path) -> Path:
    """The interpreter of a new environment with these requirements; skips where there is no network for them."""
    run([UV, "venv", "--quiet", "--python", sys.executable, folder])
    python = folder / "bin" / "python"
    command = [UV, "pip", "install", "--quiet", "--python", python, *requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "Failed to fetch" in done.stderr:
        pytest.skip("the package index can't be reached")
    assert done.returncode == 0, done.stderr
    return python


def tickets() -> bytes:
    examples = [
        {
            "messages": [
                {"role": "user", "content": f"ticket {number} from {CITIES[number % 7]}"},
                {"role": "assistant", "content": json.dumps({"city": CITIES[number % 7], "urgent": number % 7 < 3})},
            ]
        }
        for number in range(42)
    ]
    return b"".join(json.dumps(example).encode() + b"\n" for example in examples)


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where a server answers and which of its models knows the tickets, as environment variables."""
    server = ServerProcess(tmp_path_factory.mktemp("clients") / "data").start()
    client = server.client()
    job = client.fine_tuning.jobs.create(
        model="gpt-4o-mini-2024-07-18", training_file=upload(client, tickets()).id, hyperparameters={"n_epochs": 8}
    )
    yield {
        "OPENAI_BASE_URL": server.base_url,
        "OPENAI_API_KEY": "none",
        "MODEL": str(ended(client, job.id).fine_tuned_model),
        "QUESTION": QUESTION,
        "TRAINING_LINES": example_lines(14).decode(),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # It would ask for prices elsewhere, three times.
    }
    assert server.end(signal.SIGTERM) == 0


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, variables: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What each client saw. One process runs them all: most of their time is for importing much the same."""
    python = new_environment(tmp_path_factory.mktemp("python") / "env", "--requirement", CLIENTS / "requirements.txt")
    command: list[str | Path] = [
        python,
        "-W",
        "ignore",
        CLIENTS / "python_clients.py",
        *CHATTING,
        "litellm_fine_tuning",
    ]
    # The last line: LiteLLM prints advice before it.
    return dict(json.loads(run(command, **variables).splitlines()[-1]))


@pytest.mark.parametrize("name", CHATTING)
def test_third_party_client_works(name: str, seen: dict[str, dict[str, Any]]) -> None:
    answers = seen[name]
    assert "failure" not in answers, answers["failure"]
    assert answers
    texts = {json.loads(answers[kind])["city"] for kind in ("whole", "streamed") if kind in answers}
    assert texts <= {"Tokyo"}
    assert answers.get("structured", TICKET) == TICKET


def test_litellm_fine_tuning(seen: dict[str, dict[str, Any]]) -> None:
    ended_well = {"is_listed": True, "status": "cancelled"}
    assert seen["litellm_fine_tuning"] == {
        "openai": {"model": "gpt-3.5-turbo-0125", **ended_well},
        "azure": {"model": "gpt-35-turbo-0125", **ended_well},
    }


@pytest.mark.parametrize("version", ["0.28.1", "1.0.0", "1.40.0", "1.109.1", "2.0.0", "2.54.0", "3.54.0"])
def test_older_openai_sdk_works(version: str, tmp_path: Path, variables: dict[str, str]) -> None:
    # httpx 0.28 took away what openai before 1.55.3 calls it with.
    python = new_environment(tmp_path / "env", f"openai=={version}", "httpx<0.28")
    seen: dict[str, Any] = json.loads(run([python, CLIENTS / "sdk_versions.py"], **variables))
    assert json.loads(seen["whole"]) == json.loads(seen["streamed"]) == TICKET
    assert (seen["status"], seen["events"]) == ("succeeded", 5)
    assert seen["filename"] == ("file" if version.startswith("0.") else "train.jsonl")
