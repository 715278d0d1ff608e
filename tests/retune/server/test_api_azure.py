"""Azure's paths, keys and clients."""

import json
from collections.abc import Callable, Iterator

import openai
import pytest
from openai import AsyncAzureOpenAI, AzureOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam
from openai.types.fine_tuning import FineTuningJob
from server_process import ServerProcess, ended, example_lines, upload
from waiting import wait_for

VERSION = "2024-10-21"
QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "question 3, number 3"}]


def endpoint(server: ServerProcess) -> str:
    return server.base_url.removesuffix("/v1")


@pytest.fixture
def azure(server: ServerProcess) -> Iterator[AzureOpenAI]:
    with AzureOpenAI(azure_endpoint=endpoint(server), api_version=VERSION, api_key="any", max_retries=0) as client:
        yield client


def test_a_job_from_upload_to_chat(azure: AzureOpenAI) -> None:
    file = upload(azure, example_lines(10))
    job = azure.fine_tuning.jobs.create(
        model="gpt-4o-mini", training_file=file.id, hyperparameters={"n_epochs": 1}, metadata={"by": "azure"}
    )

    job = ended(azure, job.id)

    assert job.status == "succeeded"
    assert job.fine_tuned_model
    assert next(iter(azure.fine_tuning.jobs.list(metadata={"by": "azure"}))).id == job.id
    assert azure.fine_tuning.jobs.list_events(job.id).data
    assert azure.fine_tuning.jobs.checkpoints.list(job.id).data
    assert azure.files.content(job.result_files[0]).text.startswith("step,")
    assert azure.models.retrieve(job.fine_tuned_model).id == job.fine_tuned_model
    answer = azure.chat.completions.create(model=job.fine_tuned_model, messages=QUESTION)
    assert answer.model == job.fine_tuned_model
    assert azure.files.delete(file.id).deleted


def test_the_deployment_in_the_path_overrides_the_model(server: ServerProcess, succeeded: FineTuningJob) -> None:
    model = succeeded.fine_tuned_model
    assert model
    with AzureOpenAI(
        azure_endpoint=endpoint(server), azure_deployment=model, api_version=VERSION, api_key="any", max_retries=0
    ) as client:
        answer = client.chat.completions.create(model="something-else", messages=QUESTION)
        assert answer.model == model
        stream = client.chat.completions.create(model="else", messages=QUESTION, stream=True)
        assert {chunk.model for chunk in stream} == {model}
        # What is no deployment's goes to the resource itself.
        assert client.fine_tuning.jobs.retrieve(succeeded.id).id == succeeded.id


def test_completions_have_a_deployment_too(azure: AzureOpenAI) -> None:
    assert azure.completions.create(model="babbage-002", prompt="Once", max_tokens=4).model == "babbage-002"


async def test_the_asynchronous_client(server: ServerProcess, succeeded: FineTuningJob) -> None:
    async with AsyncAzureOpenAI(
        azure_endpoint=endpoint(server), api_version=VERSION, azure_ad_token="any", max_retries=0
    ) as client:
        file = await client.files.create(file=("a.jsonl", example_lines(10)), purpose="fine-tune")
        assert (await client.files.retrieve(file.id)).bytes == file.bytes
        answer = await client.chat.completions.create(
            model=str(succeeded.fine_tuned_model),
            messages=QUESTION,
            temperature=0,
        )
        assert answer.choices[0].message.content


def test_azure_batch_is_answered(azure: AzureOpenAI, succeeded: FineTuningJob) -> None:
    line = {
        "custom_id": "1",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": succeeded.fine_tuned_model, "messages": QUESTION},
    }
    file = azure.files.create(file=("b.jsonl", json.dumps(line).encode() + b"\n"), purpose="batch")
    batch = azure.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    assert azure.batches.retrieve(batch.id).id == batch.id
    assert batch.id in {listed.id for listed in azure.batches.list(limit=5)}


