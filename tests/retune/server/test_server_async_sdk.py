"""The official SDK's asynchronous client: the same methods as the other one, and many at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import openai
import pytest
from contract import see_async_response
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from openai.types.fine_tuning import FineTuningJob
from sdk_walk import MODEL, QUESTION, RESOURCES, Walk, Watched, methods_of, said
from server_process import ServerProcess, example_lines

Notification = tuple[bytes, dict[str, str], str]


@pytest.fixture
async def aclient(server: ServerProcess) -> AsyncIterator[AsyncOpenAI]:
    http_client = DefaultAsyncHttpxClient(event_hooks={"response": [see_async_response]})
    async with AsyncOpenAI(base_url=server.base_url, api_key="any", max_retries=0, http_client=http_client) as client:
        yield client


async def test_every_method_of_the_sdk_is_answered(
    aclient: AsyncOpenAI, succeeded: FineTuningJob, tmp_path: Path, notification: Notification
):
    watched = Watched(aclient)

    await Walk(watched, succeeded, tmp_path, notification).everything()

    expected = set().union(*(methods_of(getattr(aclient, name), name) for name in RESOURCES))
    assert expected - watched.called == set()


async def test_many_at_once_get_what_they_asked_for(aclient: AsyncOpenAI, succeeded: FineTuningJob):
    async def round_trip(number: int) -> bool:
        content = example_lines(2, f"label of {number}")
        file = await aclient.files.create(file=(f"{number}.jsonl", content), purpose="fine-tune")
        same = (await aclient.files.content(file.id)).content == content
        name = (await aclient.files.retrieve(file.id)).filename
        return same and name == f"{number}.jsonl" and (await aclient.files.delete(file.id)).deleted

    async def answer(*, stream: bool) -> str:
        model = str(succeeded.fine_tuned_model)
        if not stream:
            whole = await aclient.chat.completions.create(model=model, messages=QUESTION, temperature=0)
            return str(whole.choices[0].message.content)
        chunks = await aclient.chat.completions.create(model=model, messages=QUESTION, temperature=0, stream=True)
        return said([chunk async for chunk in chunks])

    trips = [round_trip(number) for number in range(20)]
    answers = [answer(stream=bool(number % 2)) for number in range(20)]

    assert all(await asyncio.gather(*trips))
    assert len(set(await asyncio.gather(*answers))) == 1


async def test_a_stream_that_is_left_is_noticed(start_server: Callable[..., ServerProcess]):
    """The rest of the answer is not written to nobody: that would be logged, line by line."""
    server = start_server()
    async with AsyncOpenAI(base_url=server.base_url, api_key="any", max_retries=0) as client:
        stream = await client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True, n=10)
        async for _chunk in stream:
            break
        await stream.close()
        assert (await client.models.retrieve(MODEL)).id == MODEL

    assert server.process
    server.process.terminate()
    assert b"socket.send() raised exception" not in server.process.communicate()[1]


async def test_errors_are_the_same(aclient: AsyncOpenAI):
    with pytest.raises(openai.NotFoundError) as caught:
        await aclient.fine_tuning.jobs.retrieve("ftjob-unknown")
    assert (caught.value.code, caught.value.param) == ("fine_tune_not_found", "fine_tune_id")
    with pytest.raises(openai.BadRequestError):
        await aclient.fine_tuning.jobs.list(after="unknown")
