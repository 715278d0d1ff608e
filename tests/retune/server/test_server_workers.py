import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from server_process import ServerProcess, ended, example_lines, messages_on_record, upload, wait_for

COUNT = 3


def workers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task").glob("*/children")
    found = [int(child) for path in children for child in path.read_text().split()]
    return [child for child in found if "retune.server.process.workers" in command_of(child)]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, compiled: dict[str, str]):
    data = tmp_path_factory.mktemp("workers") / "data"
    server = ServerProcess(data, ("--workers", str(COUNT)), compiled).start()
    yield server
    assert server.process
    workers = workers_of(server.process.pid)
    assert server.end(signal.SIGTERM) == 0
    assert not any(command_of(worker) for worker in workers)
    assert not (data / "metrics").exists()


def pid_of(server: ServerProcess) -> int:
    assert server.process
    return server.process.pid


def test_there_are_as_many_workers_as_asked_for(many: ServerProcess):
    assert len(workers_of(pid_of(many))) == COUNT
    assert many.announcement["pid"] == pid_of(many)
    assert {many.request("GET", "/health").json["instance"] for _ in range(20)} == {many.announcement["instance"]}


def test_what_one_worker_took_all_know(many: ServerProcess):
    def round_trip(number: int) -> bool:
        body = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--b\r\nContent-Disposition: '
        body += b'form-data; name="file"; filename="t.jsonl"\r\n\r\n%d\r\n--b--\r\n' % number
        # Each request has a connection of its own, so that any worker may get it.
        made = many.request("POST", "/v1/files", body, {"Content-Type": "multipart/form-data; boundary=b"})
        return many.request("GET", f"/v1/files/{made.json['id']}/content").content == b"%d" % number

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(round_trip, range(60)))


def test_a_job_runs_to_its_end_and_another_is_cancelled(many: ServerProcess):
    client = many.client()
    first = client.fine_tuning.jobs.create(
        model="gpt-4o-mini", training_file=upload(client, example_lines(10)).id, hyperparameters={"n_epochs": 1}
    )
    second = client.fine_tuning.jobs.create(
        model="gpt-4o-mini", training_file=upload(client, example_lines(400)).id, hyperparameters={"n_epochs": 50}
    )

    assert ended(client, first.id).status == "succeeded"
    wait_for(lambda: client.fine_tuning.jobs.retrieve(second.id).status == "running", "its start")
    assert client.fine_tuning.jobs.cancel(second.id).status == "cancelled"
    assert client.fine_tuning.jobs.retrieve(second.id).status == "cancelled"
    trainings = [pid for pid in many.training_processes() if "training.process" in command_of(pid)]
    wait_for(lambda: not any(command_of(pid) for pid in trainings), "the end of the training")
    assert messages_on_record(client, first.id)[-1] == "The job has successfully completed"


def test_figures_are_those_of_all_workers(many: ServerProcess):
    for _ in range(30):
        assert many.request("GET", "/v1/models/baseline-text").status == 200

    figures = many.request("GET", "/metrics").content.decode()
    line = next(line for line in figures.splitlines() if "/v1/models/{" in line and "requests_total" in line)
    assert float(line.rsplit(" ", 1)[1]) >= 30
    assert "process_resident_memory_bytes" in figures


def test_figures_have_what_the_main_process_counts(many: ServerProcess):
    client = many.client()
    body = {"model": "baseline-text", "messages": [{"role": "user", "content": "anything"}]}
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body}
    file = client.files.create(file=("batch.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")

    wait_for(lambda: client.batches.retrieve(batch.id).status == "completed", "its end")

    figures = many.request("GET", "/metrics").content.decode()
    counted = re.search(r'^retune_completion_tokens_total\{kind="prompt"\} (\S+)$', figures, re.MULTILINE)
    assert counted
    assert float(counted[1]) > 0
    assert re.search(r"^retune_models_loaded 1\.0$", figures, re.MULTILINE)


def test_a_worker_that_dies_is_replaced(many: ServerProcess):
    before = workers_of(pid_of(many))
    os.kill(before[0], signal.SIGKILL)

    wait_for(lambda: len(set(workers_of(pid_of(many))) - set(before)) == 1, "another worker")
    for _ in range(20):
        assert many.request("GET", "/v1/models").status == 200


def test_killing_the_main_process_leaves_nothing_behind(start_server):
    server: ServerProcess = start_server("--workers", "2")
    workers = workers_of(pid_of(server))
    assert len(workers) == 2

    server.end(signal.SIGKILL)

    wait_for(lambda: not any(command_of(worker) for worker in workers), "the workers' end")