@pytest.mark.parametrize("spelling", [1, "Standard", "GlobalStandard", "globalStandard", "developer_tier"])
def test_azures_training_type_is_accepted(azure: AzureOpenAI, spelling: int | str) -> None:
    # LiteLLM sends the number with every job.
    file = upload(azure, example_lines(10))
    job = azure.fine_tuning.jobs.create(
        model="gpt-35-turbo-0125", training_file=file.id, extra_body={"trainingType": spelling}
    )

    assert job.model == "gpt-35-turbo-0125"
    assert any("trainingType has no effect" in event.message for event in azure.fine_tuning.jobs.list_events(job.id))
    azure.fine_tuning.jobs.cancel(job.id)


@pytest.mark.parametrize("wrong", [7, "Spot", True, 1.0, []])
def test_an_unknown_training_type_is_refused(azure: AzureOpenAI, wrong: object) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        azure.fine_tuning.jobs.create(model="gpt-4o", training_file="file-1", extra_body={"trainingType": wrong})

    assert caught.value.param == "trainingType"


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [("/chat/completions", "/chat/completions"), ("/v1/chat/completions", "/chat/completions")],
)
def test_a_batch_with_azures_endpoint_names(azure: AzureOpenAI, endpoint: str, url: str) -> None:
    line = {"custom_id": "1", "method": "POST", "url": url, "body": {"model": "gpt-35-turbo", "messages": QUESTION}}
    file = azure.files.create(file=("b.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = azure.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h")  # type: ignore[arg-type]

    done = wait_for(lambda: (now := azure.batches.retrieve(batch.id)).status == "completed" and now, "the batch")

    assert done.request_counts
    assert (done.endpoint, done.request_counts.completed) == (endpoint, 1)


def test_openai_v1_paths_are_those_of_the_api(server: ServerProcess, succeeded: FineTuningJob) -> None:
    with OpenAI(base_url=f"{endpoint(server)}/openai/v1", api_key="any", max_retries=0) as client:
        assert client.fine_tuning.jobs.retrieve(succeeded.id).id == succeeded.id
        answer = client.chat.completions.create(model=str(succeeded.fine_tuned_model), messages=QUESTION)
        assert answer.object == "chat.completion"
        file = upload(client, example_lines(10))
        assert client.files.content(file.id).content == example_lines(10)


@pytest.mark.parametrize(
    "path",
    [
        "/openai/files",
        "/openai/files?api-version=",
        "/openai/deployments/gpt-4o/chat/completions",
        "/openai/nothing?api-version=2024-10-21",
        "/openai/chat/completions?api-version=2024-10-21",
        "/openai/deployments/gpt-4o/embeddings?api-version=2024-10-21",
    ],
)
def test_unknown_azure_paths_get_azures_404(server: ServerProcess, path: str) -> None:
    answer = server.request("POST", path, {})

    assert answer.status == 404
    assert (answer.error["code"], answer.error["message"]) == ("404", "Resource not found")
    assert answer.headers["x-should-retry"] == "false"


def test_errors_below_azure_paths_have_the_apis_body(azure: AzureOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        azure.chat.completions.create(model="nobody", messages=QUESTION)
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError):
        azure.chat.completions.create(model="gpt-4o", messages=[])


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 50_000, b"\xff", b'{"messages": 1}'])
def test_an_invalid_body_is_a_400(server: ServerProcess, body: bytes) -> None:
    path = f"/openai/deployments/gpt-4o/chat/completions?api-version={VERSION}"
    assert server.request("POST", path, body).status == 400


def test_the_key_is_accepted_in_azures_header(start_server: Callable[..., ServerProcess]) -> None:
    server: ServerProcess = start_server(RETUNE_SERVER_API_KEY="the-key-of-this-server")
    path = f"/openai/models?api-version={VERSION}"

    assert server.request("GET", path, headers={"api-key": "the-key-of-this-server"}).status == 200
    assert server.request("GET", path, headers={"api-key": "another"}).status == 401
    assert server.request("GET", path).status == 401
    assert server.request("GET", "/openai/nothing").status == 401
