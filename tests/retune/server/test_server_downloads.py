import pytest
from openai import OpenAI
from server_process import ServerProcess


@pytest.mark.parametrize(
    ("name", "saved_as"), [("../../a.txt", "a.txt"), ("C:\\dir\\b.txt", "b.txt"), ("c.txt", "c.txt")]
)
def test_a_download_is_named_without_directories(client: OpenAI, server: ServerProcess, name: str, saved_as: str):
    created = client.files.create(file=(name, b"x"), purpose="user_data")

    answer = server.request("GET", f"/v1/files/{created.id}/content")

    assert answer.headers["content-disposition"] == f'attachment; filename="{saved_as}"'


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [("bytes=9-", 416, "3 bytes"), ("foo", 400, "Range"), ("bytes=", 400, "Range"), ("bytes=2-1", 400, "Range")],
)
def test_a_range_that_is_none_is_refused(client: OpenAI, server: ServerProcess, asked: str, status: int, words: str):
    created = client.files.create(file=("a", b"abc"), purpose="user_data")

    answer = server.request("GET", f"/v1/files/{created.id}/content", headers={"Range": asked})

    assert answer.status == status
    assert words in answer.error["message"]
    assert answer.headers.get("content-range") == ("bytes */3" if status == 416 else None)


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-1"}])
def test_a_file_deleted_while_it_is_asked_for_is_not_found(
    client: OpenAI, server: ServerProcess, headers: dict[str, str]
):
    created = client.files.create(file=("a", b"abc"), purpose="user_data")
    (server.data_directory / "files" / created.id).unlink()

    answer = server.request("GET", f"/v1/files/{created.id}/content", headers=headers)

    assert (answer.status, answer.error["message"]) == (404, f"No such File object: {created.id}")
