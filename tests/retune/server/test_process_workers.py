"""Several worker processes, and the metrics that they share."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from openai.types.fine_tuning import FineTuningJob
from prometheus_client.parser import text_string_to_metric_families
from server_process import ServerProcess, ended, example_lines, messages_on_record, upload
from waiting import wait_for

from retune.server.storage.statuses import JobStatus

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
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data = tmp_path_factory.mktemp("workers") / "data"
    server = ServerProcess(data, ("--workers", str(COUNT))).start()
    yield server
    assert server.process
    workers = workers_of(server.process.pid)
    assert server.end(signal.SIGTERM) == 0
    assert not any(command_of(worker) for worker in workers)
    assert not (data / "metrics").exists()


def pid_of(server: ServerProcess) -> int:
    assert server.process
    return server.process.pid


def test_the_requested_number_of_workers_runs(many: ServerProcess) -> None:
    assert len(workers_of(pid_of(many))) == COUNT
    assert many.announcement["pid"] == pid_of(many)
    assert {many.request("GET", "/health").json["instance"] for _ in range(20)} == {many.announcement["instance"]}


def test_objects_created_by_one_worker_are_seen_by_all(many: ServerProcess) -> None:
    def round_trip(number: int) -> bool:
        body = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--b\r\nContent-Disposition: '
        body += b'form-data; name="file"; filename="t.jsonl"\r\n\r\n%d\r\n--b--\r\n' % number
        # Each request has a connection of its own, so that any worker may get it.
        made = many.request("POST", "/v1/files", body, {"Content-Type": "multipart/form-data; boundary=b"})
        return many.request("GET", f"/v1/files/{made.json['id']}/content").content == b"%d" % number

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(round_trip, range(60)))


def test_a_job_runs_to_its_end_and_another_is_cancelled(many: ServerProcess) -> None:
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


def test_metrics_include_all_workers(many: ServerProcess) -> None:
    for _ in range(30):
        assert many.request("GET", "/v1/models/baseline-text").status == 200

    figures = many.request("GET", "/metrics").content.decode()
    line = next(line for line in figures.splitlines() if "/v1/models/{" in line and "requests_total" in line)
    assert float(line.rsplit(" ", 1)[1]) >= 30
    assert "process_resident_memory_bytes" in figures


def test_metrics_include_the_main_process(many: ServerProcess) -> None:
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


def test_a_worker_that_dies_is_replaced(many: ServerProcess) -> None:
    before = workers_of(pid_of(many))
    os.kill(before[0], signal.SIGKILL)

    wait_for(lambda: len(set(workers_of(pid_of(many))) - set(before)) == 1, "another worker")
    for _ in range(20):
        assert many.request("GET", "/v1/models").status == 200


@pytest.mark.slow
def test_killing_the_main_process_leaves_nothing_behind(start_server: Callable[..., ServerProcess]) -> None:
    server: ServerProcess = start_server("--workers", "2")
    workers = workers_of(pid_of(server))
    assert len(workers) == 2

    server.end(signal.SIGKILL)

    wait_for(lambda: not any(command_of(worker) for worker in workers), "the workers' end")


def figures(server: ServerProcess) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = server.request("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    samples = [s for family in text_string_to_metric_families(answer.content.decode()) for s in family.samples]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples)
    return found


def figure(server: ServerProcess, name: str, **labels: str) -> float:
    return figures(server).get((name, frozenset(labels.items())), 0.0)


def test_requests_are_counted_by_route(server: ServerProcess) -> None:
    labels = {"method": "GET", "route": "/v1/files/{file_id}", "status": "404"}
    before = figure(server, "retune_http_requests_total", **labels)
    timed = figure(server, "retune_http_request_duration_seconds_count", route="/v1/files/{file_id}")

    for number in range(5):
        assert server.request("GET", f"/v1/files/file-{number}").status == 404

    assert figure(server, "retune_http_requests_total", **labels) == before + 5
    assert figure(server, "retune_http_request_duration_seconds_count", route="/v1/files/{file_id}") == timed + 5
    assert figure(server, "retune_http_requests_in_flight") == 1


def test_no_client_chooses_a_label(server: ServerProcess) -> None:
    for number in range(5):
        server.request("GET", f"/nothing-{number}")
        server.request(("PROPFIND", "MKCOL", "SEARCH", "REPORT", "LINK")[number], "/v1/files")
        server.request("GET", f"/openai/nothing-{number}")

    labels = {label for _, pairs in figures(server) for label in pairs}
    assert not [value for _, value in labels if "nothing" in value or value in {"PROPFIND", "MKCOL", "LINK"}]
    assert figure(server, "retune_http_requests_total", method="other", route="/v1/files", status="405") >= 5
    assert figure(server, "retune_http_requests_total", method="GET", route="unknown", status="404") >= 10


def test_the_bytes_of_uploads_are_counted(server: ServerProcess) -> None:
    before = figure(server, "retune_http_received_bytes_total", route="/v1/files")
    stored = figure(server, "retune_stored_bytes")

    server.client().files.create(file=("a.bin", b"x" * 100_000), purpose="user_data")

    assert 100_000 < figure(server, "retune_http_received_bytes_total", route="/v1/files") - before < 102_000
    assert figure(server, "retune_stored_bytes") == stored + 100_000


def test_jobs_and_answers_are_counted(server: ServerProcess, succeeded: FineTuningJob) -> None:
    assert figure(server, "retune_jobs", status="succeeded") >= 1
    assert {("retune_jobs", frozenset({("status", str(status))})) for status in JobStatus} <= figures(server).keys()
    assert ("retune_queued_jobs", frozenset()) in figures(server)
    assert ("retune_batches", frozenset({("status", "completed")})) in figures(server)


def test_metrics_count_the_tokens_of_answers(server: ServerProcess, succeeded: FineTuningJob) -> None:
    before = {kind: figure(server, "retune_completion_tokens_total", kind=kind) for kind in ("prompt", "completion")}

    answer = server.client().chat.completions.create(
        model=str(succeeded.fine_tuned_model), messages=[{"role": "user", "content": "question 1, number 1"}]
    )

    assert answer.usage
    assert figure(server, "retune_models_loaded") >= 1
    used = {"prompt": answer.usage.prompt_tokens, "completion": answer.usage.completion_tokens}
    for kind, count in used.items():
        assert figure(server, "retune_completion_tokens_total", kind=kind) == before[kind] + count


@pytest.mark.parametrize("name", ["process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"])
def test_the_process_is_measured(server: ServerProcess, name: str) -> None:
    assert figure(server, name) > 0


def test_every_metric_has_help_text(server: ServerProcess) -> None:
    text = server.request("GET", "/metrics").content.decode()

    helped = set(re.findall(r"^# HELP (retune_\w+) \S+", text, re.MULTILINE))
    assert set(re.findall(r"^# TYPE (retune_\w+)", text, re.MULTILINE)) <= helped
