"""Uploads in parts: create, add parts, complete, cancel."""

import asyncio
import hashlib
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai import AsyncOpenAI, OpenAI
from openai.types import Upload
from server_process import ServerProcess, example_lines

CONTENT = example_lines(30)
THIRDS = [CONTENT[:1000], CONTENT[1000:2000], CONTENT[2000:]]


def begin(client: OpenAI, size: int, **more: Any) -> Upload:
    return client.uploads.create(
        **{"bytes": size, "filename": "train.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune", **more}
    )


def send(client: OpenAI, upload: Upload, parts: Sequence[bytes]) -> list[str]:
    """Send parts all at once; their ids in the order of the parts."""
    with ThreadPoolExecutor(len(parts)) as pool:
        made = pool.map(lambda data: client.uploads.parts.create(upload.id, data=data), parts)
    return [part.id for part in made]


def stored(server: ServerProcess) -> set[str]:
    return {path.name for path in (server.data_directory / "files").iterdir()}


def change(server: ServerProcess, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(server.data_directory / "server.sqlite", timeout=10)) as database, database:
        assert database.execute(statement, values).rowcount == 1


def test_parts_sent_at_once_become_one_file(client: OpenAI, server: ServerProcess) -> None:
    upload = begin(client, len(CONTENT), expires_after={"anchor": "created_at", "seconds": 7200})
    assert (upload.object, upload.status, upload.file) == ("upload", "pending", None)
    assert (upload.bytes, upload.filename, upload.purpose) == (len(CONTENT), "train.jsonl", "fine-tune")
    assert upload.expires_at == upload.created_at + 3600
    last, *others = send(client, upload, THIRDS[::-1])

    done = client.uploads.complete(
        upload.id, part_ids=[*others[::-1], last], md5=hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    )

    assert done.status == "completed"
    assert done.file
    assert client.files.retrieve(done.file.id) == done.file
    assert (done.file.filename, done.file.purpose, done.file.bytes) == ("train.jsonl", "fine-tune", len(CONTENT))
    assert done.file.expires_at == done.file.created_at + 7200
    assert client.files.content(done.file.id).content == CONTENT
    assert not stored(server) & {last, *others}


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), parts=st.lists(st.binary(max_size=200), max_size=5))
def test_any_parts_in_any_order_are_put_together(client: OpenAI, data: st.DataObject, parts: list[bytes]) -> None:
    order = data.draw(st.permutations(range(len(parts))))
    upload = begin(client, sum(map(len, parts)), purpose="assistants")
    part_ids = send(client, upload, parts) if parts else []

    done = client.uploads.complete(upload.id, part_ids=[part_ids[number] for number in order])

    assert done.file
    assert client.files.content(done.file.id).content == b"".join(parts[number] for number in order)


