"""Jobs resume after their server was killed or stopped, and lose no step."""

import os
import signal
import sqlite3
from pathlib import Path

import pytest
from openai import OpenAI
from server_process import (
    ServerProcess,
    StartServer,
    ended,
    example_lines,
    messages_on_record,
    steps_on_record,
    upload,
    wait_for_step,
)
from waiting import wait_for

ROWS, EPOCHS = 100, 10
STEPS = ROWS * EPOCHS


def start_job(client: OpenAI) -> str:
    file = upload(client, example_lines(ROWS))
    job = client.fine_tuning.jobs.create(
        model="baseline-text",
        training_file=file.id,
        validation_file=file.id,
        hyperparameters={"n_epochs": EPOCHS, "batch_size": 1},
        seed=5,
    )
    return job.id


def result_of(client: OpenAI, job_id: str) -> bytes:
    job = ended(client, job_id)
    assert job.status == "succeeded", job.error
    assert steps_on_record(client, job_id) == list(range(1, STEPS + 1))
    told = messages_on_record(client, job_id)
    assert len(set(told)) == len(told)
    assert len([text for text in told if text.startswith("Checkpoint created")]) == EPOCHS - 1
    assert told[-1] == "The job has successfully completed"
    steps = [checkpoint.step_number for checkpoint in client.fine_tuning.jobs.checkpoints.list(job_id)]
    assert steps == [STEPS, STEPS - ROWS, STEPS - 2 * ROWS]
    assert job.fine_tuned_model
    assert client.chat.completions.create(model=job.fine_tuned_model, messages=[{"role": "user", "content": "x"}])
    return client.files.content(job.result_files[0]).content


@pytest.fixture(scope="module")
def undisturbed(server: ServerProcess) -> bytes:
    """The result file of a training that nothing interrupted."""
    return result_of(server.client(), start_job(server.client()))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"


def wait_for_end_of(processes: list[int]) -> None:
    wait_for(lambda: not any(map(is_alive, processes)), "the end of the training process")


def test_a_job_resumes_after_its_server_was_killed(start_server: StartServer, undisturbed: bytes) -> None:
    server: ServerProcess = start_server()
    job_id = start_job(server.client())
    for step in (ROWS + ROWS // 2, 4 * ROWS):
        wait_for_step(server.client(), job_id, step)
        trainers = server.training_processes()
        before = steps_on_record(server.client(), job_id)

        server.end(signal.SIGKILL)

        wait_for_end_of(trainers)
        server = start_server()
        client = server.client()
        assert steps_on_record(client, job_id)[: len(before)] == before
    assert result_of(client, job_id) == undisturbed


@pytest.mark.slow
def test_a_job_resumes_after_its_server_was_stopped(start_server: StartServer, undisturbed: bytes) -> None:
    server: ServerProcess = start_server()
    job_id = start_job(server.client())
    wait_for_step(server.client(), job_id, 2 * ROWS + 7)
    trainers = server.training_processes()

    assert server.end(signal.SIGINT) == 0

    assert not any(map(is_alive, trainers))
    assert not (server.data_directory / "server.json").exists()
    client = start_server().client()
    assert client.fine_tuning.jobs.retrieve(job_id).status == "running"
    assert result_of(client, job_id) == undisturbed


@pytest.mark.slow
def test_lost_steps_are_trained_again(start_server: StartServer, undisturbed: bytes) -> None:
    """As after a power cut: a checkpoint is there, and part of what led to it is not on record."""
    server: ServerProcess = start_server()
    job_id = start_job(server.client())
    wait_for_step(server.client(), job_id, 3 * ROWS + 5)
    server.end(signal.SIGTERM)
    database = sqlite3.connect(server.data_directory / "server.sqlite")
    database.execute("DELETE FROM events WHERE step > ?", (ROWS + 3,))
    database.commit()
    database.close()
    (server.data_directory / "jobs" / job_id / "updates.jsonl").unlink()

    client = start_server().client()

    assert result_of_steps(client, job_id) == undisturbed


def result_of_steps(client: OpenAI, job_id: str) -> bytes:
    job = ended(client, job_id)
    assert job.status == "succeeded", job.error
    assert steps_on_record(client, job_id) == list(range(1, STEPS + 1))
    return client.files.content(job.result_files[0]).content


@pytest.mark.slow
def test_waiting_jobs_resume(start_server: StartServer) -> None:
    server: ServerProcess = start_server()
    client = server.client()
    file = upload(client, example_lines(300))
    running = client.fine_tuning.jobs.create(
        model="baseline-text", training_file=file.id, hyperparameters={"n_epochs": 50, "batch_size": 1}
    )
    wait_for_step(client, running.id, 1)
    small = upload(client, example_lines(10))
    waiting = [client.fine_tuning.jobs.create(model="baseline-text", training_file=small.id).id for _ in range(2)]

    server.end(signal.SIGKILL)

    client = start_server().client()
    assert [client.fine_tuning.jobs.retrieve(job_id).status for job_id in waiting].count("failed") == 0
    client.fine_tuning.jobs.cancel(running.id)
    assert [ended(client, job_id).error for job_id in waiting] == [None] * 2
    for job_id in waiting:
        told = messages_on_record(client, job_id)
        assert told[1:4] == [
            f"Validating training file: {small.id}",
            "Files validated, moving job to queued state",
            "Fine-tuning job started",
        ]


@pytest.mark.slow
def test_a_job_cancelled_before_the_kill_stays_cancelled(start_server: StartServer) -> None:
    server: ServerProcess = start_server()
    client = server.client()
    job_id = start_job(client)
    wait_for_step(client, job_id, ROWS + 1)
    client.fine_tuning.jobs.cancel(job_id)
    server.end(signal.SIGKILL)

    server = start_server()

    assert server.client().fine_tuning.jobs.retrieve(job_id).status == "cancelled"
    assert not list((server.data_directory / "jobs" / job_id).glob("epoch-*"))


def test_what_was_acknowledged_survives_a_kill(start_server: StartServer) -> None:
    server: ServerProcess = start_server()
    files = {}
    for number in range(5):
        content = example_lines(number + 1)
        files[upload(server.client(), content).id] = content
    key = {"Idempotency-Key": "k"}
    first = server.client().fine_tuning.jobs.create(model="gpt-4o", training_file=next(iter(files)), extra_headers=key)

    server.end(signal.SIGKILL)

    client = start_server().client()
    assert {file_id: client.files.content(file_id).content for file_id in files} == files
    again = client.fine_tuning.jobs.create(model="gpt-4o", training_file=next(iter(files)), extra_headers=key)
    assert again.id == first.id
