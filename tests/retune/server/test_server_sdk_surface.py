"""Every method of the official SDK that has to do with this API, against the running server, and none forgotten."""

import asyncio
from pathlib import Path

import openai
import pytest
from contract import JUDGE, operations
from openai import AsyncOpenAI, OpenAI
from openai.types.fine_tuning import FineTuningJob
from sdk_walk import RESOURCES, Walk, Watched, methods_of
from server_process import ServerProcess

Notification = tuple[bytes, dict[str, str], str]


def test_every_method_of_the_sdk_is_answered(
    client: OpenAI, succeeded: FineTuningJob, tmp_path: Path, notification: Notification
):
    watched = Watched(client)
    JUDGE.answered.clear()

    asyncio.run(Walk(watched, succeeded, tmp_path, notification).everything())

    expected = set().union(*(methods_of(getattr(client, name), name) for name in RESOURCES))
    assert expected - watched.called == set()
    assert len(expected) >= 51
    # The document has operations that no method reaches; what is not offered is refused.
    assert {operation.name for operation in operations()} - JUDGE.answered == {"runGrader", "validateGrader"}


def test_raw_and_streamed_responses(client: OpenAI, succeeded: FineTuningJob, tmp_path: Path):
    raw = client.fine_tuning.jobs.with_raw_response.retrieve(succeeded.id)
    assert raw.parse() == client.fine_tuning.jobs.retrieve(succeeded.id)
    assert raw.headers["x-request-id"] == raw.request_id
    with client.files.with_streaming_response.content(succeeded.result_files[0]) as content:
        content.stream_to_file(tmp_path / "result.csv")
    assert (tmp_path / "result.csv").read_text().startswith("step,train_loss,train_accuracy,valid_loss")
    with client.models.with_streaming_response.list() as models:
        assert models.parse().data[0].object == "model"


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_lists_end(client: OpenAI, succeeded: FineTuningJob, limit: int):
    """Page by page, a list has each object once, whatever the page's size."""
    whole = client.fine_tuning.jobs.list_events(succeeded.id, limit=1000).data
    paged = list(client.fine_tuning.jobs.list_events(succeeded.id, limit=limit))
    assert [event.id for event in paged] == [event.id for event in whole]
    jobs = [job.id for job in client.fine_tuning.jobs.list(limit=limit)]
    assert len(set(jobs)) == len(jobs) >= 1
    files = [file.id for file in client.files.list(limit=limit, order="asc")]
    assert files == [file.id for file in client.files.list(limit=10_000)][::-1]


def test_a_page_after_nothing_is_an_error(client: OpenAI, succeeded: FineTuningJob):
    """The first page again would be read for ever."""
    after = "unknown"
    for call in (
        lambda: client.files.list(after=after),
        lambda: client.batches.list(after=after),
        lambda: client.fine_tuning.jobs.list(after=after),
        lambda: client.fine_tuning.jobs.list_events(succeeded.id, after=after),
        lambda: client.fine_tuning.jobs.checkpoints.list(succeeded.id, after=after),
        lambda: client.fine_tuning.checkpoints.permissions.list(str(succeeded.fine_tuned_model), after=after),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            call()
        assert caught.value.param == "after"


def test_both_clients_have_the_same_methods(server: ServerProcess):
    client = server.client()
    asynchronous = AsyncOpenAI(base_url=server.base_url, api_key="any")
    for name in RESOURCES:
        assert methods_of(getattr(client, name), name) == methods_of(getattr(asynchronous, name), name)