@pytest.mark.parametrize("content", [CONTENT, b""])
def test_the_sdk_sends_a_file_in_parts(client: OpenAI, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "batch.jsonl"
    path.write_bytes(content)

    done = client.uploads.upload_file_chunked(
        file=path,
        mime_type="text/jsonl",
        purpose="batch",
        part_size=1000,
        md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
    )

    assert done.file
    assert client.files.content(done.file.id).content == content
    assert done.file.expires_at == done.file.created_at + 30 * 24 * 3600


def test_the_async_sdk_sends_parts_too(server: ServerProcess) -> None:
    async def send_twice() -> list[bytes]:
        async with AsyncOpenAI(base_url=server.base_url, api_key="any", max_retries=0) as client:
            whole = await client.uploads.upload_file_chunked(
                file=CONTENT,
                filename="train.jsonl",
                bytes=len(CONTENT),
                mime_type="text/jsonl",
                purpose="fine-tune",
                part_size=1500,
            )
            upload = await client.uploads.create(
                bytes=len(CONTENT), filename="train.jsonl", mime_type="text/jsonl", purpose="fine-tune"
            )
            parts = await asyncio.gather(*(client.uploads.parts.create(upload.id, data=data) for data in THIRDS))
            done = await client.uploads.complete(upload.id, part_ids=[part.id for part in parts])
            dropped = await client.uploads.create(bytes=1, filename="a", mime_type="a/b", purpose="vision")
            assert (await client.uploads.cancel(dropped.id)).status == "cancelled"
            assert whole.file
            assert done.file
            return [(await client.files.content(file.id)).content for file in (whole.file, done.file)]

    assert asyncio.run(send_twice()) == [CONTENT, CONTENT]


def test_completing_again_with_the_same_parts_is_harmless(client: OpenAI) -> None:
    upload = begin(client, len(CONTENT))
    part_ids = send(client, upload, THIRDS)

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: client.uploads.complete(upload.id, part_ids=part_ids), range(4)))

    assert done[0].file
    assert all(again == done[0] for again in [*done, client.uploads.complete(upload.id, part_ids=part_ids)])
    assert client.files.content(done[0].file.id).content == CONTENT
    with pytest.raises(openai.BadRequestError, match="is completed") as caught:
        client.uploads.complete(upload.id, part_ids=part_ids[::-1])
    assert caught.value.code == "upload_completed"
    with pytest.raises(openai.BadRequestError, match="is completed"):
        client.uploads.cancel(upload.id)
    with pytest.raises(openai.BadRequestError, match="is completed"):
        client.uploads.parts.create(upload.id, data=b"x")


def test_wrong_parts_are_refused_and_the_upload_stays_pending(client: OpenAI) -> None:
    upload, other = begin(client, len(CONTENT)), begin(client, 1)
    part_ids = send(client, upload, THIRDS)
    (foreign,) = send(client, other, [b"x"])

    def refused(*chosen: str, md5: str | None = None, param: str = "part_ids") -> str:
        with pytest.raises(openai.BadRequestError) as caught:
            client.uploads.complete(upload.id, part_ids=chosen, md5=md5)  # type: ignore[arg-type]
        assert caught.value.param == param
        return caught.value.message

    assert f"{upload.id}: part_unknown" in refused(*part_ids, "part_unknown")
    assert foreign in refused(*part_ids, foreign)
    assert f"twice: {part_ids[0]}" in refused(part_ids[0], *part_ids)
    assert f"promised {len(CONTENT)} bytes, but the 2 parts have 2000" in refused(*part_ids[:2])
    assert "promised" in refused()
    assert "0" * 32 in refused(*part_ids, md5="0" * 32, param="md5")
    assert "pattern" in refused(*part_ids, md5="no hash", param="md5")
    done = client.uploads.complete(upload.id, part_ids=part_ids, md5=None)  # type: ignore[arg-type]
    assert done.file
    assert client.files.content(done.file.id).content == CONTENT


def test_a_cancelled_upload_accepts_nothing(client: OpenAI, server: ServerProcess) -> None:
    upload = begin(client, len(CONTENT))
    part_ids = send(client, upload, THIRDS)
    assert set(part_ids) < stored(server)

    cancelled = client.uploads.cancel(upload.id)

    assert (cancelled.status, cancelled.file) == ("cancelled", None)
    assert client.uploads.cancel(upload.id) == cancelled
    assert not stored(server) & set(part_ids)
    with pytest.raises(openai.BadRequestError, match="is cancelled"):
        client.uploads.complete(upload.id, part_ids=part_ids)
    with pytest.raises(openai.BadRequestError, match="is cancelled"):
        client.uploads.parts.create(upload.id, data=b"x")


def test_an_old_upload_is_expired(client: OpenAI, server: ServerProcess) -> None:
    key = {"Idempotency-Key": "expiring"}
    upload = begin(client, len(CONTENT), extra_headers=key)
    part_ids = send(client, upload, THIRDS)
    change(server, "UPDATE uploads SET expires_at = created_at - 1 WHERE id = ?", upload.id)

    assert begin(client, len(CONTENT), extra_headers=key).status == "expired"
    for call in (
        lambda: client.uploads.parts.create(upload.id, data=b"x"),
        lambda: client.uploads.complete(upload.id, part_ids=part_ids),
        lambda: client.uploads.cancel(upload.id),
    ):
        with pytest.raises(openai.BadRequestError, match="is expired") as caught:
            call()
        assert caught.value.code == "upload_expired"


