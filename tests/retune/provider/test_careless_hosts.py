"""Hosts whose answers are old, incomplete or of the wrong kind, and directories that were copied."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from billing_machines import RUN_KEY, TRAINING, Killed, Scene
from openai.types.fine_tuning import FineTuningJob

from retune.errors import RunDirectoryError, UnexpectedAnswerError
from retune.provider.job_journal import JobJournal, run_key_of
from retune.provider.one_job import job_request
from retune.provider.own_jobs import agrees

SetUp = Callable[..., Scene]


@pytest.mark.parametrize("keeps_metadata", [True, False])
async def test_a_cancelled_job_that_the_list_shows_as_running_is_not_preferred(
    scene: SetUp, *, keeps_metadata: bool
) -> None:
    here = scene(shows_old_states=True, keeps_metadata=keeps_metadata)
    first = await here.machine().run()
    here.account.jobs[first.id]["ended_as"] = "cancelled"
    second = await here.machine().run()
    assert here.account.paid == [first.id, second.id]
    assert here.account.paid_for == [second.id]


async def test_a_lost_job_without_a_time_is_found(scene: SetUp) -> None:
    here = scene(lost_answers=1, has_times=False, keeps_metadata=False)
    machine = here.machine()
    assert [(await machine.run()).id] == here.account.paid


async def test_a_late_twin_that_may_be_a_stranger_s_is_named(scene: SetUp) -> None:
    here = scene(lost_answers=1, has_times=False, keeps_metadata=False, list_lag_seconds=640)
    machine = here.machine()
    job = await machine.run()
    first, second = here.account.paid
    assert job.id == second
    assert "\n".join(machine.said).count(f"retune jobs cancel {first}") == 1


async def test_a_copy_of_the_directory_is_the_same_run(scene: SetUp) -> None:
    here = scene(keeps_metadata=False, list_lag_seconds=25)
    machine = here.machine(kills=["after"])
    with pytest.raises(Killed):
        await machine.run()
    copy = here.machine()
    copy.directory = machine.directory.with_name("copy")
    shutil.copytree(machine.directory, copy.directory)
    jobs = [await each.run() for each in (here.machine(), copy)]
    assert [job.id for job in jobs] == here.account.paid * 2


async def test_a_page_instead_of_the_run_s_job_is_said(scene: SetUp, monkeypatch: pytest.MonkeyPatch) -> None:
    here = scene()
    machine = here.machine()
    await machine.run()
    monkeypatch.setattr(here.account, "shown", lambda _job: b"<html>log in first</html>")
    with pytest.raises(UnexpectedAnswerError, match="a job was expected"):
        await here.machine().run()


def test_values_of_the_wrong_kind_agree_with_nothing() -> None:
    request = job_request(TRAINING, run_key=RUN_KEY, training_file="file-1", validation_file=None)
    job = FineTuningJob.construct(
        id="j",
        model=TRAINING.model,
        training_file="file-1",
        metadata="none",
        hyperparameters={"n_epochs": [2]},
    )
    assert run_key_of(job) is None
    assert not agrees(job, request)


def test_a_job_file_with_a_date_is_enough(tmp_path: Path) -> None:
    job = {"id": "ftjob-1", "created_at": "2026-01-02T03:04:05Z", "metadata": None}
    (tmp_path / "job.json").write_text(json.dumps(job))
    (known,) = JobJournal(tmp_path, RUN_KEY).recorded
    assert (known.job_id, known.is_ours) == ("ftjob-1", False)


def test_a_journal_that_is_not_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "job_attempts.json").mkdir()
    with pytest.raises(RunDirectoryError, match="can't be read"):
        JobJournal(tmp_path, RUN_KEY)
