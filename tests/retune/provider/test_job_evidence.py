"""Which job is a run's own, when another one may be asked for, and when waiting ends."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable

import openai
import pytest
from billing_account import Account
from billing_machines import RUN_KEY, TRAINING, Killed, Machine, Scene
from openai.types.fine_tuning import FineTuningJob
from waiting import wait_for

from retune.config import TrainingConfig
from retune.errors import (
    AuthenticationFailedError,
    JobVanishedError,
    JobWaitTimeoutError,
    ProviderError,
    QuotaExceededError,
    RunDirectoryError,
    UnclearJobError,
)
from retune.provider.follow import PollingPauses, follow_job
from retune.provider.job_journal import JobJournal
from retune.provider.one_job import JobCreator, job_request
from retune.provider.statuses import job_state

SetUp = Callable[..., Scene]


async def file_of(machine: Machine) -> str:
    with machine.training_file.open("rb") as stream:
        file = await machine.client.files.create(file=(f"{RUN_KEY}-train.jsonl", stream), purpose="fine-tune")
    return file.id


def attempts(machine: Machine) -> list[dict[str, object]]:
    return list(json.loads((machine.directory / "job_attempts.json").read_bytes())["attempts"])


async def test_the_search_ends_and_a_late_twin_is_cancelled(scene: SetUp) -> None:
    here = scene(lost_answers=1, list_lag_seconds=640)
    machine = here.machine()
    job = await machine.run()
    first, second = here.account.paid
    assert here.account.paid_for == [first] == [job.id]
    assert here.account.jobs[second]["ended_as"] == "cancelled"
    text = "\n".join(machine.said)
    assert "Searching for the job for up to 10 minutes" in text
    assert f"Cancelled {second}: {first} is the job of the same run" in text


async def test_a_job_that_was_written_down_is_asked_for_by_its_id(scene: SetUp) -> None:
    here = scene(keeps_metadata=False, forgets_files=True)
    job = await here.machine().run()
    here.account.requests.clear()
    here.clock.ahead += 600
    assert (await here.machine().run()).id == job.id
    assert not [sent for sent in here.account.requests if sent[0] == "POST" or sent[1] == "/fine_tuning/jobs"]


async def test_the_job_file_of_an_earlier_version_is_enough(scene: SetUp) -> None:
    here = scene(keeps_metadata=False)
    machine = here.machine()
    job = await machine.run()
    (machine.directory / "job_attempts.json").unlink()
    here.account.files.clear()
    (machine.directory / "job.json").write_text(json.dumps(job.model_dump(mode="json")))
    assert (await here.machine().run()).id == job.id
    assert here.account.paid == [job.id]


async def test_a_stranger_s_job_that_an_earlier_version_took_is_dropped(scene: SetUp) -> None:
    here = scene(keeps_metadata=False, strangers=1)
    machine = here.machine()
    await file_of(machine)
    (stranger,) = here.account.jobs.values()
    (machine.directory / "job.json").write_text(json.dumps(here.account.shown(stranger)))
    job = await here.machine().run()
    assert here.account.paid == [job.id]
    assert not here.account.strangers_cancelled


async def test_two_runs_on_one_file_keep_to_their_own_jobs(scene: SetUp) -> None:
    """A host that gives equal files one id, and keeps no metadata: nothing but the settings differs."""
    here = scene(keeps_metadata=False)
    machine = here.machine()
    file = await file_of(machine)
    ids = []
    for key, epochs in ((RUN_KEY, 2), ("2f" * 16, 3), ("3f" * 16, "auto")):
        training = TrainingConfig.model_validate({"hyperparameters": {"n_epochs": epochs, "batch_size": 8}})
        request = job_request(training, run_key=key, training_file=file, validation_file=None)
        directory = machine.directory.with_name(key)
        directory.mkdir()
        journal = JobJournal(directory, key)
        started = await JobCreator(machine.client, request, journal, 60, clock=here.clock).create_once()
        assert not started.adopted
        ids.append(started.job_id)
        here.clock.ahead += 10
    assert len(set(ids)) == 3
    assert here.account.paid_for == ids


async def test_a_job_that_may_be_a_stranger_s_is_never_cancelled(scene: SetUp) -> None:
    here = scene(keeps_metadata=False, lost_answers=1)
    machine = here.machine(kills=["after"])
    with pytest.raises(Killed):
        await machine.run()
    ours = here.account.jobs[here.account.paid[0]]
    here.account.make_job(ours["body"], made_by="others")
    started = await here.machine().run()
    journal = JobJournal(machine.directory, RUN_KEY)
    assert started.id == here.account.paid[0]
    assert not journal.is_ours(started.id)
    assert not here.account.strangers_cancelled


async def test_an_incomplete_list_counts_for_nothing(scene: SetUp) -> None:
    here = scene(ignores_cursor=True)
    for number in range(120):
        here.account.make_job({"model": "baseline-text", "training_file": f"file-{number}"}, made_by="others")
    with pytest.raises(UnclearJobError, match="could not be read to its end") as caught:
        await here.machine().run()
    assert here.account.paid == []
    assert "training.trust_incomplete_job_list" in str(caught.value.hint)
    job = await here.machine(by_hand={"trusts_incomplete_list": True}).run()
    assert here.account.paid == [job.id]


async def test_without_a_list_an_unclear_answer_waits_for_a_person(scene: SetUp) -> None:
    here = scene(no_list=404, lost_answers=1)
    for by_hand in ({}, {"trusts_incomplete_list": False}):
        with pytest.raises(UnclearJobError, match="has no list of jobs"):
            await here.machine(by_hand=by_hand).run()
    (paid,) = here.account.paid
    job = await here.machine(by_hand={"job_id": paid}).run()
    assert (job.id, here.account.paid) == (paid, [paid])


async def test_a_named_job_must_be_what_the_run_asks_for(scene: SetUp) -> None:
    here = scene(strangers=1)
    machine = here.machine()
    await file_of(machine)
    (stranger,) = here.account.jobs
    other_data = here.account.make_job(
        job_request(TRAINING, run_key="other", training_file="file-other", validation_file=None), made_by="others"
    )
    for job_id in (stranger, other_data["id"]):
        with pytest.raises(ProviderError, match="is not what this run asks for"):
            await here.machine(by_hand={"job_id": job_id}).run()
    assert here.account.paid == []


async def test_two_machines_that_can_not_see_each_other_end_with_the_oldest(scene: SetUp) -> None:
    here = scene(list_lag_seconds=30)
    jobs = await asyncio.gather(*(here.machine(name).run() for name in ("one", "other")))
    assert len(here.account.paid) == 2
    assert {job.id for job in jobs} == {here.account.paid_for[0]}
    assert len(here.account.paid_for) == 1


async def test_a_request_that_was_never_sent_needs_no_search(scene: SetUp, unused_tcp_port: int) -> None:
    here = scene()
    machine = here.machine()
    journal = JobJournal(machine.directory, RUN_KEY)
    request = job_request(TRAINING, run_key=RUN_KEY, training_file=await file_of(machine), validation_file=None)
    nobody = machine.client.with_options(base_url=f"http://127.0.0.1:{unused_tcp_port}/v1")
    with pytest.raises(openai.APIConnectionError):
        await JobCreator(nobody, request, journal, 60, clock=here.clock)._ask(ended=0)
    assert [attempt["outcome"] for attempt in attempts(machine)] == ["refused"]


async def test_a_late_answer_is_an_unclear_one(scene: SetUp) -> None:
    here = scene(lost_answers=1, lost_as="slow")
    machine = here.machine()
    machine.client = machine.client.with_options(timeout=0.3)
    assert [(await machine.run()).id] == here.account.paid


@pytest.mark.parametrize("broken", ["{", "[]", json.dumps({"run_key": "another", "attempts": []})])
async def test_a_journal_that_can_not_be_read_stops_the_run(scene: SetUp, broken: str) -> None:
    here = scene()
    machine = here.machine()
    (machine.directory / "job_attempts.json").write_text(broken)
    with pytest.raises(RunDirectoryError, match=r"job_attempts\.json"):
        await machine.run()
    assert here.account.paid == []


async def test_a_job_that_vanished_is_reported_and_not_made_again(scene: SetUp) -> None:
    here = scene(list_lag_seconds=10)
    machine = here.machine()
    job = await machine.run()
    del here.account.jobs[job.id]
    with pytest.raises(JobVanishedError, match=job.id):
        await here.machine().run()
    assert here.account.paid == [job.id]
    # What was seen to its end needs no provider any more.
    (machine.directory / "job.json").write_text(json.dumps(job.model_dump(mode="json")))
    journal = JobJournal(machine.directory, RUN_KEY)
    request = job_request(TRAINING, run_key=RUN_KEY, training_file=job.training_file, validation_file=None)
    assert (await JobCreator(machine.client, request, journal, 0).create_once()).job_id == job.id


async def test_a_status_that_nobody_knows_has_a_deadline(scene: SetUp) -> None:
    here = scene(dialect={"succeeded": "levitating"})
    machine = here.machine()
    with pytest.raises(JobWaitTimeoutError, match=r"within 2 hours .*levitating") as caught:
        await machine.run()
    assert "not cancelled" in str(caught.value.hint)
    here.account.habits.dialect.clear()
    assert [(await here.machine().run()).id] == here.account.paid == here.account.paid_for


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [((401, "invalid_api_key"), AuthenticationFailedError), ((429, "insufficient_quota"), QuotaExceededError)],
)
async def test_permanent_error_ends_the_wait(scene: SetUp, refusal: tuple[int, str], expected: type[Exception]) -> None:
    here = scene()
    job = here.account.make_job({"model": "m", "training_file": "f"})
    here.account.refuses = refusal
    pauses = PollingPauses(first_seconds=1, longest_seconds=1)
    with pytest.raises(expected, match="was not cancelled"):
        _ = [update async for update in follow_job(here.machine().client, job["id"], pauses, clock=here.clock)]
    assert len(here.account.requests) == 1


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("canceled", "cancelled"),
        ("CANCELLED", "cancelled"),
        ("expired", "failed"),
        ("FAILED_VALIDATION", "failed"),
        ("completed", "succeeded"),
        ("JOB_STATE_COMPLETED", "succeeded"),
        ("SUCCESS", "succeeded"),
        ("pending", "active"),
        ("notRunning", "active"),
        ("cancel_requested", "active"),
        ("loading model", "active"),
        ("paused", "active"),
        ("levitating", "unknown"),
        ("", "unknown"),
    ],
)
def test_job_states_of_other_providers_are_understood(said: str, meant: str) -> None:
    assert job_state(FineTuningJob.construct(id="j", status=said)) == meant


async def test_completed_without_a_model_is_not_believed_for_ever(scene: SetUp) -> None:
    here = scene(dialect={"running": "completed"})
    here.account.job_seconds = 1e9
    job = here.account.make_job({"model": "m", "training_file": "f"})
    here.clock.ahead += 3e8
    pauses = PollingPauses(first_seconds=1, longest_seconds=60)
    updates = [update async for update in follow_job(here.machine().client, job["id"], pauses, clock=here.clock)]
    assert updates[-1].has_ended
    assert not updates[-1].job.fine_tuned_model


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
sys.path[:0] = {path!r}
import httpx2
from openai import AsyncOpenAI
from retune.provider.job_journal import JobJournal
from retune.provider.one_job import JobCreator

async def die(message):
    request = getattr(message, "request", message)
    if request.method == "POST":
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    hooks = {{{hook!r}: [die]}} if {hook!r} else {{}}
    http = httpx2.AsyncClient(event_hooks=hooks)
    client = AsyncOpenAI(base_url={url!r}, api_key="k", max_retries=0, http_client=http)
    journal = JobJournal(Path({directory!r}), {key!r})
    await JobCreator(client, {request!r}, journal, 60).create_once()

asyncio.run(main())
"""


def kill_when_asked(program: str, account: Account | None) -> int:
    """Run a program that kills itself; or kill it once the account has made a job whose answer is held back."""
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        if account:
            wait_for(lambda: account.paid, "the job")
            process.kill()
        return process.wait()


@pytest.mark.parametrize("point", ["before it is sent", "before it is answered", "before the answer is written down"])
async def test_killed_between_intent_and_answer(scene: SetUp, point: str) -> None:
    here = scene(list_lag_seconds=25)
    machine = here.machine()
    request = job_request(TRAINING, run_key=RUN_KEY, training_file=await file_of(machine), validation_file=None)
    hook = {"before it is sent": "request", "before it is answered": ""}.get(point, "response")
    program = KILLED.format(
        path=sys.path, hook=hook, url=here.base_url, directory=str(machine.directory), key=RUN_KEY, request=request
    )
    if not hook:
        here.account.held.clear()
    assert await asyncio.to_thread(kill_when_asked, program, None if hook else here.account) == -signal.SIGKILL
    here.account.held.set()
    assert [attempt["outcome"] for attempt in attempts(machine)] == ["unclear"]
    assert len(here.account.paid) == (point != "before it is sent")
    job = await here.machine().run()
    assert here.account.paid == [job.id]
