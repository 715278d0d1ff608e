"""A disk that is full: what was acknowledged is still there, what is new is refused, and the server lives on."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest
from disks import fill
from openai import OpenAI
from server_process import ServerProcess, example_lines, upload

# The server leaves this much of the disk to its database.
SPARE_BYTES = 16 << 20
CONTENT = example_lines(20)


@pytest.fixture
def server(small_disk: Path, start_server: Callable[..., ServerProcess]) -> Iterator[ServerProcess]:
    server = start_server(data_directory=small_disk / "data")
    yield server
    assert server.end(signal.SIGTERM) == 0


def refused(call: Callable[[], object]) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        call()
    assert (caught.value.status_code, caught.value.code) == (507, "insufficient_storage")
    assert caught.value.response.headers["x-should-retry"] == "false"


def stored(server: ServerProcess) -> set[str]:
    return {path.name for path in (server.data_directory / "files").iterdir()}


def test_a_full_disk_refuses_and_recovers(server: ServerProcess, small_disk: Path):
    client = server.client()
    file = upload(client, CONTENT)
    pending = client.uploads.create(bytes=4, filename="a.bin", mime_type="a/b", purpose="assistants")
    part = client.uploads.parts.create(pending.id, data=b"abcd")
    before = stored(server)
    ballast = fill(small_disk, leave=0)

    refused(lambda: upload(client, CONTENT))
    refused(lambda: client.files.create(file=("a.bin", b"x" * (2 << 20)), purpose="user_data"))
    refused(lambda: client.uploads.parts.create(pending.id, data=b"x" * 100_000))
    refused(lambda: client.uploads.complete(pending.id, part_ids=[part.id]))
    refused(lambda: create_jobs(client, file.id))

    assert server.process
    assert server.process.poll() is None
    assert stored(server) == before
    assert client.files.content(file.id).content == CONTENT
    ballast.unlink()
    done = client.uploads.complete(pending.id, part_ids=[part.id])
    assert done.file
    assert client.files.content(done.file.id).content == b"abcd"
    again = upload(client, CONTENT)
    assert [found.id for found in client.files.list()] == [again.id, done.file.id, file.id]


def create_jobs(client: OpenAI, file_id: str) -> None:
    """Create jobs until the database finds no room; what it has of it already may take some."""
    for number in range(100):
        metadata = {f"key {each}": f"{number}" * 400 for each in range(16)}
        client.fine_tuning.jobs.create(model="baseline-text", training_file=file_id, metadata=metadata)


def test_uploads_leave_the_database_room(server: ServerProcess, small_disk: Path):
    client = server.client()
    large = client.files.create(file=("large.bin", b"x" * (8 << 20)), purpose="user_data")
    fill(small_disk, leave=SPARE_BYTES + (4 << 20))

    refused(lambda: client.files.create(file=("more.bin", b"x" * (8 << 20)), purpose="user_data"))

    # So who has only the API can make room.
    assert client.files.delete(large.id).deleted
    assert client.files.create(file=("more.bin", b"x" * (8 << 20)), purpose="user_data").bytes == 8 << 20
