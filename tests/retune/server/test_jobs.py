"""Fine-tuning jobs over HTTP: create, list, retrieve, cancel, events, checkpoints."""

from collections.abc import Callable
from typing import Any

import openai
import pytest
from faulty_proxy import Fault, faulty_proxy
from openai import AsyncOpenAI, OpenAI
from openai.types import FileObject
from openai.types.fine_tuning import FineTuningJob
from server_process import ServerProcess, ended, example_lines, upload


def create(client: OpenAI, training_file: str, **options: Any) -> FineTuningJob:
    return client.fine_tuning.jobs.create(**{"model": "baseline-text", "training_file": training_file, **options})


def test_a_new_job_shows_its_settings(client: OpenAI, training_file: FileObject) -> None:
    job = create(
        client,
        training_file.id,
        model="gpt-4.1-nano",
        suffix="My suffix: v1",
        metadata={"a": "b"},
        integrations=[{"type": "wandb", "wandb": {"project": "p", "tags": ["x"]}}],
    )

    assert job.status == "validating_files"
    assert job.hyperparameters.model_dump() == dict.fromkeys(
        ["batch_size", "learning_rate_multiplier", "n_epochs"], "auto"
    )
    assert job.method
    assert job.method.supervised
    assert job.method.supervised.hyperparameters
    assert job.method.supervised.hyperparameters.n_epochs == "auto"
    assert (job.fine_tuned_model, job.finished_at, job.trained_tokens, job.result_files) == (None, None, None, [])
    assert not (job.error and job.error.code)
    assert 0 <= job.seed < 2**31
    assert job.metadata == {"a": "b"}
    assert job.integrations
    assert job.integrations[0].wandb.project == "p"
    assert job.model_extra
    assert job.model_extra["user_provided_suffix"] == "My suffix: v1"

    done = ended(client, job.id)
    assert done.fine_tuned_model
    assert done.fine_tuned_model.startswith("ft:gpt-4.1-nano:retune:My-suffix--v1:")
    warning = next(event for event in client.fine_tuning.jobs.list_events(job.id, limit=500) if event.level == "warn")
    assert "Weights & Biases" in warning.message


def test_deprecated_hyperparameters_and_windows_line_ends_are_accepted(client: OpenAI) -> None:
    content = b"\xef\xbb\xbf" + example_lines(10).replace(b"\n", b"\r\n") + b"\r\n"
    job = create(client, upload(client, content).id, hyperparameters={"n_epochs": 2, "batch_size": 7}, seed=3)

    done = ended(client, job.id)

    assert done.status == "succeeded"
    assert done.hyperparameters.model_dump() == {"n_epochs": 2, "batch_size": 7, "learning_rate_multiplier": 1.0}
    assert done.method
    assert done.method.supervised
    assert done.method.supervised.hyperparameters
    assert done.method.supervised.hyperparameters.model_dump() == done.hyperparameters.model_dump()
    assert done.seed == 3


