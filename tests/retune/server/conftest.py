"""A real server process, a real SDK, and small files that train in seconds."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from contract import JUDGE
from openai import OpenAI
from openai.types import FileObject
from openai.types.fine_tuning import FineTuningJob
from server_process import ServerProcess, ended, example_lines, upload
from tool_examples import train_agent, train_labels
from waiting import wait_for
from webhook_receiver import receiving


@pytest.fixture(autouse=True)
def answers_keep_to_the_published_document() -> Iterator[None]:
    """Hold every answer that a test gets against the API document, where that lies beside the checkout."""
    JUDGE.take_complaints()
    yield
    assert JUDGE.take_complaints() == []


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Start a server of the test's own; it is stopped with the test."""
    servers: list[ServerProcess] = []

    def start(*arguments: str, data_directory: Path = tmp_path / "data", **environment: str) -> ServerProcess:
        servers.append(ServerProcess(data_directory, arguments, environment))
        return servers[-1].start()

    yield start
    for server in servers:
        if server.process and server.process.poll() is None:
            server.end(signal.SIGTERM)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MiB, the test's own."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(mount)]
    made = subprocess.run(command, capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"a small disk can't be mounted here: {made.stderr.decode().strip()}")
    yield mount
    subprocess.run(["umount", "--lazy", mount], check=True)


@pytest.fixture
def refuse() -> Callable[..., tuple[int, str]]:
    """Start a server that is expected not to start; its exit status and what it said."""

    def run(data_directory: Path, *arguments: str) -> tuple[int, str]:
        return ServerProcess(data_directory, ("--port", "0", *arguments)).run_to_end()

    return run


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The server that most tests share."""
    process = ServerProcess(tmp_path_factory.mktemp("server") / "data", preloaded=False).start()
    yield process
    assert process.end(signal.SIGTERM) == 0


@pytest.fixture
def client(server: ServerProcess) -> OpenAI:
    return server.client()


@pytest.fixture(scope="session")
def training_file(server: ServerProcess) -> FileObject:
    return upload(server.client(), example_lines(14))


@pytest.fixture(scope="session")
def succeeded(server: ServerProcess, training_file: FileObject) -> FineTuningJob:
    """A job of four epochs with a validation file, long over."""
    client = server.client()
    job = client.fine_tuning.jobs.create(
        model="gpt-4o-mini-2024-07-18",
        training_file=training_file.id,
        validation_file=upload(client, example_lines(5), "validation.jsonl").id,
        suffix="tests",
        seed=7,
        metadata={"made": "for everyone"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 4}}},
    )
    job = ended(client, job.id)
    assert job.status == "succeeded"
    return job


@pytest.fixture(scope="session")
def labels(server: ServerProcess) -> str:
    """A model that knows answers that are JSON, and learned no calls; what it likes best is no JSON."""
    return train_labels(server.client())


@pytest.fixture(scope="session")
def agent(server: ServerProcess) -> str:
    """A model that learned when to call one function, or two at once, and when to answer in text."""
    return train_agent(server.client())


# Anew for each module: an SDK refuses one that is older than five minutes.
@pytest.fixture(scope="module")
def notification(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, str], str]:
    """What a server told a receiver of a job that succeeded: bytes, headers, and the secret of the signature."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    environment = {"RETUNE_SERVER_WEBHOOK_SECRET": secret}
    with receiving() as received:
        data_directory = tmp_path_factory.mktemp("notifying") / "data"
        server = ServerProcess(data_directory, ("--webhook-url", received.url), environment).start()
        client = server.client()
        file = upload(client, example_lines(10))
        job = client.fine_tuning.jobs.create(model="gpt-4o", training_file=file.id, hyperparameters={"n_epochs": 1})
        wait_for(lambda: received.notifications, f"a notification of {job.id}")
        assert server.end(signal.SIGTERM) == 0
    headers, body = received.notifications[0]
    return body, headers, secret
