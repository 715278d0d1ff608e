"""The server as a process: its options, its start, its data directory, its end."""

import http.client
import json
import logging
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from pydantic import SecretStr
from server_process import ServerProcess, StartServer, upload
from starlette.testclient import TestClient
from waiting import wait_for

from retune.errors import ConfigError, ServerError
from retune.local.embedded_server import find_running_server
from retune.server.app import build_app, open_services
from retune.server.process.command import settings_from
from retune.server.process.logs import BoundedFileHandler
from retune.server.process.serve import serve
from retune.server.settings import ServerSettings
from retune.server.storage.data_directory import Announcement, DataDirectory, DataDirectoryInUseError
from retune.server.storage.database import Database
from retune.server.storage.engines import sqlite_url

Refuse = Callable[..., tuple[int, str]]


def test_the_announcement_has_the_servers_address(server: ServerProcess) -> None:
    announcement = server.announcement

    health = server.request("GET", "/health").json
    assert server.process
    assert announcement["pid"] == server.process.pid
    assert (announcement["instance"], announcement["version"]) == (health["instance"], health["version"])


def test_two_servers_never_share_a_data_directory(refuse: Refuse, server: ServerProcess) -> None:
    status, said = refuse(server.data_directory)

    assert status == 75
    assert "already served by another server" in said
    assert server.base_url in said
    assert "Traceback" not in said
    assert server.request("GET", "/health").status == 200


def test_a_taken_port_is_reported(refuse: Refuse, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        status, said = refuse(tmp_path / "data", "--port", str(port))

    assert status == 1
    assert f"Can't listen on 127.0.0.1, port {port}: another program does already." in said
    assert "--port" in said
    assert "Traceback" not in said


def test_a_wrong_setting_is_named(refuse: Refuse, tmp_path: Path) -> None:
    status, said = refuse(tmp_path / "data", "--max-concurrent-jobs", "0")

    assert status == 1
    assert "--max-concurrent-jobs: Input should be greater than or equal to 1; found 0." in said
    assert "Traceback" not in said


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.com"])  # noqa: S104  # it is refused
def test_other_machines_need_a_key(tmp_path: Path, host: str) -> None:
    with pytest.raises(ServerError, match="needs an API key") as caught:
        serve(ServerSettings(host=host, port=0, data_directory=tmp_path / "data"))

    assert "RETUNE_SERVER_API_KEY" in str(caught.value.hint)
    assert not (tmp_path / "data").exists()


def test_an_address_of_another_machine_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"Can't listen on 192\.0\.2\.1"):
        serve(ServerSettings(host="192.0.2.1", port=0, data_directory=tmp_path / "data", api_key=SecretStr("k")))


def write_newer_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version=99")


def spoil_a_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    path.write_bytes(content)


def write_something_else(path: Path) -> None:
    path.write_bytes(b"this is no database, but a file of some length" * 100)


@pytest.mark.parametrize(
    ("damage", "words"),
    [(write_newer_version, "schema version 99"), (spoil_a_page, "damaged"), (write_something_else, "damaged")],
)
def test_an_unusable_database_is_reported(tmp_path: Path, damage: Callable[[Path], None], words: str) -> None:
    path = tmp_path / "server.sqlite"
    Database(sqlite_url(path)).close()
    damage(path)
    before = path.read_bytes()

    with pytest.raises(ServerError, match=words) as caught:
        serve(ServerSettings(port=0, data_directory=tmp_path))

    assert str(path) in caught.value.message
    assert caught.value.hint
    assert path.read_bytes() == before


def test_a_data_directory_that_is_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")

    with pytest.raises(ServerError, match="is a file"):
        serve(ServerSettings(port=0, data_directory=tmp_path / "data"))

    assert (tmp_path / "data").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_data_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o500)

    with pytest.raises(ServerError, match="Can't write"):
        serve(ServerSettings(port=0, data_directory=tmp_path / "data"))


def test_only_the_owner_can_read_the_data_directory(server: ServerProcess, succeeded: FineTuningJob) -> None:
    directory = server.data_directory
    # Other tests put things of their own into other jobs' directories.
    of_the_job = (directory / "jobs" / succeeded.id).rglob("*")
    for path in (directory, *directory.iterdir(), *(directory / "files").iterdir(), *of_the_job):
        assert path.stat().st_mode & 0o077 == 0, path


def test_data_in_a_directory_open_to_others_stays_private(start_server: StartServer, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "files").mkdir(parents=True)
    Database(sqlite_url(data / "server.sqlite")).close()
    data.chmod(0o755)

    server: ServerProcess = start_server("--log-file", str(data / "server.log"))
    upload(server.client(), b"{}")

    for path in data.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_the_key_is_taken_from_the_environment_and_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RETUNE_SERVER_API_KEY", "sk-secret")

    settings = ServerSettings(data_directory=tmp_path)

    assert settings.api_key
    assert settings.api_key.get_secret_value() == "sk-secret"
    assert "sk-secret" not in repr(settings)
    assert "sk-secret" not in json.dumps(settings.model_dump(mode="json"))


def test_the_application_runs_in_process(tmp_path: Path) -> None:
    app = build_app(open_services(ServerSettings(data_directory=tmp_path, allowed_hosts=("testserver",))))
    with TestClient(app) as http_client:
        client = OpenAI(base_url="http://testserver/v1", api_key="any", http_client=http_client)
        assert client.models.retrieve("baseline-text").owned_by == "retune"
        with pytest.raises(DataDirectoryInUseError):
            open_services(ServerSettings(data_directory=tmp_path))

    free = DataDirectory(tmp_path)
    free.lock()
    free.unlock()


