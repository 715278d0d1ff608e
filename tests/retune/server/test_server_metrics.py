import re

import pytest
from openai.types.fine_tuning import FineTuningJob
from prometheus_client.parser import text_string_to_metric_families
from server_process import ServerProcess

from retune.server.storage.statuses import JobStatus


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


def test_requests_are_counted_by_route(server: ServerProcess):
    labels = {"method": "GET", "route": "/v1/files/{file_id}", "status": "404"}
    before = figure(server, "retune_http_requests_total", **labels)
    timed = figure(server, "retune_http_request_duration_seconds_count", route="/v1/files/{file_id}")

    for number in range(5):
        assert server.request("GET", f"/v1/files/file-{number}").status == 404

    assert figure(server, "retune_http_requests_total", **labels) == before + 5
    assert figure(server, "retune_http_request_duration_seconds_count", route="/v1/files/{file_id}") == timed + 5
    assert figure(server, "retune_http_requests_in_flight") == 1


def test_no_client_chooses_a_label(server: ServerProcess):
    for number in range(5):
        server.request("GET", f"/nothing-{number}")
        server.request(("PROPFIND", "MKCOL", "SEARCH", "REPORT", "LINK")[number], "/v1/files")
        server.request("GET", f"/openai/nothing-{number}")

    labels = {label for _, pairs in figures(server) for label in pairs}
    assert not [value for _, value in labels if "nothing" in value or value in {"PROPFIND", "MKCOL", "LINK"}]
    assert figure(server, "retune_http_requests_total", method="other", route="/v1/files", status="405") >= 5
    assert figure(server, "retune_http_requests_total", method="GET", route="unknown", status="404") >= 10


def test_the_bytes_of_uploads_are_counted(server: ServerProcess):
    before = figure(server, "retune_http_received_bytes_total", route="/v1/files")
    stored = figure(server, "retune_stored_bytes")

    server.client().files.create(file=("a.bin", b"x" * 100_000), purpose="user_data")

    assert 100_000 < figure(server, "retune_http_received_bytes_total", route="/v1/files") - before < 102_000
    assert figure(server, "retune_stored_bytes") == stored + 100_000


def test_jobs_and_answers_are_counted(server: ServerProcess, succeeded: FineTuningJob):
    assert figure(server, "retune_jobs", status="succeeded") >= 1
    assert {("retune_jobs", frozenset({("status", str(status))})) for status in JobStatus} <= figures(server).keys()
    assert ("retune_queued_jobs", frozenset()) in figures(server)
    assert ("retune_batches", frozenset({("status", "completed")})) in figures(server)


def test_tokens_are_counted(server: ServerProcess, succeeded: FineTuningJob):
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
def test_the_process_is_measured(server: ServerProcess, name: str):
    assert figure(server, name) > 0


def test_every_figure_says_what_it_is(server: ServerProcess):
    text = server.request("GET", "/metrics").content.decode()

    helped = set(re.findall(r"^# HELP (retune_\w+) \S+", text, re.MULTILINE))
    assert set(re.findall(r"^# TYPE (retune_\w+)", text, re.MULTILINE)) <= helped
