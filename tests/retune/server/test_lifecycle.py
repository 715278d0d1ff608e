"""From a training file to an answer of the fine-tuned model."""

import csv
import io
import math
import re

import openai
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from server_process import ServerProcess, ended, example_lines, messages_on_record, upload
from waiting import wait_for

STEPS = 56  # 14 examples, 4 epochs, batches of 1


def test_a_succeeded_job_shows_its_result(succeeded: FineTuningJob) -> None:
    assert succeeded.status == "succeeded"
    assert re.fullmatch(r"ftjob-[0-9A-Za-z]{24}", succeeded.id)
    assert succeeded.fine_tuned_model
    assert re.fullmatch(r"ft:gpt-4o-mini-2024-07-18:retune:tests:[0-9A-Za-z]{8}", succeeded.fine_tuned_model)
    assert succeeded.hyperparameters.model_dump() == {"n_epochs": 4, "batch_size": 1, "learning_rate_multiplier": 1.0}
    assert succeeded.finished_at
    assert succeeded.finished_at >= succeeded.created_at
    assert succeeded.trained_tokens
    assert succeeded.seed == 7
    assert len(succeeded.result_files) == 1
    assert not (succeeded.error and succeeded.error.code)


def test_events_have_the_texts_and_the_order_of_the_api(client: OpenAI, succeeded: FineTuningJob) -> None:
    checkpoints = client.fine_tuning.jobs.checkpoints.list(succeeded.id).data
    told = messages_on_record(client, succeeded.id)

    assert told[:4] == [
        f"Created fine-tuning job: {succeeded.id}",
        f"Validating training file: {succeeded.training_file} and validation file: {succeeded.validation_file}",
        "Files validated, moving job to queued state",
        "Fine-tuning job started",
    ]
    assert re.fullmatch(r"Checkpoint created at step 14 with Snapshot ID: ft:\S+:ckpt-step-14", told[4])
    assert told[5:] == [
        f"Checkpoint created at step 28 with Snapshot ID: {checkpoints[2].fine_tuned_model_checkpoint}",
        f"Checkpoint created at step 42 with Snapshot ID: {checkpoints[1].fine_tuned_model_checkpoint}",
        f"New fine-tuned model created: {succeeded.fine_tuned_model}",
        "The job has successfully completed",
    ]


def test_each_step_has_an_event_with_its_metrics(client: OpenAI, succeeded: FineTuningJob) -> None:
    events = list(client.fine_tuning.jobs.list_events(succeeded.id, limit=1000))[::-1]
    metrics = [event for event in events if event.type == "metrics"]

    assert [event.data["step"] for event in metrics] == list(range(1, STEPS + 1))  # type: ignore[index]
    for event in metrics:
        data = dict(event.data)  # type: ignore[call-overload]
        assert re.fullmatch(r"ftevent-[0-9A-Za-z]{24}", event.id)
        assert data["total_steps"] == STEPS
        text = f"Step {data['step']}/{STEPS}: training loss={data['train_loss']:.2f}"
        if "valid_loss" in data:
            text += f", validation loss={data['valid_loss']:.2f}"
        if data["step"] % 14 == 0:
            text += f", full validation loss={data['full_valid_loss']:.2f}"
        else:
            assert "full_valid_loss" not in data
        assert event.message == text
        assert all(math.isfinite(value) for value in data.values())
    order = [event.message.split(" ")[0:2] for event in events]
    assert order.index(["Step", f"14/{STEPS}:"]) + 1 == order.index(["Checkpoint", "created"])


def test_the_last_three_checkpoints_are_kept(client: OpenAI, server: ServerProcess, succeeded: FineTuningJob) -> None:
    page = client.fine_tuning.jobs.checkpoints.list(succeeded.id)

    assert [checkpoint.step_number for checkpoint in page.data] == [56, 42, 28]
    assert page.data[0].fine_tuned_model_checkpoint == succeeded.fine_tuned_model
    assert page.data[1].fine_tuned_model_checkpoint.endswith(":ckpt-step-42")
    assert page.data[2].fine_tuned_model_checkpoint.endswith(":ckpt-step-28")
    codes = {checkpoint.fine_tuned_model_checkpoint.split(":")[4] for checkpoint in page.data}
    assert len(codes) == 3
    for checkpoint in page.data:
        assert checkpoint.metrics.step == checkpoint.step_number
        assert checkpoint.metrics.full_valid_loss is not None
    by_one = [checkpoint.id for checkpoint in client.fine_tuning.jobs.checkpoints.list(succeeded.id, limit=1)]
    assert by_one == [checkpoint.id for checkpoint in page.data]
    directories = {path.name for path in (server.data_directory / "jobs" / succeeded.id).glob("epoch-*")}
    assert directories == {"epoch-0002", "epoch-0003", "epoch-0004"}


