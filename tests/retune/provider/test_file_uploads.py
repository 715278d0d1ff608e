"""Large files go up in parts, once, whatever happens on the way."""

import asyncio
import codecs
import json
import subprocess
import sys
import tracemalloc
import uuid
from pathlib import Path

import openai
import pytest
from faulty_proxy import Fault, FaultyProxy, faulty_proxy
from openai import AsyncOpenAI

from retune.config import ProviderConfig, TrainingConfig
from retune.errors import ProviderError
from retune.provider.client import build_client
from retune.provider.files import UploadedFile, upload_once
from retune.provider.follow import PollingPauses, follow_job, raise_unless_succeeded
from retune.provider.job_journal import JobJournal
from retune.provider.one_job import JobCreator, job_request
from retune.provider.uploads import UploadLimits

SMALL = UploadLimits(single_bytes=100_000, part_bytes=40_000, total_bytes=4_000_000, pauses_seconds=(0.01, 0.01))
CONTENT = b"".join(b'{"line": %06d}\n' % number for number in range(15_000))
REFUSAL = b'{"error": {"message": "no", "type": "invalid_request_error", "param": null, "code": null}}'


@pytest.fixture
def name() -> str:
    return f"{uuid.uuid4().hex}-train.jsonl"


@pytest.fixture
def large_file(tmp_path: Path) -> Path:
    path = tmp_path / "train.jsonl"
    path.write_bytes(CONTENT)
    return path


def client_of(base_url: str) -> AsyncOpenAI:
    return build_client(ProviderConfig(base_url=base_url, timeout_seconds=20))


async def upload(base_url: str, path: Path, name: str, limits: UploadLimits = SMALL) -> UploadedFile:
    async with client_of(base_url) as client:
        return await upload_once(client, path, filename=name, limits=limits)


async def files_of(base_url: str, name: str) -> list[str]:
    async with client_of(base_url) as client:
        return [file.id async for file in client.files.list(purpose="fine-tune") if file.filename == name]


async def content_of(base_url: str, file_id: str) -> bytes:
    async with client_of(base_url) as client:
        return (await client.files.content(file_id)).content


def parts_sent(proxy: FaultyProxy) -> int:
    return proxy.count("POST", "/parts")


async def test_a_large_file_goes_up_in_parts_and_once(training_server: str, large_file: Path, name: str) -> None:
    seen: list[tuple[int, int]] = []
    with faulty_proxy(training_server) as proxy:
        async with client_of(proxy.base_url) as client:
            first = await upload_once(
                client,
                large_file,
                filename=name,
                limits=SMALL,
                on_progress=lambda sent, total: seen.append((sent, total)),
            )
        second = await upload(proxy.base_url, large_file, name)
        assert (parts_sent(proxy), proxy.count("POST", "/files")) == (7, 0)
    assert (first.adopted, second.adopted, first.file_id) == (False, True, second.file_id)
    assert seen == [(min(40_000 * number, len(CONTENT)), len(CONTENT)) for number in range(1, 8)]
    assert await content_of(training_server, first.file_id) == CONTENT


async def test_a_small_file_goes_up_in_one_request(training_server: str, large_file: Path, name: str) -> None:
    with faulty_proxy(training_server) as proxy:
        await upload(proxy.base_url, large_file, name, UploadLimits())
        assert (proxy.count("POST", "/files"), proxy.count("POST", "/uploads")) == (1, 0)


async def test_parts_that_fail_are_sent_again(training_server: str, large_file: Path, name: str) -> None:
    with faulty_proxy(training_server) as proxy:
        proxy.faults += [
            Fault("POST", "/parts", status=503),
            Fault("POST", "/parts", after_forwarding=True),
            Fault("POST", "/complete", after_forwarding=True),
        ]
        proxy.dropped_headers.add("idempotency-key")
        made = await upload(proxy.base_url, large_file, name)
        assert (parts_sent(proxy), proxy.count("POST", "/uploads")) == (9, 1)
    assert await files_of(training_server, name) == [made.file_id]
    assert await content_of(training_server, made.file_id) == CONTENT


async def test_an_upload_that_fails_leaves_no_draft(training_server: str, large_file: Path, name: str) -> None:
    with faulty_proxy(training_server) as proxy:
        proxy.faults.append(Fault("POST", "/parts", status=400, body=REFUSAL))
        with pytest.raises(ProviderError, match="uploading part 1"):
            await upload(proxy.base_url, large_file, name)
        assert proxy.count("POST", "/cancel") == 1
        proxy.faults.append(Fault("POST", "/parts", status=503, times=3))
        with pytest.raises(openai.InternalServerError):
            await upload(proxy.base_url, large_file, name)
        assert proxy.count("POST", "/cancel") == 2
    assert await files_of(training_server, name) == []


