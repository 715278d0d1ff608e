"""Limits on stored bytes, and a full disk: new data is refused, acknowledged data stays."""

import http.client
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import openai
import pytest
from disks import fill
from openai import OpenAI
from openai.types import Upload
from server_process import Answer, ServerProcess, StartServer, example_lines, upload


def begin(client: OpenAI, size: int) -> Upload:
    return client.uploads.create(bytes=size, filename="a.bin", mime_type="a/b", purpose="assistants")


def announce(server: ServerProcess, path: str, size: int) -> Answer:
    """Say how large a body will be, and read the answer without sending any of it."""
    address = urlsplit(server.base_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
    connection.putrequest("POST", path)
    connection.putheader("Content-Type", "multipart/form-data; boundary=b")
    connection.putheader("Content-Length", str(size))
    connection.endheaders()
    response = connection.getresponse()
    answer = Answer(response.status, {}, response.read())
    connection.close()
    return answer


def test_a_part_over_the_limit_is_refused_before_it_is_read(client: OpenAI, server: ServerProcess) -> None:
    upload = begin(client, 1)

    answer = announce(server, f"/v1/uploads/{upload.id}/parts", 66 << 20)

    assert (answer.status, answer.error["param"]) == (413, "data")


def test_the_total_of_spare_parts_is_limited(client: OpenAI, server: ServerProcess) -> None:
    upload = begin(client, 1)
    part = client.uploads.parts.create(upload.id, data=b"x")
    # As if many large parts had come.
    with closing(sqlite3.connect(server.data_directory / "server.sqlite", timeout=10)) as database, database:
        database.execute("UPDATE upload_parts SET bytes = ? WHERE id = ?", (2 * (64 << 20), part.id))

    with pytest.raises(openai.BadRequestError, match="can't take this part"):
        client.uploads.parts.create(upload.id, data=b"x")


def test_the_total_size_of_files_is_limited(start_server: StartServer) -> None:
    server: ServerProcess = start_server("--max-total-bytes", "1000000")
    client = server.client()
    file = client.files.create(file=("a.bin", b"x" * 600_000), purpose="user_data")
    upload = begin(client, 300_000)
    part = client.uploads.parts.create(upload.id, data=b"x" * 300_000)

    for call in (
        lambda: client.files.create(file=("b.bin", b"x" * 100_001), purpose="user_data"),
        lambda: client.uploads.parts.create(upload.id, data=b"x" * 100_001),
        lambda: begin(client, 100_001),
    ):
        with pytest.raises(openai.APIStatusError, match="have 900000 now") as caught:
            call()
        assert (caught.value.status_code, caught.value.code) == (413, "storage_limit_exceeded")
    for path in ("/v1/files", f"/v1/uploads/{upload.id}/parts"):
        assert announce(server, path, 2_000_000).error["code"] == "storage_limit_exceeded"
    assert client.uploads.complete(upload.id, part_ids=[part.id]).file
    client.files.delete(file.id)
    assert client.files.create(file=("b.bin", b"x" * 600_000), purpose="user_data").bytes == 600_000
    assert len(list((server.data_directory / "files").iterdir())) == 2


def test_deleted_files_count_while_a_job_reads_them(start_server: StartServer) -> None:
    server: ServerProcess = start_server("--max-total-bytes", "100000")
    client = server.client()
    file = upload(client, example_lines(14))
    jobs = client.fine_tuning.jobs
    job = jobs.pause(jobs.create(model="gpt-4o", training_file=file.id).id)
    client.files.delete(file.id)

    with pytest.raises(openai.APIStatusError, match=f"have {file.bytes} now"):
        client.files.create(file=("b.bin", b"x" * 100_000), purpose="user_data")
    jobs.cancel(job.id)
    assert client.files.create(file=("b.bin", b"x" * 100_000), purpose="user_data").bytes == 100_000


# The server leaves this much of the disk to its database.
SPARE_BYTES = 16 << 20
CONTENT = example_lines(20)


@pytest.fixture
def server(small_disk: Path, start_server: StartServer) -> Iterator[ServerProcess]:
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


def test_a_full_disk_refuses_and_recovers(server: ServerProcess, small_disk: Path) -> None:
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


def test_uploads_leave_disk_space_for_the_database(server: ServerProcess, small_disk: Path) -> None:
    client = server.client()
    large = client.files.create(file=("large.bin", b"x" * (8 << 20)), purpose="user_data")
    fill(small_disk, leave=SPARE_BYTES + (4 << 20))

    refused(lambda: client.files.create(file=("more.bin", b"x" * (8 << 20)), purpose="user_data"))

    # So who has only the API can make room.
    assert client.files.delete(large.id).deleted
    assert client.files.create(file=("more.bin", b"x" * (8 << 20)), purpose="user_data").bytes == 8 << 20
