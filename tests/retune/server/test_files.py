"""Files: create, list, retrieve, delete, download."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from server_process import ServerProcess, StartServer, example_lines

from retune.server.errors import ApiError
from retune.server.files.store import add_file, delete_file, mark_expired
from retune.server.storage.database import Database
from retune.server.storage.engines import database_url
from retune.server.storage.statuses import BatchStatus
from retune.server.storage.tables import BatchRow

CONTENT = example_lines(3)


def test_an_upload_comes_back_byte_for_byte(client: OpenAI, server: ServerProcess, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(CONTENT)

    created = client.files.create(file=path, purpose="fine-tune")

    assert created.filename == "train.jsonl"
    assert (created.bytes, created.purpose, created.status) == (len(CONTENT), "fine-tune", "processed")
    assert client.files.retrieve(created.id) == created
    assert client.files.content(created.id).content == CONTENT
    answer = server.request("GET", f"/v1/files/{created.id}/content")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="train.jsonl"'


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=300) | st.binary(max_size=20).map(lambda part: (b"\r\n--" + part) * 5000),
    name=st.text(st.characters(exclude_categories=["Cs"]), max_size=60).map(lambda text: f"{text}a"),
)
def test_any_bytes_under_any_name_come_back(client: OpenAI, content: bytes, name: str) -> None:
    created = client.files.create(file=(name, content), purpose="user_data")

    assert client.files.content(created.id).content == content
    assert client.files.retrieve(created.id).bytes == len(content)
    client.files.delete(created.id)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../x.jsonl", "x.jsonl"),
        ("C:\\data\\y.jsonl", "y.jsonl"),
        ("a\0b\x01\x85.jsonl", "ab.jsonl"),
        ("file", "file"),
        ("upload", "upload"),
        ("/data/train", "train"),
        ("TRAIN.JSONL", "TRAIN.JSONL"),
        ("日本.jsonl", "日本.jsonl"),
    ],
)
def test_names_lose_folders_and_control_characters(client: OpenAI, sent: str, kept: str) -> None:
    about: Any = {"filename": sent, "mime_type": "text/jsonl", "purpose": "fine-tune"}

    upload = client.uploads.create(bytes=len(CONTENT), **about)
    part = client.uploads.parts.create(upload.id, data=CONTENT)
    done = client.uploads.complete(upload.id, part_ids=[part.id])

    assert upload.filename == kept
    assert done.file
    assert done.file.filename == kept
    # A form ends a name at a NUL.
    if "\0" not in sent:
        assert client.files.create(file=(sent, CONTENT), purpose="fine-tune").filename == kept


@pytest.mark.parametrize(
    ("name", "words"),
    [("../..", "must have a filename"), ("x/", "must have a filename"), ("a" * 256, "at most 255 bytes")],
)
def test_invalid_file_names_are_refused(client: OpenAI, name: str, words: str) -> None:
    with pytest.raises(openai.BadRequestError, match=words):
        client.files.create(file=(name, CONTENT), purpose="user_data")


def test_a_name_never_becomes_a_path(client: OpenAI, server: ServerProcess) -> None:
    name = "../../../escape.jsonl"

    created = client.files.create(file=(name, CONTENT), purpose="fine-tune")

    assert created.filename == "escape.jsonl"
    assert (server.data_directory / "files" / created.id).read_bytes() == CONTENT
    assert not list(server.data_directory.parent.rglob("escape*"))


def memory_bytes(server: ServerProcess, kind: str) -> int:
    assert server.process
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split(f"{kind}:")[1].split()[0]) * 1024


def test_a_large_upload_is_streamed(start_server: StartServer) -> None:
    # Its own server: the peak of a shared one is that of the whole session.
    server = start_server()
    client = server.client()
    content = b"0123456789abcdef" * (5 << 20)
    before = memory_bytes(server, "VmRSS")

    created = client.files.create(file=("large.bin", content), purpose="user_data")

    assert memory_bytes(server, "VmHWM") - before < 50_000_000
    assert client.files.content(created.id).content == content
    part = server.request("GET", f"/v1/files/{created.id}/content", headers={"Range": "bytes=16-25"})
    assert (part.status, part.content) == (206, b"0123456789")


@pytest.mark.parametrize(
    ("name", "purpose", "message"),
    [
        ("train.csv", "fine-tune", "Invalid file format for Fine-Tuning API. Must be .jsonl"),
        ("train.jsonl.gz", "fine-tune", "Invalid file format for Fine-Tuning API. Must be .jsonl"),
        ("train.txt", "batch", "Invalid file format for Batch API. Must be .jsonl"),
        ("train.jsonl", "homework", "'homework' is not one of"),
    ],
)
def test_a_wrong_upload_is_refused(client: OpenAI, name: str, purpose: str, message: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.files.create(file=(name, CONTENT), purpose=purpose)  # type: ignore[arg-type]

    assert message in caught.value.message
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_a_refused_upload_leaves_nothing_behind(client: OpenAI, server: ServerProcess) -> None:
    before = set((server.data_directory / "files").iterdir())

    with pytest.raises(openai.BadRequestError):
        client.files.create(file=("train.csv", b"x" * 3_000_000), purpose="fine-tune")

    assert set((server.data_directory / "files").iterdir()) == before


def test_a_file_over_the_limit_is_refused_with_its_limit(start_server: StartServer) -> None:
    server = start_server("--max-file-bytes", "1000")

    with pytest.raises(openai.APIStatusError) as caught:
        server.client().files.create(file=("train.jsonl", b"x" * 5_000_000), purpose="fine-tune")

    assert caught.value.status_code == 413
    assert "1000 bytes" in caught.value.message
    assert server.client().files.list().data == []


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (b"{}", "application/json", "multipart/form-data"),
        (b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--b--\r\n', None, "'file'"),
        (b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n{}\r\n--b--\r\n', None, "filename"),
        (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{}\r\n--b--\r\n',
            None,
            "'purpose'",
        ),
        (b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{}', None, "boundary"),
        (b"no multipart at all", None, "multipart"),
    ],
)
def test_a_broken_form_is_refused(server: ServerProcess, body: bytes, content_type: str | None, message: str) -> None:
    headers = {"Content-Type": content_type or "multipart/form-data; boundary=b"}

    answer = server.request("POST", "/v1/files", body, headers)

    assert answer.status == 400
    assert message in answer.error["message"]


def test_expiry_is_validated(client: OpenAI) -> None:
    created = client.files.create(
        file=("a.bin", b"x"), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert created.expires_at == created.created_at + 3600
    batch = client.files.create(file=("a.jsonl", b"{}"), purpose="batch")
    assert batch.expires_at == batch.created_at + 30 * 24 * 3600

    with pytest.raises(openai.BadRequestError) as caught:
        client.files.create(
            file=("a.bin", b"x"), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 60}
        )
    assert caught.value.param == "expires_after.seconds"


def test_an_expired_file_is_not_found(client: OpenAI, server: ServerProcess) -> None:
    lasting = client.files.create(file=("a.bin", b"x"), purpose="user_data")
    past = client.files.create(
        file=("b.bin", b"x"), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    with closing(sqlite3.connect(server.data_directory / "server.sqlite")) as database, database:
        database.execute("UPDATE files SET expires_at = created_at - 1 WHERE id = ?", (past.id,))

    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(past.id)
    assert past.id not in {file.id for file in client.files.list()}
    assert client.files.content(lasting.id).content == b"x"


def test_lists_go_page_by_page_in_both_orders(start_server: StartServer) -> None:
    client = start_server().client()
    ids = [client.files.create(file=(f"{n}.jsonl", CONTENT), purpose="fine-tune").id for n in range(7)]
    other = client.files.create(file=("other", b"x"), purpose="user_data").id

    assert [file.id for file in client.files.list(purpose="fine-tune", limit=3)] == ids[::-1]
    assert [file.id for file in client.files.list(purpose="fine-tune", limit=2, order="asc")] == ids
    assert [file.id for file in client.files.list()] == [other, *ids[::-1]]
    page = client.files.list(purpose="fine-tune", limit=3)
    assert page.model_extra == {"object": "list", "first_id": ids[6], "last_id": ids[4]}
    assert page.has_more
    # Who deletes while listing has a cursor on a file that is gone.
    assert [client.files.delete(file.id).id for file in client.files.list(limit=2)] == [other, *ids[::-1]]
    assert client.files.list().data == []


def test_an_unknown_cursor_is_an_error(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.files.list(after="file-unknown")

    assert caught.value.param == "after"


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "limit=many", "order=sideways"])
def test_a_wrong_query_is_refused(server: ServerProcess, query: str) -> None:
    answer = server.request("GET", f"/v1/files?{query}")

    assert (answer.status, answer.error["param"]) == (400, query.split("=", maxsplit=1)[0])


def test_a_deleted_file_is_not_found(client: OpenAI, server: ServerProcess) -> None:
    created = client.files.create(file=("a.jsonl", CONTENT), purpose="fine-tune")

    assert client.files.delete(created.id).model_dump() == {"id": created.id, "object": "file", "deleted": True}

    assert not (server.data_directory / "files" / created.id).exists()
    for call in (client.files.retrieve, client.files.delete, client.files.content):
        with pytest.raises(openai.NotFoundError) as caught:
            call(created.id)
        assert caught.value.body == {
            "message": f"No such File object: {created.id}",
            "type": "invalid_request_error",
            "param": "id",
            "code": None,
        }


def test_a_file_of_a_finished_job_can_be_deleted(client: OpenAI, succeeded: FineTuningJob) -> None:
    assert succeeded.validation_file
    assert client.files.delete(succeeded.validation_file).deleted


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(database_url(None, tmp_path / "server.sqlite"))
    yield database
    database.close()


@pytest.mark.parametrize("status", BatchStatus)
def test_a_file_stays_while_a_batch_needs_it(database: Database, status: BatchStatus) -> None:
    is_needed = status not in {"completed", "failed", "expired", "cancelled"}
    with database.write() as session:
        for file_id, expires_at in (("old", 1), ("new", None)):
            add_file(session, file_id=file_id, filename="a.jsonl", purpose="batch", size=1, expires_at=expires_at)
            session.add(batch_of(file_id, status))

    with database.write() as session:
        assert mark_expired(session) == ([] if is_needed else ["old"])
        if is_needed:
            with pytest.raises(ApiError, match="in use by the batch batch_new"):
                delete_file(session, "new")
        else:
            delete_file(session, "new")


def batch_of(file_id: str, status: BatchStatus) -> BatchRow:
    return BatchRow(
        id=f"batch_{file_id}",
        created_at=0,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        input_file_id=file_id,
        status=status,
        expires_at=0,
    )


@pytest.mark.parametrize(
    ("name", "saved_as"), [("../../a.txt", "a.txt"), ("C:\\dir\\b.txt", "b.txt"), ("c.txt", "c.txt")]
)
def test_a_download_is_named_without_directories(
    client: OpenAI, server: ServerProcess, name: str, saved_as: str
) -> None:
    created = client.files.create(file=(name, b"x"), purpose="user_data")

    answer = server.request("GET", f"/v1/files/{created.id}/content")

    assert answer.headers["content-disposition"] == f'attachment; filename="{saved_as}"'


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [("bytes=9-", 416, "3 bytes"), ("foo", 400, "Range"), ("bytes=", 400, "Range"), ("bytes=2-1", 400, "Range")],
)
def test_an_invalid_range_is_refused(
    client: OpenAI, server: ServerProcess, asked: str, status: int, words: str
) -> None:
    created = client.files.create(file=("a", b"abc"), purpose="user_data")

    answer = server.request("GET", f"/v1/files/{created.id}/content", headers={"Range": asked})

    assert answer.status == status
    assert words in answer.error["message"]
    assert answer.headers.get("content-range") == ("bytes */3" if status == 416 else None)


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-1"}])
def test_a_file_deleted_during_its_request_is_not_found(
    client: OpenAI, server: ServerProcess, headers: dict[str, str]
) -> None:
    created = client.files.create(file=("a", b"abc"), purpose="user_data")
    (server.data_directory / "files" / created.id).unlink()

    answer = server.request("GET", f"/v1/files/{created.id}/content", headers=headers)

    assert (answer.status, answer.error["message"]) == (404, f"No such File object: {created.id}")