def test_the_result_file_has_a_row_a_step(client: OpenAI, succeeded: FineTuningJob) -> None:
    file = client.files.retrieve(succeeded.result_files[0])
    content = client.files.content(file.id).content
    rows = list(csv.DictReader(io.StringIO(content.decode())))

    assert (file.purpose, file.filename, file.bytes) == ("fine-tune-results", "step_metrics.csv", len(content))
    assert content.startswith(b"step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,")
    assert b"\r" not in content
    assert [int(row["step"]) for row in rows] == list(range(1, STEPS + 1))
    events = client.fine_tuning.jobs.list_events(succeeded.id, limit=1000)
    data = {event.data["step"]: event.data for event in events if event.type == "metrics"}  # type: ignore[index]
    for row in rows:
        metrics = dict(data[int(row["step"])])  # type: ignore[call-overload]
        assert re.fullmatch(r"\d+\.\d{1,5}", row["train_loss"])
        assert float(row["train_loss"]) == pytest.approx(metrics["train_loss"], abs=5.1e-6)
        assert float(row["train_accuracy"]) == pytest.approx(metrics["train_mean_token_accuracy"], abs=5.1e-6)
        assert (row["valid_loss"] == "") == ("valid_loss" not in metrics)


def test_the_model_and_its_checkpoints_are_listed_and_answer(client: OpenAI, succeeded: FineTuningJob) -> None:
    checkpoints = client.fine_tuning.jobs.checkpoints.list(succeeded.id).data
    listed = {model.id: model for model in client.models.list()}

    for checkpoint in checkpoints:
        name = checkpoint.fine_tuned_model_checkpoint
        assert client.models.retrieve(name) == listed[name]
        answer = client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": "question 3, number 3"}], temperature=0
        )
        assert answer.model == name
    assert answer.choices[0].finish_reason in {"stop", "length"}
    best = client.chat.completions.create(
        model=checkpoints[0].fine_tuned_model_checkpoint,
        messages=[{"role": "user", "content": "question 3, number 3"}],
        temperature=0,
    )
    assert (best.choices[0].message.content or "").startswith("label ")


def test_base_models_and_their_aliases_are_distinguished(client: OpenAI) -> None:
    owners = {model.id: model.owned_by for model in client.models.list()}

    assert owners["baseline-text"] == "retune"
    assert owners["gpt-4o-mini-2024-07-18"] == "retune:alias-of:baseline-text"
    with pytest.raises(openai.PermissionDeniedError):
        client.models.delete("gpt-4o-mini-2024-07-18")


def test_a_fine_tuned_model_can_be_trained_on_and_then_deleted(client: OpenAI, server: ServerProcess) -> None:
    first = ended(
        client,
        client.fine_tuning.jobs.create(
            model="gpt-4o", training_file=upload(client, example_lines(10)).id, hyperparameters={"n_epochs": 1}
        ).id,
    )
    assert first.fine_tuned_model
    second = client.fine_tuning.jobs.create(
        model=first.fine_tuned_model,
        training_file=upload(client, example_lines(600)).id,
        hyperparameters={"n_epochs": 50},
        suffix="second",
    )

    with pytest.raises(openai.ConflictError) as caught:
        client.models.delete(first.fine_tuned_model)
    assert caught.value.code == "model_in_use"
    assert caught.value.response.headers["x-should-retry"] == "false"
    client.fine_tuning.jobs.cancel(second.id)

    third = ended(
        client,
        client.fine_tuning.jobs.create(
            model=first.fine_tuned_model, training_file=second.training_file, hyperparameters={"n_epochs": 1}
        ).id,
    )
    assert third.status == "succeeded"
    assert third.fine_tuned_model
    assert third.fine_tuned_model.startswith("ft:gpt-4o:retune::")

    deleted = client.models.delete(first.fine_tuned_model)
    assert deleted.model_dump() == {"id": first.fine_tuned_model, "object": "model", "deleted": True}
    assert not list((server.data_directory / "jobs" / first.id).glob("epoch-*"))
    for call in (client.models.retrieve, client.models.delete):
        with pytest.raises(openai.NotFoundError) as missing:
            call(first.fine_tuned_model)
        assert missing.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError) as caught_404:
        client.chat.completions.create(model=first.fine_tuned_model, messages=[{"role": "user", "content": "x"}])
    assert caught_404.value.body == {
        "message": f"The model `{first.fine_tuned_model}` does not exist or you do not have access to it.",
        "type": "invalid_request_error",
        "param": None,
        "code": "model_not_found",
    }


def test_a_checkpoint_answers_only_after_success(client: OpenAI) -> None:
    job = client.fine_tuning.jobs.create(
        model="baseline-text",
        training_file=upload(client, example_lines(100)).id,
        hyperparameters={"n_epochs": 50, "batch_size": 1},
    )
    checkpoint = wait_for(lambda: client.fine_tuning.jobs.checkpoints.list(job.id).data, "a checkpoint")[0]

    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(
            model=checkpoint.fine_tuned_model_checkpoint, messages=[{"role": "user", "content": "x"}]
        )
    client.fine_tuning.jobs.cancel(job.id)
