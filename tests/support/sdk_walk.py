"""One walk over every method of the OpenAI SDK that an endpoint of this server stands behind.

The same steps serve the synchronous and the asynchronous client: `settled` waits where there is something to wait for.
`Watched` notes which methods were called, so that a test can tell which were forgotten.
"""

import inspect
import json
import uuid
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path
from typing import Any

import openai
from openai.types.fine_tuning import FineTuningJob
from server_process import example_lines
from waiting import wait_for_async

RESOURCES = ("files", "uploads", "fine_tuning", "models", "chat", "completions", "responses", "batches", "webhooks")
MODEL = "gpt-4o-mini-2024-07-18"
TRAINING = example_lines(12)
PROMPTS = b"".join(b'{"prompt": "question %d ->", "completion": " answer %d"}\n' % (n % 3, n % 3) for n in range(12))
QUESTION: list[Any] = [{"role": "user", "content": "question 1"}]
_CHAT = "/v1/chat/completions"
_ENDED = {"succeeded", "failed", "cancelled", "completed", "expired"}


def methods_of(resource: Any, path: str) -> set[str]:
    """Dotted names of a resource's public methods, with those of the resources in it."""
    found: set[str] = set()
    for name in dir(resource):
        value = None if name.startswith(("_", "with_")) else getattr(resource, name)
        if inspect.ismethod(value):
            found.add(f"{path}.{name}")
        elif hasattr(value, "with_raw_response"):
            found |= methods_of(value, f"{path}.{name}")
    return found


@dataclass
class Watched:
    """A client, or a part of one, that notes which of its methods are called."""

    part: Any
    called: set[str] = field(default_factory=set)
    path: str = ""

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.part, name)
        path = f"{self.path}.{name}".removeprefix(".")
        if inspect.ismethod(value):
            self.called.add(path)
            return value
        return Watched(value, self.called, path)


async def settled(value: Any) -> Any:
    """The value itself, or what it turns into."""
    return await value if inspect.isawaitable(value) else value


async def collected(value: Any) -> list[Any]:
    """Everything in a list of all pages, or in a stream."""
    if hasattr(value, "__aiter__"):
        return [item async for item in value]
    value = await settled(value)
    return [item async for item in value] if hasattr(value, "__aiter__") else list(value)


@asynccontextmanager
async def entered(manager: Any) -> AsyncIterator[Any]:
    """A context manager of either kind."""
    if hasattr(manager, "__aenter__"):
        async with manager as entered:
            yield entered
    else:
        with manager as entered:
            yield entered