def test_copies_of_one_request_create_one_upload_and_one_part(client: OpenAI) -> None:
    key = {"Idempotency-Key": "upload in parts"}
    upload = begin(client, 2, extra_headers=key)
    assert begin(client, 2, extra_headers=key) == upload
    with pytest.raises(openai.BadRequestError, match="Idempotency-Key"):
        begin(client, 3, extra_headers=key)
    retried = begin(client, 2, filename="retried.jsonl")
    assert begin(client, 2, filename="retried.jsonl", extra_headers={"x-stainless-retry-count": "1"}) == retried

    first, again = (client.uploads.parts.create(upload.id, data=b"x", extra_headers=key) for _ in range(2))
    # Parts may be alike: the SDK's own retry of one must not become another.
    alike = client.uploads.parts.create(upload.id, data=b"x", extra_headers={"x-stainless-retry-count": "1"})

    assert first == again
    done = client.uploads.complete(upload.id, part_ids=[first.id, alike.id])
    assert done.file
    assert client.files.content(done.file.id).content == b"xx"


@pytest.mark.parametrize(
    ("change", "param", "message"),
    [
        ({"purpose": "homework"}, "purpose", "'homework' is not one of"),
        ({"filename": "train.csv"}, None, "Must be .jsonl"),
        ({"filename": ""}, "filename", "empty string"),
        ({"bytes": -1}, "bytes", "Expected a value >= 0, but got -1 instead."),
        ({"bytes": "12"}, "bytes", "expected an integer, but got a string instead."),
        ({"bytes": 8 * 2**30 + 1}, "bytes", "8589934592 bytes"),
        ({"expires_after": {"anchor": "created_at", "seconds": 60}}, "expires_after.seconds", "3600"),
        ({"expires_after": {"anchor": "now", "seconds": 3600}}, "expires_after.anchor", "created_at"),
        ({"colour": "blue"}, "colour", "Unknown parameter: 'colour'."),
    ],
)
def test_a_wrong_upload_is_refused(
    server: ServerProcess, change: dict[str, Any], param: str | None, message: str
) -> None:
    good = {"bytes": 1, "filename": "a.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune"}

    answer = server.request("POST", "/v1/uploads", {**good, **change})

    assert (answer.status, answer.error["param"]) == (400, param)
    assert message in answer.error["message"]


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (b"", "ends before its last boundary"),
        (b'--b\r\nContent-Disposition: form-data; name="more"\r\n\r\nx\r\n--b--\r\n', "'data'"),
        (
            (
                b'--b\r\nContent-Disposition: form-data; name="more"\r\n\r\nx\r\n'
                b'--b\r\nContent-Disposition: form-data; name="data"\r\n\r\nx\r\n--b--\r\n'
            ),
            "Unknown parameter: 'more'.",
        ),
        (2 * b'--b\r\nContent-Disposition: form-data; name="data"\r\n\r\nx\r\n' + b"--b--\r\n", "found a second"),
    ],
)
def test_a_wrong_part_is_refused_and_leaves_nothing(
    client: OpenAI, server: ServerProcess, form: bytes, message: str
) -> None:
    upload = begin(client, 1)
    before = stored(server)

    answer = server.request(
        "POST", f"/v1/uploads/{upload.id}/parts", form, {"Content-Type": "multipart/form-data; boundary=b"}
    )

    assert (answer.status, stored(server)) == (400, before)
    assert message in answer.error["message"]


def test_an_unknown_upload_is_not_found(client: OpenAI) -> None:
    for call in (
        lambda: client.uploads.parts.create("upload_unknown", data=b"x"),
        lambda: client.uploads.complete("upload_unknown", part_ids=[]),
        lambda: client.uploads.cancel("upload_unknown"),
    ):
        with pytest.raises(openai.NotFoundError, match="No such Upload object: upload_unknown"):
            call()
