"""Clients other than Python's: openai-node from npm, and curl as OpenAI's documentation uses it."""

import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from openai.types.fine_tuning import FineTuningJob
from server_process import ServerProcess, example_lines

NODE = Path(__file__).parents[2] / "support" / "node"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """openai-node as the lock names it, in a folder of the tests' own."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed")
    if int(run(["node", "--version"]).removeprefix("v").partition(".")[0]) < 20:
        pytest.skip("openai-node needs node 20 or newer")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "client.mjs", "ai-sdk.mjs"):
        shutil.copy(NODE / name, folder)
    done = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and not registry_answers():
        pytest.skip("the npm registry can't be reached, and openai-node is not in npm's cache")
    assert done.returncode == 0, done.stderr
    return folder


def registry_answers() -> bool:
    registry = run(["npm", "config", "get", "registry"])
    try:
        with urllib.request.urlopen(f"{registry.rstrip('/')}/openai", timeout=20):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def run(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def seen(
    installed: Path, server: ServerProcess, notification: tuple[bytes, dict[str, str], str], tmp_path_factory: Any
) -> dict[str, Any]:
    """What openai-node saw of the server."""
    folder = tmp_path_factory.mktemp("files")
    body = {"model": "gpt-4o-mini-2024-07-18", "messages": [{"role": "user", "content": "question 1"}]}
    lines = [
        {"custom_id": f"request-{n}", "method": "POST", "url": "/v1/chat/completions", "body": body} for n in range(3)
    ]
    (folder / "train.jsonl").write_bytes(example_lines(12))
    (folder / "batch.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    payload, headers, secret = notification
    told = {"payload": payload.decode(), "headers": headers, "secret": secret}
    (folder / "notification.json").write_text(json.dumps(told))
    command = ["node", str(installed / "client.mjs"), str(folder)]
    return dict(json.loads(run(command, OPENAI_BASE_URL=server.base_url, OPENAI_API_KEY="any")))


@pytest.mark.slow
def test_node_trains_a_model(seen: dict[str, Any]) -> None:
    job = seen["job"]
    assert (job["status"], job["trained_tokens"] > 0, job["error"]) == ("succeeded", True, None)
    assert re.fullmatch(r"ft:gpt-4o-mini-2024-07-18:retune:node:\w{8}", job["fine_tuned_model"])
    assert seen["file"]["filename"] == "train.jsonl"
    assert seen["made"]["status"] == "validating_files"
    assert job["id"] in seen["jobs"]
    messages = [event["message"] for event in seen["events"]]
    assert messages[0] == "The job has successfully completed"
    assert messages[-1] == f"Created fine-tuning job: {job['id']}"
    assert len({event["id"] for event in seen["events"]}) == len(messages) > 24
    assert seen["checkpoints"][0]["fine_tuned_model_checkpoint"] == job["fine_tuned_model"]
    assert seen["result"].startswith("step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n")


@pytest.mark.slow
def test_node_chats_with_the_model(seen: dict[str, Any]) -> None:
    chat = seen["chat"]
    assert seen["job"]["fine_tuned_model"] in seen["models"]
    assert chat["content"] == chat["streamed"] != ""
    assert chat["usage"] == chat["streamed_usage"]
    assert chat["finish_reason"] in {"stop", "length"}


@pytest.mark.slow
def test_node_uploads_in_parts_and_works_in_batches(seen: dict[str, Any]) -> None:
    assert seen["upload"] == {"status": "completed", "same": True}
    assert seen["batch"] == {
        "status": "completed",
        "counts": {"total": 3, "completed": 3, "failed": 0},
        "custom_ids": ["request-0", "request-1", "request-2"],
    }
    assert seen["deleted"]["deleted"] is True


@pytest.mark.slow
def test_node_reads_errors_and_notifications(seen: dict[str, Any]) -> None:
    refusal = seen["refusal"]
    assert re.fullmatch(r"req_[0-9a-f]{32}", refusal.pop("request_id"))
    assert refusal == {"is_not_found": True, "status": 404, "code": "model_not_found", "param": "model"}
    assert seen["notification"]["type"] == "fine_tuning.job.succeeded"
    assert seen["notification"]["data"]["id"].startswith("ftjob-")


@pytest.mark.slow
def test_the_ai_sdk_uses_responses(installed: Path, server: ServerProcess, labels: str, agent: str) -> None:
    command = ["node", str(installed / "ai-sdk.mjs"), labels, agent]
    seen = json.loads(run(command, OPENAI_BASE_URL=server.base_url))

    assert seen["whole"] == seen["streamed"] == ["no JSON", "stop", seen["whole"][2]]
    assert seen["object"] == seen["streamed_object"] == seen["chat_object"] == {"label": "b", "sure": False}
    assert seen["forced"] == [["get_weather", {"city": "Oslo"}]]
    assert seen["loop"] == seen["streamed_loop"] == "It is sunny in Oslo."
    assert seen["history"]


def test_curl_commands_of_the_documentation_work(
    server: ServerProcess, succeeded: FineTuningJob, tmp_path: Path
) -> None:
    """The address of the server in place of api.openai.com, and nothing else."""
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    (tmp_path / "mydata.jsonl").write_bytes(example_lines(12))

    def curl(path: str, *options: str) -> Any:
        key = ("-H", "Authorization: Bearer $OPENAI_API_KEY")
        return json.loads(run(["curl", "-sS", f"{server.base_url}{path}", *key, *options]))

    as_json = ("-H", "Content-Type: application/json", "-d")
    file = curl("/files", "-F", "purpose=fine-tune", "-F", f"file=@{tmp_path}/mydata.jsonl")
    job = curl("/fine_tuning/jobs", *as_json, json.dumps({"training_file": file["id"], "model": "gpt-4o-mini"}))
    cancelled = curl(f"/fine_tuning/jobs/{job['id']}/cancel", "-X", "POST")
    question = {"model": succeeded.fine_tuned_model, "messages": [{"role": "user", "content": "question 1"}]}
    chat = curl("/chat/completions", *as_json, json.dumps(question))
    deleted = curl(f"/files/{file['id']}", "-X", "DELETE")

    assert (file["filename"], job["status"]) == ("mydata.jsonl", "validating_files")
    assert cancelled["status"] == "cancelled"
    assert chat["choices"][0]["message"]["role"] == "assistant"
    assert deleted == {"id": file["id"], "object": "file", "deleted": True}
    assert curl("/files/file-abc123")["error"]["message"] == "No such File object: file-abc123"