@pytest.mark.parametrize(
    ("options", "param", "words"),
    [
        ({"method": {"type": "dpo"}}, "method.type", "'dpo' is not supported by this server; use 'supervised'"),
        ({"method": {"type": "reinforcement", "reinforcement": {"grader": {}}}}, "method.type", "reinforcement"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs", "Expected a value >= 1"),
        ({"hyperparameters": {"n_epochs": 51}}, "hyperparameters.n_epochs", "Expected a value <= 50"),
        ({"hyperparameters": {"n_epochs": True}}, "hyperparameters.n_epochs", "but got a boolean"),
        ({"hyperparameters": {"batch_size": 257}}, "hyperparameters.batch_size", "Expected a value <= 256"),
        (
            {"method": {"type": "supervised", "supervised": {"hyperparameters": {"learning_rate_multiplier": 0}}}},
            "method.supervised.hyperparameters.learning_rate_multiplier",
            "Expected a value > 0, but got 0",
        ),
        ({"suffix": ""}, "suffix", "empty string"),
        ({"suffix": "x" * 65}, "suffix", "maximum length 64"),
        ({"seed": -1}, "seed", "Expected a value >= 0"),
        ({"seed": 2**31}, "seed", "Expected a value <= 2147483647"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata", "at most 16"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k", "maximum length 512"),
        ({"integrations": [{"type": "wandb"}]}, "integrations[0].wandb", "Missing required parameter"),
        ({"extra_body": {"temperature": 1}}, "temperature", "Unknown parameter: 'temperature'."),
    ],
)
def test_a_wrong_request_names_its_field(
    client: OpenAI, training_file: FileObject, options: dict[str, Any], param: str, words: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        create(client, training_file.id, **options)

    assert caught.value.param == param
    assert words in caught.value.message
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_unknown_files_and_models_are_refused(client: OpenAI, training_file: FileObject) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        create(client, "file-unknown")
    assert caught.value.body == {
        "message": "invalid training_file: file-unknown",
        "type": "invalid_request_error",
        "param": "training_file",
        "code": None,
    }
    with pytest.raises(openai.BadRequestError) as caught:
        create(client, training_file.id, validation_file="file-unknown")
    assert caught.value.param == "validation_file"
    with pytest.raises(openai.BadRequestError) as caught:
        create(client, training_file.id, model="gpt-9")
    assert "Model gpt-9 is not available for fine-tuning or does not exist." in caught.value.message
    assert caught.value.code == "model_not_available"
    wrong_purpose = client.files.create(file=("a.jsonl", example_lines(10)), purpose="user_data")
    with pytest.raises(openai.BadRequestError) as caught:
        create(client, wrong_purpose.id)
    assert caught.value.param == "training_file"
    assert "'user_data'" in caught.value.message


@pytest.mark.parametrize(
    ("lines", "code", "words"),
    [
        (example_lines(7), "invalid_n_examples", "Training file has 7 example(s), but must have at least 10 examples"),
        (b"", "invalid_n_examples", "Training file has 0 example(s)"),
        (example_lines(12) + b'{"messages": \n', "invalid_training_file", "line 13"),
        (
            example_lines(12) + b'{"prompt": "a", "completion": "b"}\n',
            "invalid_training_file",
            "takes lines with 'messages'",
        ),
        (b"\xff\xfe" + example_lines(12), "invalid_training_file", "UTF-8"),
    ],
)
def test_a_bad_training_file_fails_the_job_afterwards(client: OpenAI, lines: bytes, code: str, words: str) -> None:
    job = create(client, upload(client, lines).id)
    assert job.status == "validating_files"

    failed = ended(client, job.id)

    assert failed.status == "failed"
    assert failed.error
    assert (failed.error.code, failed.error.param) == (code, "training_file")
    assert words in failed.error.message
    assert (failed.finished_at, failed.fine_tuned_model, failed.result_files) == (None, None, [])
    assert failed.hyperparameters.n_epochs == "auto"
    event = client.fine_tuning.jobs.list_events(job.id).data[0]
    assert (event.level, event.message) == ("error", failed.error.message)


def test_a_bad_validation_file_fails_the_job_afterwards(client: OpenAI, training_file: FileObject) -> None:
    bad = upload(client, b'{"messages": [{"role": "user", "content": "no answer"}]}\n')

    failed = ended(client, create(client, training_file.id, validation_file=bad.id).id)

    assert failed.error
    assert (failed.error.code, failed.error.param) == ("invalid_validation_file", "validation_file")
    assert "line 1: messages: expected at least one message of the role assistant" in failed.error.message


def test_lists_go_page_by_page_and_by_metadata(start_server: Callable[..., ServerProcess]) -> None:
    client: OpenAI = start_server("--max-queued-jobs", "1000").client()
    file = upload(client, b"")
    ids = []
    for number in range(12):
        metadata = None if number % 3 == 0 else {"run": str(number % 3), "n": str(number), "empty": ""}
        ids.append(create(client, file.id, metadata=metadata).id)

    assert [job.id for job in client.fine_tuning.jobs.list(limit=5)] == ids[::-1]
    assert [job.id for job in client.fine_tuning.jobs.list(metadata={"run": "1"}, limit=2)] == ids[1::3][::-1]
    assert [job.id for job in client.fine_tuning.jobs.list(metadata={"run": "1", "n": "4"})] == [ids[4]]
    assert len(list(client.fine_tuning.jobs.list(metadata={"empty": ""}))) == 8
    assert list(client.fine_tuning.jobs.list(metadata={"run": "7"})) == []
    without = client.fine_tuning.jobs.list(extra_query={"metadata": "null"})
    assert [job.id for job in without] == ids[::3][::-1]
    assert client.fine_tuning.jobs.list(limit=12).has_more is False
    for limit in (0, 10_001):
        with pytest.raises(openai.BadRequestError) as caught:
            client.fine_tuning.jobs.list(limit=limit)
        assert caught.value.param == "limit"
    with pytest.raises(openai.BadRequestError):
        client.fine_tuning.jobs.list(after="ftjob-unknown")


def test_events_go_page_by_page(client: OpenAI, succeeded: FineTuningJob) -> None:
    by_three = [event.id for event in client.fine_tuning.jobs.list_events(succeeded.id, limit=3)]
    at_once = [event.id for event in client.fine_tuning.jobs.list_events(succeeded.id, limit=1000)]

    assert by_three == at_once
    assert len(set(by_three)) == len(by_three) > 60
    assert len(client.fine_tuning.jobs.list_events(succeeded.id).data) == 20


def test_a_cursor_of_another_job_is_refused(client: OpenAI, succeeded: FineTuningJob) -> None:
    other = create(client, upload(client, b"").id)
    event = client.fine_tuning.jobs.list_events(succeeded.id).data[0]

    with pytest.raises(openai.BadRequestError) as caught:
        client.fine_tuning.jobs.list_events(other.id, after=event.id)
    assert caught.value.param == "after"


async def test_the_async_client_reads_the_same(server: ServerProcess, succeeded: FineTuningJob) -> None:
    async with AsyncOpenAI(base_url=server.base_url, api_key="any", max_retries=0) as client:
        assert await client.fine_tuning.jobs.retrieve(succeeded.id) == succeeded
        ids = [event.id async for event in client.fine_tuning.jobs.list_events(succeeded.id, limit=30)]
        assert succeeded.fine_tuned_model
        completion = await client.chat.completions.create(
            model=succeeded.fine_tuned_model,
            messages=[{"role": "user", "content": "question 3, number 3"}],
            temperature=0,
        )
    assert len(ids) == len(set(ids)) > 60
    assert completion.choices[0].message.content


def test_the_same_key_and_request_create_one_job(
    client: OpenAI, server: ServerProcess, training_file: FileObject
) -> None:
    headers = {"Idempotency-Key": "job-1"}

    first = create(client, training_file.id, seed=1, extra_headers=headers)
    second = create(client, training_file.id, seed=1, extra_headers=headers)

    assert second.id == first.id
    with pytest.raises(openai.BadRequestError) as caught:
        create(client, training_file.id, seed=2, extra_headers=headers)
    assert caught.value.code == "idempotency_key_reused"
    assert caught.value.response.headers["x-should-retry"] == "false"
    client.fine_tuning.jobs.cancel(first.id)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST", "/fine_tuning/jobs", after_forwarding=True),
        Fault("POST", "/fine_tuning/jobs", after_forwarding=True, delay_seconds=1.5),
        Fault("POST", "/fine_tuning/jobs", after_forwarding=True, status=502, times=2),
    ],
    ids=["lost", "slow", "bad gateway"],
)
def test_one_call_creates_one_job_on_a_bad_connection(
    server: ServerProcess, training_file: FileObject, fault: Fault
) -> None:
    metadata = {"intent": f"{fault.delay_seconds} {fault.status}"}
    with (
        faulty_proxy(server.base_url) as proxy,
        OpenAI(base_url=proxy.base_url, api_key="any", max_retries=2, timeout=1) as client,
    ):
        proxy.faults.append(fault)
        job = create(client, training_file.id, metadata=metadata)
        assert proxy.count("POST", "/fine_tuning/jobs") > 1

    client = server.client()
    assert [found.id for found in client.fine_tuning.jobs.list(metadata=metadata)] == [job.id]
    another = create(client, training_file.id, metadata=metadata)
    assert another.id != job.id
    client.fine_tuning.jobs.cancel(another.id)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("/v1/fine_tuning/jobs/", "/v1/fine_tuning/jobs"),
        ("/v1/fine_tuning/jobs/?limit=1&after=a%20b", "/v1/fine_tuning/jobs?limit=1&after=a%20b"),
        ("/openai/fine_tuning/jobs/?api-version=1", "/openai/fine_tuning/jobs?api-version=1"),
        ("//v1/fine_tuning//jobs//", "/v1/fine_tuning/jobs"),
    ],
)
def test_a_redirect_keeps_the_requested_path_and_query(server: ServerProcess, asked: str, told: str) -> None:
    answer = server.request("GET", asked, headers={"Host": "localhost:1"})

    assert (answer.status, answer.headers["location"]) == (307, told)


def test_a_list_is_filtered_by_a_limited_number_of_pairs(server: ServerProcess) -> None:
    path = "/v1/fine_tuning/jobs?" + "&".join(f"metadata[a{number}]=1" for number in range(90))

    answer = server.request("GET", path)

    assert (answer.status, answer.error["param"]) == (400, "metadata")