async def test_a_file_whose_completion_was_not_heard_of_is_found(
    training_server: str, large_file: Path, name: str
) -> None:
    with faulty_proxy(training_server) as proxy:
        proxy.faults += [
            Fault("POST", "/complete", after_forwarding=True),
            Fault("POST", "/complete", status=400, body=REFUSAL),
        ]
        made = await upload(proxy.base_url, large_file, name)
    assert await files_of(training_server, name) == [made.file_id]


def kill_an_upload_after_its_first_part(base_url: str, path: Path, name: str) -> None:
    program = f"""
import asyncio
from pathlib import Path
from retune.config import ProviderConfig
from retune.provider.client import build_client
from retune.provider.files import upload_once
from retune.provider.uploads import UploadLimits

async def main():
    async with build_client(ProviderConfig(base_url={base_url!r})) as client:
        limits = UploadLimits(single_bytes=100_000, part_bytes=40_000)
        await upload_once(client, Path({str(path)!r}), filename={name!r}, limits=limits,
                          on_progress=lambda sent, total: print(sent, flush=True))

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"40000\n"
        process.kill()


async def test_killed_in_the_middle_and_run_again(training_server: str, large_file: Path, name: str) -> None:
    with faulty_proxy(training_server) as proxy:
        # Completing never reaches the server, so that the process is still at work when it is killed.
        proxy.faults.append(Fault("POST", "/complete", delay_seconds=2))
        await asyncio.to_thread(kill_an_upload_after_its_first_part, proxy.base_url, large_file, name)
    assert await files_of(training_server, name) == []
    again = await upload(training_server, large_file, name)
    assert not again.adopted
    assert await files_of(training_server, name) == [again.file_id]
    assert await content_of(training_server, again.file_id) == CONTENT


async def test_what_is_too_large_is_refused_before_anything_is_sent(large_file: Path, name: str) -> None:
    limits = UploadLimits(total_bytes=100_000)
    with pytest.raises(ProviderError, match=r"has 255,000 bytes; providers take files of at most 100,000"):
        await upload("http://127.0.0.1:9/v1", large_file, name, limits)


async def test_a_host_without_an_uploads_api_is_named(training_server: str, large_file: Path, name: str) -> None:
    with faulty_proxy(training_server) as proxy:
        proxy.faults.append(Fault("POST", "/uploads", status=404, body=REFUSAL))
        with pytest.raises(ProviderError, match=r"has no Uploads API.*255,000 bytes.*at most 100,000"):
            await upload(proxy.base_url, large_file, name)


async def test_memory_does_not_grow_with_the_file(training_server: str, tmp_path: Path, name: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"x" * 99 + b"\n")
    await upload(training_server, path, f"first-{name}", UploadLimits(single_bytes=50, part_bytes=50))
    path.write_bytes((b"x" * 99 + b"\n") * 100_000)
    tracemalloc.start()
    try:
        await upload(training_server, path, name, UploadLimits(single_bytes=100_000, part_bytes=200_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000


async def test_files_with_a_byte_order_mark_are_trained_on(training_server: str, tmp_path: Path, name: str) -> None:
    lines = [
        {"messages": [{"role": "user", "content": f"n {n}"}, {"role": "assistant", "content": str(n % 2)}]}
        for n in range(12)
    ]
    path = tmp_path / "train.jsonl"
    path.write_bytes(codecs.BOM_UTF8 + b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    training = TrainingConfig.model_validate({"hyperparameters": {"n_epochs": 1, "batch_size": 4}})
    async with client_of(training_server) as client:
        file = await upload_once(client, path, filename=name)
        key, file_id = name[:32], file.file_id
        request = job_request(training, run_key=key, training_file=file_id, validation_file=file_id)
        started = await JobCreator(client, request, JobJournal(tmp_path, key), wait_seconds=0).create_once()
        pauses = PollingPauses(first_seconds=0.05, longest_seconds=0.2)
        updates = [update async for update in follow_job(client, started.job_id, pauses)]
    raise_unless_succeeded(updates[-1].job)
    assert any(event.message.startswith("Step 3/3") for update in updates for event in update.events)
