"""Libraries and applications that ask for structured answers or call functions, against the running server."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from server_process import ServerProcess

CLIENTS = Path(__file__).parents[2] / "support" / "applications"
LABEL_B = {"label": "b", "sure": False}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the libraries and nothing of this project."""
    environment = tmp_path_factory.mktemp("clients") / "venv"
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(environment)], check=True)
    interpreter = environment / "bin" / "python"
    requirements = str(CLIENTS / "requirements.txt")
    command = [uv, "pip", "install", "--quiet", "--python", str(interpreter), "-r", requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "Failed to fetch" in done.stderr:
        pytest.skip("the package index can't be reached, and the libraries are not in uv's cache")
    assert done.returncode == 0, done.stderr
    return interpreter


@pytest.fixture(scope="module")
def seen(python: Path, server: ServerProcess, labels: str, agent: str, tmp_path_factory: Any) -> dict[str, Any]:
    folder = str(tmp_path_factory.mktemp("llm"))
    environment = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "any", "LLM_USER_PATH": folder}
    done = subprocess.run(
        [str(python), str(CLIENTS / "applications.py"), labels, agent, folder],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("library", ["instructor", "langchain", "pydantic_ai", "llama_index", "openai_agents", "llm"])
def test_structured_answers(seen: dict[str, Any], library: str):
    assert seen[library] == [LABEL_B] * len(seen[library])
    assert len(seen[library]) > 1


def test_agents_call_a_function_and_tell_its_result(seen: dict[str, Any]):
    assert seen["calls"] == ["It is sunny in Rome."] * 4