def test_health_reports_stopped_background_work(tmp_path: Path) -> None:
    services = open_services(ServerSettings(data_directory=tmp_path, allowed_hosts=("testserver",)))
    client = TestClient(build_app(services))
    before = client.get("/health")
    services.start()
    running = client.get("/health")
    services.close()

    assert (before.status_code, before.json()["status"]) == (503, "degraded")
    assert (running.status_code, running.json()["status"]) == (200, "ok")


@pytest.mark.parametrize(
    ("text", "size"),
    [("1000", 1000), ("512MB", 512_000_000), ("512 MiB", 512 << 20), ("1k", 1000), ("2GiB", 2 << 30), ("7B", 7)],
)
@pytest.mark.parametrize("setting", ["max_file_bytes", "max_upload_bytes", "max_part_bytes", "max_total_bytes"])
def test_sizes_are_bytes_or_have_a_unit(tmp_path: Path, setting: str, text: str, size: int) -> None:
    assert getattr(settings_from({"data_directory": tmp_path, setting: text}), setting) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "0", "10 apples", "1MBB"])
def test_an_invalid_size_is_reported(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=f"--max-part-bytes: .*; found '{text}'"):
        settings_from({"data_directory": tmp_path, "max_part_bytes": text})


def test_a_webhook_without_a_secret_is_refused_before_anything_is_created(refuse: Refuse, tmp_path: Path) -> None:
    status, said = refuse(tmp_path / "data", "--webhook-url", "http://127.0.0.1:9/hook")

    assert status == 1
    assert "no secret to sign with" in said
    assert not (tmp_path / "data").exists()


def test_services_that_fail_to_open_release_everything(tmp_path: Path) -> None:
    settings = ServerSettings(data_directory=tmp_path, webhook_urls=("http://127.0.0.1:9/hook",))
    with pytest.raises(ServerError, match="no secret"):
        open_services(settings)

    open_files = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert not [path for path in open_files if path.is_relative_to(tmp_path)]


def test_webhook_urls_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RETUNE_SERVER_WEBHOOK_URLS", "https://user:secret@example.com/a http://example.com/b")

    settings = ServerSettings(data_directory=tmp_path)

    assert settings.webhook_urls == ("https://user:secret@example.com/a", "http://example.com/b")


def test_the_log_is_bounded_and_loses_nothing_recent(tmp_path: Path) -> None:
    path = tmp_path / "log" / "server.log"
    handlers = [BoundedFileHandler(path, max_bytes=1000) for _ in range(2)]
    for number in range(200):
        handlers[number % 2].emit(logging.makeLogRecord({"msg": f"line {number}"}))
    for handler in handlers:
        handler.close()

    lines = [*path.with_name("server.log.1").read_text().splitlines(), *path.read_text().splitlines()]
    assert lines == [f"line {number}" for number in range(200 - len(lines), 200)]
    assert len(lines) > 80
    assert path.stat().st_size <= 1000


def test_requests_are_logged_on_demand_and_without_secrets(start_server: StartServer, tmp_path: Path) -> None:
    log = tmp_path / "requests.log"
    server: ServerProcess = start_server(
        "--log-file", str(log), "--log-requests", RETUNE_SERVER_API_KEY="sk-secret-key"
    )

    request_id = server.request(
        "GET", "/v1/models/a%0Ab?key=in-the-query", headers={"Authorization": "Bearer sk-secret-key"}
    ).headers["x-request-id"]

    said = wait_for(lambda: [line for line in log.read_text().splitlines() if request_id in line], "the line")
    assert f"{request_id} GET /v1/models/a%0Ab 404 " in said[0]
    assert "sk-secret-key" not in log.read_text()
    assert "in-the-query" not in log.read_text()


def test_a_graceful_stop_lets_a_request_end(start_server: StartServer) -> None:
    server: ServerProcess = start_server()
    address = urlsplit(server.base_url)
    body = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n--b\r\n'
    body += b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\nall of it\r\n--b--\r\n'
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
    connection.putrequest("POST", "/v1/files")
    connection.putheader("Content-Type", "multipart/form-data; boundary=b")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:-20])
    assert server.process
    in_flight = "retune_http_requests_in_flight 2.0"
    wait_for(lambda: in_flight in server.request("GET", "/metrics").content.decode(), "the request's beginning")
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: is_closed(server), "the end of listening")

    connection.send(body[-20:])
    response = connection.getresponse()
    stored = json.loads(response.read())
    connection.close()

    assert (response.status, stored["bytes"]) == (200, 9)
    server.process.communicate(timeout=30)
    assert server.process.returncode == 0
    assert (server.data_directory / "files" / stored["id"]).read_bytes() == b"all of it"


def is_closed(server: ServerProcess) -> bool:
    address = urlsplit(server.base_url)
    try:
        socket.create_connection((str(address.hostname), address.port or 0), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_starting_imports_nothing_slow() -> None:
    code = "import sys, retune.server.__main__; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split()

    assert {"pandas", "sklearn", "scipy", "prefect", "plotly", "openai"}.isdisjoint(modules)


def test_a_stale_announcement_is_ignored(server: ServerProcess, tmp_path: Path) -> None:
    # The port of a server that was killed may belong to another one by now.
    DataDirectory(tmp_path).announce(Announcement(1, server.base_url, "0.0", "somebody else"))

    assert find_running_server(tmp_path) is None
    assert find_running_server(server.data_directory) == server.base_url
