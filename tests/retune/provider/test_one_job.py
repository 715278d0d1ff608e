"""One intent, one job: whatever the network does."""

import asyncio
import json
import uuid
from pathlib import Path

import pytest
from faulty_proxy import Fault, faulty_proxy
from openai.types.fine_tuning import FineTuningJob

from retune.config import ProviderConfig, TrainingConfig
from retune.errors import JobCancelledError, JobFailedError, ProviderError
from retune.provider.client import build_client
from retune.provider.files import upload_once
from retune.provider.follow import PollingPauses, follow_job, pauses_at, raise_unless_succeeded, running_seconds
from retune.provider.job_journal import JobJournal
from retune.provider.jobs import cancel_job
from retune.provider.models import wait_for_model
from retune.provider.one_job import JobCreator, StartedJob, job_request
from retune.provider.own_jobs import find_own_jobs

TRAINING = TrainingConfig(seed=1)
QUICK = PollingPauses(first_seconds=0.05, longest_seconds=0.2)


@pytest.fixture
def run_key() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def training_file(tmp_path: Path) -> Path:
    path = tmp_path / "train.jsonl"
    lines = [
        {
            "messages": [
                {"role": "user", "content": f"number {n}"},
                {"role": "assistant", "content": "odd" if n % 2 else "even"},
            ]
        }
        for n in range(12)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


async def start(base_url: str, run_key: str, path: Path, training: TrainingConfig = TRAINING) -> StartedJob:
    """Start the job as a machine does that has no directory of this run."""
    elsewhere = path.with_name(uuid.uuid4().hex)
    elsewhere.mkdir()
    async with build_client(ProviderConfig(base_url=base_url, timeout_seconds=5)) as client:
        file = await upload_once(client, path, filename=f"{run_key}-{path.name}")
        request = job_request(training, run_key=run_key, training_file=file.file_id, validation_file=None)
        return await JobCreator(client, request, JobJournal(elsewhere, run_key), wait_seconds=60).create_once()


async def own_jobs(base_url: str, run_key: str) -> list[FineTuningJob]:
    async with build_client(ProviderConfig(base_url=base_url)) as client:
        return (await find_own_jobs(client, run_key, None, None)).jobs


async def jobs_of(base_url: str, run_key: str) -> list[str]:
    return [job.id for job in await own_jobs(base_url, run_key)]


async def test_a_file_is_uploaded_once(training_server: str, training_file: Path, run_key: str) -> None:
    async with build_client(ProviderConfig(base_url=training_server)) as client:
        first = await upload_once(client, training_file, filename=f"{run_key}.jsonl")
        second = await upload_once(client, training_file, filename=f"{run_key}.jsonl")
    assert (first.adopted, second.adopted, first.file_id == second.file_id) == (False, True, True)


async def test_the_same_run_adopts_its_job(training_server: str, training_file: Path, run_key: str) -> None:
    first = await start(training_server, run_key, training_file)
    second = await start(training_server, run_key, training_file)
    assert (first.adopted, second.adopted) == (False, True)
    assert await jobs_of(training_server, run_key) == [first.job_id] == [second.job_id]


async def test_everything_that_was_asked_for_reaches_the_provider(
    training_server: str, training_file: Path, run_key: str
) -> None:
    training = TrainingConfig.model_validate(
        {"model": "gpt-4o-mini", "suffix": "desk", "seed": 7, "hyperparameters": {"n_epochs": 2, "batch_size": 4}}
    )
    started = await start(training_server, run_key, training_file, training)
    async with build_client(ProviderConfig(base_url=training_server)) as client:
        job = await client.fine_tuning.jobs.retrieve(started.job_id)
    assert (job.model, job.user_provided_suffix, job.seed) == ("gpt-4o-mini", "desk", 7)  # type: ignore[attr-defined]
    assert job.hyperparameters
    assert (job.hyperparameters.n_epochs, job.hyperparameters.batch_size) == (2, 4)
    assert job.metadata == {"run_key": run_key}


async def test_a_lost_answer_does_not_make_a_second_job(
    training_server: str, training_file: Path, run_key: str
) -> None:
    lost = Fault("POST", "/fine_tuning/jobs", after_forwarding=True)
    with faulty_proxy(training_server) as proxy:
        proxy.faults.append(lost)
        started = await start(proxy.base_url, run_key, training_file)
        assert proxy.count("POST", "/fine_tuning/jobs") == 1
    assert started.adopted
    assert await jobs_of(training_server, run_key) == [started.job_id]


@pytest.mark.parametrize("honours_idempotency_key", [True, False])
async def test_several_at_the_same_moment_end_up_with_one_job(
    training_server: str, training_file: Path, run_key: str, honours_idempotency_key: bool
) -> None:
    slow = TrainingConfig.model_validate({"hyperparameters": {"n_epochs": 50, "batch_size": 1}})
    with faulty_proxy(training_server) as proxy:
        if not honours_idempotency_key:
            proxy.dropped_headers.add("idempotency-key")
        started = await asyncio.gather(*(start(proxy.base_url, run_key, training_file, slow) for _ in range(3)))
    assert len({job.job_id for job in started}) == 1
    jobs = await own_jobs(training_server, run_key)
    assert [job.id for job in jobs if job.status != "cancelled"] == [started[0].job_id]
    async with build_client(ProviderConfig(base_url=training_server)) as client:
        await cancel_job(client, started[0].job_id)


async def test_duplicates_that_somebody_made_are_cancelled(
    training_server: str, training_file: Path, run_key: str
) -> None:
    slow = TrainingConfig.model_validate({"hyperparameters": {"n_epochs": 50, "batch_size": 1}})
    async with build_client(ProviderConfig(base_url=training_server)) as client:
        file = await upload_once(client, training_file, filename=f"{run_key}.jsonl")
        ids = []
        for _ in range(2):
            job = await client.fine_tuning.jobs.create(
                model=slow.model, training_file=file.file_id, metadata={"run_key": run_key}
            )
            ids.append(job.id)
    started = await start(training_server, run_key, training_file)
    assert started.job_id in ids
    async with build_client(ProviderConfig(base_url=training_server)) as client:
        for cancelled in started.duplicates_cancelled:
            assert cancelled != started.job_id
            assert (await client.fine_tuning.jobs.retrieve(cancelled)).status == "cancelled"


async def test_a_cancelled_job_is_tried_anew(training_server: str, training_file: Path, run_key: str) -> None:
    slow = TrainingConfig.model_validate({"hyperparameters": {"n_epochs": 50, "batch_size": 1}})
    first = await start(training_server, run_key, training_file, slow)
    async with build_client(ProviderConfig(base_url=training_server)) as client:
        await cancel_job(client, first.job_id)
    second = await start(training_server, run_key, training_file, slow)
    assert not second.adopted
    assert second.job_id != first.job_id


async def test_a_refused_job_is_not_retried(training_server: str, training_file: Path, run_key: str) -> None:
    with faulty_proxy(training_server) as proxy:
        with pytest.raises(ProviderError, match="not available for fine-tuning"):
            await start(proxy.base_url, run_key, training_file, TrainingConfig(model="gpt-unheard-of"))
        assert proxy.count("POST", "/fine_tuning/jobs") == 1


@pytest.mark.slow
async def test_following_sees_every_event_once_through_a_bad_network(
    training_server: str, training_file: Path, run_key: str
) -> None:
    troubles: list[Exception] = []
    with faulty_proxy(training_server) as proxy:
        started = await start(proxy.base_url, run_key, training_file)
        job_path = f"/fine_tuning/jobs/{started.job_id}"
        proxy.faults += [
            Fault("GET", job_path, status=503),
            Fault("GET", f"{job_path}/events"),
            Fault("GET", job_path, status=429, headers={"retry-after-ms": "10"}),
            Fault("GET", job_path, status=200, body=b"<html>log in first</html>"),
        ]
        async with build_client(ProviderConfig(base_url=proxy.base_url, timeout_seconds=5)) as client:
            updates = [
                update
                async for update in follow_job(
                    client, started.job_id, QUICK, on_trouble=lambda error, _pause: troubles.append(error)
                )
            ]
            stored = [event async for event in client.fine_tuning.jobs.list_events(started.job_id)]
    seen = [event.id for update in updates for event in update.events]
    assert seen == [event.id for event in reversed(stored)]
    assert len(set(seen)) == len(seen)
    assert len(troubles) == 4
    last = updates[-1].job
    raise_unless_succeeded(last)
    assert running_seconds(last, [event for update in updates for event in update.events]) is not None


async def test_a_failed_job_speaks_in_the_provider_s_words(training_server: str, tmp_path: Path, run_key: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 7)
    started = await start(training_server, run_key, path)
    async with build_client(ProviderConfig(base_url=training_server)) as client:
        updates = [update async for update in follow_job(client, started.job_id, QUICK)]
    with pytest.raises(JobFailedError, match=r"has 7 example\(s\), but must have at least 10") as caught:
        raise_unless_succeeded(updates[-1].job)
    assert (caught.value.code, caught.value.param) == ("invalid_n_examples", "training_file")


async def test_a_cancelled_job_says_so(training_server: str, training_file: Path, run_key: str) -> None:
    slow = TrainingConfig.model_validate({"hyperparameters": {"n_epochs": 50, "batch_size": 1}})
    started = await start(training_server, run_key, training_file, slow)
    async with build_client(ProviderConfig(base_url=training_server)) as client:
        job = await cancel_job(client, started.job_id)
    with pytest.raises(JobCancelledError, match="was cancelled"):
        raise_unless_succeeded(job)


def test_pauses_grow_within_their_bounds() -> None:
    pauses = PollingPauses(first_seconds=1, longest_seconds=10)
    assert 0.8 <= pauses.after(0) <= 1.2
    assert 1.2 <= pauses.after(1) <= 1.8
    assert all(8 <= pauses.after(quiet) <= 10 for quiet in (10, 100, 10_000))


def test_a_paid_provider_is_asked_less_often() -> None:
    assert pauses_at("https://api.openai.com/v1").first_seconds == 10
    assert pauses_at("http://127.0.0.1:8123/v1").first_seconds == 0.5


async def test_a_model_that_appears_late_is_waited_for(training_server: str) -> None:
    body = json.dumps({"error": {"message": "no", "type": "x", "param": "model", "code": "model_not_found"}}).encode()
    with faulty_proxy(training_server) as proxy:
        proxy.faults.append(Fault("GET", "/models/baseline-text", status=404, body=body, times=1))
        async with build_client(ProviderConfig(base_url=proxy.base_url)) as client:
            await wait_for_model(client, "baseline-text", patience_seconds=20)
        assert proxy.count("GET", "/models/baseline-text") == 2
