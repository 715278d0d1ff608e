"""`kill -9` while files are written: what was acknowledged stays, and nothing else does."""

import fcntl
import hashlib
import signal
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import openai
import pytest
from openai import OpenAI
from server_process import ServerProcess, StartServer, example_lines
from waiting import wait_for

from retune.server.storage.content_store import ContentStore

PART_BYTES = 32 << 20
CONTENT = example_lines(10)


def contents(server: ServerProcess) -> Path:
    return server.data_directory / "files"


def stored(server: ServerProcess) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in contents(server).iterdir()}


def drafts(server: ServerProcess) -> list[Path]:
    return list(contents(server).glob("*.tmp"))


def wait_for_drafts_with_bytes(server: ServerProcess, count: int) -> None:
    def look() -> bool:
        with suppress(FileNotFoundError):  # it was settled between the two looks
            return sum(path.stat().st_size > 0 for path in drafts(server)) == count
        return False

    wait_for(look, "drafts")


def send_half(server: ServerProcess, path: str, field: str, *, drafts_then: int) -> socket.socket:
    """Send the first half of a form with a large file, and wait until some of it lies on disk."""
    address = urlsplit(server.base_url)
    connection = socket.create_connection((str(address.hostname), address.port or 0))
    form = f'--b\r\nContent-Disposition: form-data; name="{field}"; filename="a.bin"\r\n\r\n'.encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    connection.sendall(f"{head}Content-Length: {PART_BYTES}\r\n\r\n".encode() + form + b"x" * (PART_BYTES // 2))
    wait_for_drafts_with_bytes(server, drafts_then)
    return connection


@pytest.mark.slow
def test_a_kill_in_the_middle_of_a_file_and_a_part(start_server: StartServer) -> None:
    server: ServerProcess = start_server()
    client = server.client()
    file = client.files.create(file=("a.jsonl", CONTENT), purpose="fine-tune")
    upload = client.uploads.create(bytes=4, filename="a.bin", mime_type="a/b", purpose="assistants")
    part = client.uploads.parts.create(upload.id, data=b"abcd")
    with (
        send_half(server, "/v1/files", "file", drafts_then=1),
        send_half(server, f"/v1/uploads/{upload.id}/parts", "data", drafts_then=2),
    ):
        server.end(signal.SIGKILL)
    assert len(drafts(server)) == 2

    server = start_server()

    client = server.client()
    assert [found.id for found in client.files.list()] == [file.id]
    assert stored(server) == {file.id: CONTENT, part.id: b"abcd"}
    done = client.uploads.complete(upload.id, part_ids=[part.id])
    assert done.file
    assert client.files.content(done.file.id).content == b"abcd"


def test_a_client_that_disconnects_leaves_nothing(server: ServerProcess) -> None:
    before = {path.name for path in contents(server).iterdir()}

    send_half(server, "/v1/files", "file", drafts_then=1).close()

    wait_for(lambda: {path.name for path in contents(server).iterdir()} == before, "the draft's end")


@pytest.mark.slow
def test_a_kill_in_the_middle_of_completion(start_server: StartServer) -> None:
    server: ServerProcess = start_server()
    client = server.client()
    data = [bytes([number]) * PART_BYTES for number in range(4)]
    upload = client.uploads.create(bytes=4 * PART_BYTES, filename="a.bin", mime_type="a/b", purpose="assistants")
    part_ids = [client.uploads.parts.create(upload.id, data=piece).id for piece in data]
    whole = hashlib.md5(b"".join(data), usedforsecurity=False).hexdigest()

    def complete() -> None:
        with (
            OpenAI(base_url=server.base_url, api_key="any", max_retries=0) as other,
            pytest.raises(openai.APIConnectionError),
        ):
            other.uploads.complete(upload.id, part_ids=part_ids, md5=whole)

    with ThreadPoolExecutor(1) as pool:
        completing = pool.submit(complete)
        wait_for_drafts_with_bytes(server, 1)
        server.end(signal.SIGKILL)
        completing.result()
    assert drafts(server)

    client = start_server().client()

    assert client.files.list().data == []
    assert set(stored(server)) == set(part_ids)
    done = client.uploads.complete(upload.id, part_ids=part_ids, md5=whole)
    assert done.file
    assert hashlib.md5(client.files.content(done.file.id).content, usedforsecurity=False).hexdigest() == whole
    assert set(stored(server)) == {done.file.id}


def leave_draft(directory: Path, content_id: str, *, kept: bool) -> None:
    (directory / f"{content_id}.tmp").write_bytes(b"x")
    if kept:
        (directory / content_id).hardlink_to(directory / f"{content_id}.tmp")


@pytest.mark.slow
def test_leftovers_of_a_dead_server_are_deleted_and_nothing_else(start_server: StartServer) -> None:
    server: ServerProcess = start_server()
    client = server.client()
    known, deleted, past = (client.files.create(file=("a.jsonl", CONTENT), purpose="fine-tune").id for _ in range(3))
    upload = client.uploads.create(bytes=1, filename="a.bin", mime_type="a/b", purpose="assistants")
    pending = client.uploads.parts.create(upload.id, data=b"x").id
    expiring = client.uploads.create(bytes=1, filename="a.bin", mime_type="a/b", purpose="assistants")
    client.uploads.parts.create(expiring.id, data=b"x")
    server.end(signal.SIGKILL)
    directory = contents(server)
    # Killed while the row was not there yet, and just after it was.
    leave_draft(directory, "file-unrecorded", kept=True)
    leave_draft(directory, "part_half", kept=False)
    (directory / f"{known}.tmp").hardlink_to(directory / known)
    # A database that knows nothing of a content may be the wrong one.
    (directory / "file-unknown").write_bytes(b"precious")
    with closing(sqlite3.connect(server.data_directory / "server.sqlite")) as database, database:
        database.execute("UPDATE files SET deleted_at = 1 WHERE id = ?", (deleted,))
        database.execute("UPDATE files SET expires_at = 1 WHERE id = ?", (past,))
        database.execute("UPDATE uploads SET expires_at = 1 WHERE id = ?", (expiring.id,))

    with (directory / "file-busy.tmp").open("wb") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        start_server()

        left = {known: CONTENT, pending: b"x", "file-unknown": b"precious", "file-busy.tmp": b""}
        wait_for(lambda: stored(server) == left, "the end of what is over")


def test_a_draft_deleted_before_it_is_locked_is_created_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = ContentStore(tmp_path)
    lock, dropped = fcntl.flock, list[int]()

    def come_too_late(stream: IO[bytes], how: int) -> None:
        if not dropped:
            dropped.append(0)
            dropped[0] = contents.drop_abandoned_drafts(lambda _: False)
        lock(stream, how)

    monkeypatch.setattr(fcntl, "flock", come_too_late)
    with contents.new_draft("file-1") as draft:
        draft.write(b"x")
        assert contents.drop_abandoned_drafts(lambda _: False) == 0
        draft.keep()

    assert dropped == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["file-1"]
    assert contents.path("file-1").read_bytes() == b"x"
