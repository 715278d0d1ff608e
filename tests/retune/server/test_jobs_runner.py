"""The job queue, its limit, training processes and their end."""

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from server_process import ServerProcess, StartServer, ended, example_lines, messages_on_record, upload
from waiting import wait_for

LONG = {"n_epochs": 50, "batch_size": 1}


def create(client: OpenAI, training_file: str, **options: Any) -> FineTuningJob:
    return client.fine_tuning.jobs.create(**{"model": "baseline-text", "training_file": training_file, **options})


def occupy(server: ServerProcess) -> ServerProcess:
    """Give a server's one trainer a job of minutes, and one more that waits."""
    client = server.client()
    file = upload(client, example_lines(300))
    running = create(client, file.id, hyperparameters=LONG)
    wait_for(lambda: client.fine_tuning.jobs.retrieve(running.id).status == "running", "the training")
    create(client, file.id)
    return server


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A busy server to look at."""
    process = ServerProcess(tmp_path_factory.mktemp("busy") / "data", ("--max-queued-jobs", "1"))
    yield occupy(process.start())
    process.end(signal.SIGTERM)


@pytest.fixture
def own_busy(start_server: StartServer) -> ServerProcess:
    """A busy server to interfere with."""
    return occupy(start_server())


def newest_step(client: OpenAI, job_id: str) -> int:
    newest = client.fine_tuning.jobs.list_events(job_id, limit=3).data
    return max((event.data["step"] for event in newest if event.type == "metrics"), default=0)  # type: ignore[index]


def test_the_allowed_number_of_jobs_trains_at_once(start_server: StartServer) -> None:
    server: ServerProcess = start_server("--max-concurrent-jobs", "2")
    client = server.client()
    file = upload(client, example_lines(300))
    jobs = [create(client, file.id, hyperparameters=LONG).id for _ in range(3)]

    wait_for(lambda: all(newest_step(client, job_id) for job_id in jobs[:2]), "steps of two jobs")

    assert len(server.training_processes()) == 2
    assert [client.fine_tuning.jobs.retrieve(job_id).status for job_id in jobs] == ["running", "running", "queued"]
    first = [newest_step(client, job_id) for job_id in jobs[:2]]
    wait_for(lambda: all(newest_step(client, jobs[i]) > first[i] for i in range(2)), "more steps of both")
    client.fine_tuning.jobs.cancel(jobs[0])
    wait_for(lambda: client.fine_tuning.jobs.retrieve(jobs[2]).status == "running", "the third")


def test_a_running_job_is_cancelled_at_once(own_busy: ServerProcess) -> None:
    client = own_busy.client()
    waiting, running = client.fine_tuning.jobs.list().data
    process = wait_for(own_busy.training_processes, "the training process")[0]

    cancelled = client.fine_tuning.jobs.cancel(running.id)

    assert (cancelled.status, cancelled.finished_at, cancelled.fine_tuned_model) == ("cancelled", None, None)
    wait_for(lambda: process not in own_busy.training_processes(), "the end of the training process")
    wait_for(lambda: client.fine_tuning.jobs.retrieve(waiting.id).status == "running", "the next job")
    assert messages_on_record(client, running.id)[-1] == "Fine-tuning job cancelled"
    assert client.fine_tuning.jobs.checkpoints.list(running.id).data == []
    with pytest.raises(openai.BadRequestError) as caught:
        client.fine_tuning.jobs.cancel(running.id)
    assert "Job has already completed" in caught.value.message
    client.fine_tuning.jobs.cancel(waiting.id)
    assert client.files.delete(running.training_file).deleted


@pytest.mark.slow
def test_a_job_continues_on_a_deleted_file(own_busy: ServerProcess) -> None:
    client = own_busy.client()
    waiting, running = client.fine_tuning.jobs.list().data
    content = own_busy.data_directory / "files" / running.training_file

    client.files.delete(running.training_file)

    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(running.training_file)
    step = newest_step(client, running.id)
    wait_for(lambda: newest_step(client, running.id) > step, "more steps")
    client.fine_tuning.jobs.cancel(running.id)
    assert content.is_file()
    client.fine_tuning.jobs.cancel(waiting.id)
    own_busy.end(signal.SIGTERM)
    own_busy.start()
    assert not content.exists()


def test_too_many_waiting_jobs_are_refused(busy: ServerProcess) -> None:
    client = busy.client()
    file = client.fine_tuning.jobs.list().data[0].training_file

    with pytest.raises(openai.RateLimitError) as caught:
        create(client, file)

    assert caught.value.body == {
        "message": "This fine-tune request has been rate-limited. Your organization has reached the maximum of 2 "
        "active requests (1 running, 1 pending) for the model 'baseline-text'.",
        "type": "invalid_request_error",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    assert "retry-after" not in caught.value.response.headers
    health = busy.request("GET", "/health").json
    assert (health["status"], health["running_jobs"], health["queued_jobs"]) == ("ok", 1, 1)


def test_the_api_answers_while_a_training_runs(busy: ServerProcess) -> None:
    client = busy.client()
    waiting, running = client.fine_tuning.jobs.list().data
    first = newest_step(client, running.id)
    wait_for(lambda: newest_step(client, running.id) > max(first, 2), "more steps")
    running = client.fine_tuning.jobs.retrieve(running.id)
    assert running.estimated_finish
    assert running.estimated_finish >= running.created_at
    assert waiting.estimated_finish is None
    answer = client.chat.completions.create(model="baseline-text", messages=[{"role": "user", "content": "hi"}])
    assert answer.choices


def test_a_training_process_that_dies_fails_its_job_alone(own_busy: ServerProcess) -> None:
    client = own_busy.client()
    waiting, running = client.fine_tuning.jobs.list().data
    os.kill(wait_for(own_busy.training_processes, "the training process")[0], signal.SIGKILL)

    failed = ended(client, running.id)
    assert (failed.status, failed.finished_at) == ("failed", None)
    assert failed.error
    assert failed.error.code == "training_process_died"
    assert "SIGKILL" in failed.error.message
    assert client.fine_tuning.jobs.list_events(running.id).data[0].message == failed.error.message
    wait_for(lambda: client.fine_tuning.jobs.retrieve(waiting.id).status == "running", "the next job")


@pytest.mark.slow
def test_jobs_run_again_once_the_database_can_be_read_again(start_server: StartServer, tmp_path: Path) -> None:
    log = tmp_path / "log"
    server: ServerProcess = start_server("--log-file", str(log))
    client = server.client()
    with closing(sqlite3.connect(server.data_directory / "server.sqlite", isolation_level=None)) as database:
        database.execute("ALTER TABLE jobs RENAME TO elsewhere")
        wait_for(lambda: log.read_text().count("Jobs are delayed: no such table: jobs") == 2, "both threads to notice")
        database.execute("ALTER TABLE elsewhere RENAME TO jobs")

    assert ended(client, create(client, upload(client, example_lines(10)).id).id).status == "succeeded"


@pytest.mark.slow
def test_a_result_file_that_could_not_be_recorded_is_not_left_behind(
    start_server: StartServer,
) -> None:
    server: ServerProcess = start_server()
    client = server.client()
    contents = server.data_directory / "files"
    with closing(sqlite3.connect(server.data_directory / "server.sqlite", isolation_level=None)) as database:
        # As if another process were writing just then.
        database.execute(
            "CREATE TRIGGER busy BEFORE INSERT ON files WHEN NEW.purpose = 'fine-tune-results' "
            "BEGIN SELECT RAISE(ABORT, 'database is locked'); END"
        )
        job = create(client, upload(client, example_lines(10)).id, hyperparameters={"n_epochs": 1})
        wait_for(lambda: list(contents.glob("*.tmp")), "an attempt")
        database.execute("DROP TRIGGER busy")

    assert len(ended(client, job.id).result_files) == 1
    server.end(signal.SIGTERM)
    client = start_server().client()
    assert {path.name for path in contents.iterdir()} == {file.id for file in client.files.list()}
