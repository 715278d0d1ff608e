"""The whole flow against the real server, a real Prefect API, and a network that fails on purpose."""

import asyncio
import json
import logging
from pathlib import Path

import pytest
from faulty_proxy import Fault, FaultyProxy, faulty_proxy
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import LogSort
from prefect.logging.handlers import APILogWorker
from retrain_runs import configuration, write_tickets

from flows.retrain import retrain
from retune.config import ProviderConfig
from retune.errors import AuthenticationFailedError, CheckError, JobFailedError, ProviderError, RunDirectoryError
from retune.results.manifest import RunManifest
from retune.results.training_cost import training_cost

# Prefect leaves connections of its own to the garbage collector; ours are closed with their clients.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    return write_tickets(tmp_path / "tickets.csv")


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy stays as it is, only its pauses are those of a test."""
    from tasks import create_job, download_results, limit_cost, upload_file, wait_for_job

    for task in (
        limit_cost.limit_cost,
        upload_file.upload_file,
        create_job.create_job,
        wait_for_job.wait_for_job,
        download_results.download_results,
    ):
        monkeypatch.setattr(task, "retry_delay_seconds", [0.1] * 5)


async def test_a_table_becomes_a_judged_model(training_server: str, tickets: Path) -> None:
    manifest = await retrain(configuration(training_server, tickets))
    on_disk = json.loads((manifest.directory / "manifest.json").read_bytes())
    assert RunManifest.model_validate(on_disk) == manifest
    assert manifest.evaluation
    assert manifest.evaluation.base.exact_match == 0
    assert manifest.evaluation.fine_tuned.exact_match is not None
    assert manifest.evaluation.fine_tuned.n == manifest.files["test"].examples
    assert sum(file.examples for file in manifest.files.values()) == 60
    assert manifest.fine_tuned_model.startswith("ft:baseline-text:")
    html = manifest.report.read_text(encoding="utf-8")
    assert manifest.fine_tuned_model in html
    assert manifest.job.steps == len((manifest.directory / "metrics.csv").read_text().splitlines()) - 1
    assert manifest.job.running_seconds is not None
    for name in ("train.jsonl", "events.jsonl", "metrics.csv", "check_report.json", "job.json"):
        assert (manifest.directory / name).stat().st_size > 0
    assert not list(manifest.directory.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("base_url", "model", "trained_tokens", "expected"),
    [
        ("https://api.openai.com/v1", "gpt-4o-mini-2024-07-18", 2_000_000, (6.0, False)),
        ("https://api.openai.com/v1", "gpt-4o-mini-2024-07-18", None, (5.0, True)),
        ("https://api.openai.com/v1", "unpriced", 2_000_000, (5.0, True)),
        ("http://127.0.0.1:1/v1", "gpt-4o-mini-2024-07-18", 2_000_000, (None, False)),
        ("http://127.0.0.1:1/v1", "baseline-text", 2_000_000, (None, False)),
    ],
)
def test_a_training_costs_what_was_trained_where_prices_are_known(
    base_url: str, model: str, trained_tokens: int | None, expected: tuple[float | None, bool]
) -> None:
    provider = ProviderConfig(base_url=base_url)
    assert training_cost(provider, model, trained_tokens=trained_tokens, estimate_usd=5.0) == expected


async def test_a_second_run_does_nothing_twice(training_server: str, tickets: Path) -> None:
    with faulty_proxy(training_server) as proxy:
        config = configuration(proxy.base_url, tickets)
        first = await retrain(config)
        asked = proxy.count("POST", "/chat/completions")
        state = await retrain(config, return_state=True)
        second = await state.aresult()
        assert proxy.count("POST", "/files") == 2
        assert proxy.count("POST", "/fine_tuning/jobs") == 1
        assert proxy.count("POST", "/chat/completions") == asked
        evaluation = config.evaluation.model_copy(update={"max_examples": 2})
        judged_otherwise = await retrain(config.model_copy(update={"evaluation": evaluation}), return_state=True)
        assert judged_otherwise.name == "Completed"
    assert (first.job.id, first.run_key) == (second.job.id, second.run_key)
    assert first.evaluation == second.evaluation
    assert (state.type, state.name) == (StateType.COMPLETED, "Unchanged")
    assert f"{first.flow_run_id}" in str(state.message)
    assert (second.flow_run_id, second.completed_at) == (first.flow_run_id, first.completed_at)


@pytest.mark.slow
async def test_results_are_forgotten_with_the_directory(training_server: str, tickets: Path) -> None:
    config = configuration(training_server, tickets)
    first = await retrain(config)
    for path in sorted(first.directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    second = await retrain(config)
    assert second.job.id == first.job.id
    assert second.report.exists()


@pytest.mark.slow
async def test_another_attempt_is_another_job(training_server: str, tickets: Path) -> None:
    first = await retrain(configuration(training_server, tickets))
    second = await retrain(configuration(training_server, tickets, attempt="again"))
    assert first.job.id != second.job.id


def trouble(proxy: FaultyProxy) -> None:
    proxy.faults += [
        Fault("POST", "/files", status=503),
        Fault("POST", "/files", after_forwarding=True),
        Fault("POST", "/fine_tuning/jobs", after_forwarding=True),
        Fault("GET", "/events", times=2, status=500),
        Fault("GET", "/content", status=429, headers={"retry-after-ms": "50"}),
        Fault("POST", "/chat/completions", status=500),
        Fault("POST", "/chat/completions"),
    ]


async def test_a_bad_network_costs_no_second_job_and_no_second_file(training_server: str, tickets: Path) -> None:
    with faulty_proxy(training_server) as proxy:
        trouble(proxy)
        manifest = await retrain(configuration(proxy.base_url, tickets, training={"suffix": "bad-network"}))
        assert proxy.count("POST", "/fine_tuning/jobs") == 1
        assert all(fault.times == 0 for fault in proxy.faults)
    assert manifest.evaluation
    assert manifest.evaluation.fine_tuned.n_errors == 0


@pytest.mark.slow
async def test_every_event_is_logged_once_and_in_order(
    training_server: str, tickets: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        manifest = await retrain(configuration(training_server, tickets, training={"suffix": "events"}))
    stored = [json.loads(line)["message"] for line in (manifest.directory / "events.jsonl").read_text().splitlines()]
    logged = [record.getMessage() for record in caplog.records if record.name == "prefect.task_runs"]
    assert [message for message in logged if message in set(stored)] == stored
    assert stored[-1] == "The job has successfully completed"


async def test_prefect_shows_the_summary_and_the_progress(training_server: str, tickets: Path) -> None:
    manifest = await retrain(configuration(training_server, tickets, training={"suffix": "artifacts"}))
    async with get_client() as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["retrain-artifacts", f"training-{manifest.run_key[:12]}"]))
        found = {artifact.type: artifact for artifact in await client.read_artifacts(artifact_filter=wanted)}
    assert float(str(found["progress"].data)) == 100
    summary = str(found["markdown"].data)
    assert manifest.fine_tuned_model in summary.replace("&#58;", ":")
    assert summary.count("data:image/svg+xml;base64,") == 2
    assert len(summary.encode()) < 200_000


async def test_without_a_test_split_nothing_is_judged(training_server: str, tickets: Path) -> None:
    manifest = await retrain(configuration(training_server, tickets, split={"test": 0, "validation": 0}))
    assert manifest.evaluation is None
    assert manifest.files.keys() == {"train"}


async def test_a_base_model_that_can_not_answer_is_shown_as_such(training_server: str, tickets: Path) -> None:
    def refuse_the_base_model(proxy: FaultyProxy) -> None:
        body = json.dumps(
            {
                "error": {
                    "message": "no chat here",
                    "type": "invalid_request_error",
                    "param": None,
                    "code": "unsupported",
                }
            }
        ).encode()
        proxy.faults.append(Fault("POST", "/chat/completions", times=3, status=400, body=body))

    with faulty_proxy(training_server) as proxy:
        refuse_the_base_model(proxy)
        config = configuration(proxy.base_url, tickets, evaluation={"concurrency": 1}, training={"suffix": "mute"})
        manifest = await retrain(config)
    assert manifest.evaluation
    assert manifest.evaluation.base.n_answered == 0
    assert "no chat here" in str(manifest.evaluation.base.commonest_error)
    assert "no chat here" in manifest.report.read_text(encoding="utf-8")


async def test_too_few_examples_stop_before_anything_is_sent(training_server: str, tmp_path: Path) -> None:
    path = tmp_path / "seven.csv"
    path.write_text("message,label\n" + "".join(f"m{number},l{number}\n" for number in range(7)))
    with faulty_proxy(training_server) as proxy:
        with pytest.raises(CheckError, match="7"):
            await retrain(configuration(proxy.base_url, path))
        assert proxy.requests == []


async def test_a_refused_job_fails_at_once_and_once(training_server: str, tickets: Path) -> None:
    with faulty_proxy(training_server) as proxy:
        with pytest.raises(ProviderError, match="not available for fine-tuning"):
            await retrain(configuration(proxy.base_url, tickets, training={"model": "gpt-unheard-of"}))
        assert proxy.count("POST", "/fine_tuning/jobs") == 1


async def test_failed_job_shows_the_providers_message(training_server: str, tickets: Path) -> None:
    with faulty_proxy(training_server) as proxy:
        config = configuration(proxy.base_url, tickets, training={"suffix": "doomed"})

        # The file is fine; the provider is made to say that the job failed.
        job = {
            "object": "fine_tuning.job", "id": "ftjob-doomed", "status": "failed", "model": "baseline-text",
            "created_at": 1,
            "error": {"code": "exceeded_quota", "message": "Out of training budget.", "param": None},
        }  # fmt: skip
        proxy.faults += [
            Fault("GET", suffix, times=99, status=200, body=json.dumps(job).encode()) for suffix in ("/ftjob-doomed",)
        ]
        proxy.faults += [
            Fault(
                "POST",
                "/fine_tuning/jobs",
                status=200,
                body=json.dumps({**job, "status": "queued", "error": {}}).encode(),
            )
        ]
        proxy.faults += [
            Fault("GET", "/events", status=200, times=99, body=b'{"object": "list", "data": [], "has_more": false}')
        ]
        with pytest.raises(JobFailedError, match=r"exceeded_quota.*Out of training budget"):
            await retrain(config)


@pytest.mark.slow
async def test_another_run_s_directory_is_refused(training_server: str, tickets: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    await retrain(configuration(training_server, tickets, output_dir=out))
    with pytest.raises(RunDirectoryError, match="holds another run"):
        await retrain(configuration(training_server, tickets, output_dir=out, split={"seed": 1}))


async def test_a_key_that_the_host_repeats_reaches_no_log(
    training_server: str, tickets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "sk-never-to-be-logged"
    monkeypatch.setenv("OPENAI_API_KEY", secret)
    body = json.dumps(
        {"error": {"message": f"bad key {secret}", "type": "x", "param": None, "code": "invalid_api_key"}}
    )
    with faulty_proxy(training_server) as proxy:
        monkeypatch.setenv("OPENAI_BASE_URL", proxy.base_url)
        proxy.faults += [
            Fault("POST", "/files", status=500, body=body.encode()),
            Fault("POST", "/files", status=401, body=body.encode()),
        ]
        with pytest.raises(AuthenticationFailedError, match=r"bad key \[the API key\]"):
            await retrain(configuration(proxy.base_url, tickets))
    await asyncio.to_thread(APILogWorker.drain_all, timeout=10)
    async with get_client() as client:
        logs = [log.message for log in await client.read_logs(limit=200, sort=LogSort.TIMESTAMP_DESC)]
    assert any("bad key [the API key]" in message for message in logs)
    assert not any(secret in message for message in logs)


async def test_run_fails_if_the_fine_tuned_model_answers_nothing(training_server: str, tickets: Path) -> None:
    body = json.dumps({"error": {"message": "overthrown", "type": "x", "param": None, "code": "gone"}}).encode()
    with faulty_proxy(training_server) as proxy:
        proxy.faults.append(Fault("POST", "/chat/completions", times=99, status=400, body=body))
        config = configuration(proxy.base_url, tickets, output_dir=tickets.parent / "out")
        with pytest.raises(ProviderError, match="answered none of"):
            await retrain(config)
    assert not (tickets.parent / "out" / "manifest.json").exists()


@pytest.mark.slow
async def test_a_file_that_somebody_removed_is_named(training_server: str, tickets: Path) -> None:
    config = configuration(training_server, tickets, output_dir=tickets.parent / "out")
    await retrain(config)
    (tickets.parent / "out" / "train.jsonl").unlink()
    (tickets.parent / "out" / "metrics.csv").unlink()
    with pytest.raises(RunDirectoryError, match=r"metrics\.csv is missing|train\.jsonl is missing"):
        await retrain(config)


async def test_a_floor_that_fails_costs_no_run(training_server: str, tickets: Path) -> None:
    config = configuration(training_server, tickets)
    first = await retrain(config)
    assert first.evaluation
    assert [one.name for one in first.evaluation.references] == ["majority", "tfidf_logistic_regression"]
    floor = first.directory / "answers" / "majority_scored.jsonl"
    floor.unlink()
    # Nothing can be written there any more.
    floor.mkdir()
    n_asked = first.evaluation.fine_tuned.n - 1
    again = await retrain(configuration(training_server, tickets, evaluation={"max_examples": n_asked}))
    assert again.job.id == first.job.id
    assert again.evaluation
    assert again.evaluation.fine_tuned.n == n_asked
    assert again.evaluation.references == []