@dataclass
class Walk:
    """The steps; each uses what it made itself, and the one job that is over."""

    client: Any
    succeeded: FineTuningJob
    folder: Path
    notification: tuple[bytes, dict[str, str], str]

    async def everything(self) -> None:
        await self.files()
        await self.uploads()
        await self.jobs()
        await self.permissions()
        await self.models_and_completions()
        await self.chat()
        await self.responses()
        await self.batches()
        await self.webhooks()
        await self.what_is_not_offered()

    async def files(self) -> None:
        files = self.client.files
        made = await settled(files.create(file=("a.jsonl", TRAINING), purpose="fine-tune"))
        assert (await settled(files.wait_for_processing(made.id))).status == "processed"
        assert (await settled(files.retrieve(made.id))).bytes == len(TRAINING)
        assert made.id in [file.id for file in await collected(files.list(purpose="fine-tune", limit=2))]
        content = await settled(files.content(made.id))
        assert await settled(content.read() if hasattr(content, "read") else content) == TRAINING
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            assert (await settled(files.retrieve_content(made.id))).encode() == TRAINING
        assert (await settled(files.delete(made.id))).deleted

    async def uploads(self) -> None:
        uploads = self.client.uploads
        about: Any = {"filename": "a.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune"}
        upload = await settled(uploads.create(bytes=len(TRAINING), **about))
        parts = [
            await settled(uploads.parts.create(upload.id, data=piece)) for piece in (TRAINING[:100], TRAINING[100:])
        ]
        part_ids = [part.id for part in parts]
        done = await settled(
            uploads.complete(upload.id, part_ids=part_ids, md5=md5(TRAINING, usedforsecurity=False).hexdigest())
        )
        assert (done.status, done.file.bytes) == ("completed", len(TRAINING))
        unwanted = await settled(uploads.create(bytes=1, **about))
        assert (await settled(uploads.cancel(unwanted.id))).status == "cancelled"
        path = self.folder / "whole.jsonl"
        path.write_bytes(TRAINING)
        chunked = await settled(
            uploads.upload_file_chunked(file=path, mime_type="text/jsonl", purpose="fine-tune", part_size=500)
        )
        assert chunked.file.bytes == len(TRAINING)

    async def jobs(self) -> None:
        jobs = self.client.fine_tuning.jobs
        file = await settled(self.client.files.create(file=("a.jsonl", example_lines(500)), purpose="fine-tune"))
        made = await settled(
            jobs.create(model=MODEL, training_file=file.id, hyperparameters={"n_epochs": 50}, metadata={"of": file.id})
        )
        assert [job.id for job in await collected(jobs.list(metadata={"of": file.id}, limit=1))] == [made.id]
        assert (await settled(jobs.pause(made.id))).status == "paused"
        assert (await settled(jobs.resume(made.id))).status in {"queued", "validating_files"}
        assert (await settled(jobs.cancel(made.id))).status == "cancelled"
        assert (await settled(jobs.retrieve(made.id))).status == "cancelled"
        events = await collected(jobs.list_events(made.id, limit=2))
        assert len({event.id for event in events}) == len(events) >= 4
        checkpoints = await collected(jobs.checkpoints.list(self.succeeded.id, limit=2))
        assert len({checkpoint.id for checkpoint in checkpoints}) == 3

    async def permissions(self) -> None:
        permissions = self.client.fine_tuning.checkpoints.permissions
        name = self.succeeded.fine_tuned_model
        # Other tests may have given permissions for the same checkpoint.
        projects = [f"proj_{uuid.uuid4().hex}" for _ in range(2)]
        made = await collected(permissions.create(name, project_ids=projects))
        assert [one.project_id for one in made] == projects
        listed = await collected(permissions.list(name, limit=1, order="ascending"))
        assert [one.id for one in listed][-2:] == [one.id for one in made]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            assert (await settled(permissions.retrieve(name, project_id=projects[1]))).data[0].id == made[1].id
        for one in made:
            assert (await settled(permissions.delete(one.id, fine_tuned_model_checkpoint=name))).deleted

    async def models_and_completions(self) -> None:
        models, jobs = self.client.models, self.client.fine_tuning.jobs
        file = await settled(self.client.files.create(file=("p.jsonl", PROMPTS), purpose="fine-tune"))
        made = await settled(jobs.create(model="babbage-002", training_file=file.id, hyperparameters={"n_epochs": 3}))
        name = (await self.ended(jobs, made.id)).fine_tuned_model
        assert name in [model.id for model in await collected(models.list())]
        assert (await settled(models.retrieve(name))).object == "model"
        await self.completions(name)
        assert (await settled(models.delete(name))).deleted

    async def completions(self, model: str) -> None:
        completions = self.client.completions
        request: Any = {"model": model, "prompt": "question 1 ->", "temperature": 0}
        whole = await settled(completions.create(**request))
        chunks = await collected(await settled(completions.create(**request, stream=True)))
        assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == whole.choices[0].text != ""

    async def chat(self) -> None:
        completions = self.client.chat.completions
        request: Any = {"model": self.succeeded.fine_tuned_model, "messages": QUESTION, "temperature": 0, "n": 2}
        whole = await settled(completions.create(**request))
        text = whole.choices[0].message.content
        assert [choice.index for choice in whole.choices] == [0, 1]
        options = {"include_usage": True}
        chunks = await collected(await settled(completions.create(**request, stream=True, stream_options=options)))
        assert said(chunks) == text
        assert chunks[-1].usage == whole.usage
        assert (await settled(completions.parse(**request))).choices[0].message.content == text
        async with entered(completions.stream(**request)) as stream:
            assert await collected(stream)
            final = await settled(stream.get_final_completion())
        assert final.choices[1].message.content == text

    async def responses(self) -> None:
        responses = self.client.responses
        request: Any = {"model": self.succeeded.fine_tuned_model, "input": "question 1", "temperature": 0}
        whole = await settled(responses.create(**request))
        events = await collected(await settled(responses.create(**request, stream=True)))
        assert events[-1].response.output_text == whole.output_text != ""
        assert (await settled(responses.parse(**request))).output_text == whole.output_text
        async with entered(responses.stream(**request)) as stream:
            assert (await settled(stream.get_final_response())).output_text == whole.output_text
        await refused(lambda: responses.retrieve(whole.id))
        await refused(lambda: responses.delete(whole.id))
        await refused(lambda: responses.cancel(whole.id))
        await refused(lambda: responses.input_items.list(whole.id))
        await refused(lambda: responses.input_tokens.count(model=request["model"], input="a"))
        await refused(lambda: responses.compact(model=request["model"], input="a"))
        # Answers over a WebSocket are not offered: entering it would fail.
        responses.connect()

    async def batches(self) -> None:
        batches = self.client.batches
        body = {"model": self.succeeded.fine_tuned_model, "messages": QUESTION}
        lines = [{"custom_id": str(n), "method": "POST", "url": _CHAT, "body": body} for n in range(3)]
        content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        file = await settled(self.client.files.create(file=("b.jsonl", content), purpose="batch"))
        request: Any = {"input_file_id": file.id, "endpoint": _CHAT, "completion_window": "24h"}
        done = await self.ended(batches, (await settled(batches.create(**request))).id)
        assert (done.status, done.request_counts.completed) == ("completed", 3)
        many = b"".join(json.dumps({**lines[0], "custom_id": str(n)}).encode() + b"\n" for n in range(3000))
        file = await settled(self.client.files.create(file=("b.jsonl", many), purpose="batch"))
        unwanted = await settled(batches.create(**{**request, "input_file_id": file.id}))
        assert (await settled(batches.cancel(unwanted.id))).status in {"cancelling", "cancelled"}
        assert [batch.id for batch in await collected(batches.list(limit=1))][:2] == [unwanted.id, done.id]

    async def webhooks(self) -> None:
        payload, headers, secret = self.notification
        webhooks = self.client.webhooks
        await settled(webhooks.verify_signature(payload, headers, secret=secret))
        event = await settled(webhooks.unwrap(payload, headers, secret=secret))
        assert event.type == "fine_tuning.job.succeeded"

    async def what_is_not_offered(self) -> None:
        """Refused by the API's own errors, never by something that an SDK can't read."""
        graders = self.client.fine_tuning.alpha.graders
        grader: Any = {"type": "string_check", "name": "n", "input": "i", "reference": "r", "operation": "eq"}
        await refused(lambda: graders.run(grader=grader, model_sample="s"))
        await refused(lambda: graders.validate(grader=grader))
        stored = self.client.chat.completions
        await refused(stored.list)
        await refused(lambda: stored.retrieve("chatcmpl-1"))
        await refused(lambda: stored.update("chatcmpl-1", metadata={}))
        await refused(lambda: stored.delete("chatcmpl-1"))
        await refused(lambda: stored.messages.list("chatcmpl-1"))
        endpoints = self.client.webhooks
        events: Any = ["fine_tuning.job.succeeded"]
        await refused(endpoints.list)
        await refused(lambda: endpoints.create(event_types=events, name="n", url="https://example.org"))
        await refused(lambda: endpoints.retrieve("w"))
        await refused(lambda: endpoints.update("w", event_types=events, name="n", url="https://example.org"))
        await refused(lambda: endpoints.delete("w"))
        await refused(lambda: endpoints.rotate_secret("w"))
        await refused(lambda: endpoints.test("w", event_type=events[0]))
        await refused(endpoints.event_types.list)

    async def ended(self, resource: Any, object_id: str) -> Any:
        """Wait for the end of a job or batch."""

        async def look() -> Any:
            found = await settled(resource.retrieve(object_id))
            return found if found.status in _ENDED else None

        return await wait_for_async(look, f"the end of {object_id}")


def said(chunks: list[Any]) -> str:
    """The first answer of a stream."""
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == 0]
    return "".join(choice.delta.content or "" for choice in choices)


async def refused(call: Any) -> None:
    """Call what this server does not offer."""
    try:
        await settled(call())
    except openai.APIStatusError as error:
        body: Any = error.body
        if error.status_code in {400, 404, 405} and set(body) == {"message", "type", "param", "code"}:
            return
        raise
    raise AssertionError("answered what is not offered")
