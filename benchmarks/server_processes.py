"""The processes that the server's measurements talk to: the server, a bare application, the load generator."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Server:
    """A server process that answers."""

    port: int
    pid: int

    def memory(self, field: str) -> int:
        """`VmRSS`, or `VmHWM` for its highest since `forget_peak`, in bytes."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def cpu_seconds(self) -> float:
        """Processor time that this process has used, its children not counted."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running_server(data_directory: Path, *arguments: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "retune.server", "--port", "0", "--data-dir", str(data_directory), *arguments]
    # Its log would mix with the table.
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield Server(announced_port(data_directory, process), process.pid)
        finally:
            process.terminate()


def announced_port(data_directory: Path, process: "subprocess.Popen[bytes]") -> int:
    path = data_directory / "server.json"
    while not path.exists() or json.loads(path.read_bytes())["pid"] != process.pid:
        assert process.poll() is None, "the server did not start"
        time.sleep(0.01)
    return int(json.loads(path.read_bytes())["base_url"].split(":")[2].split("/")[0])


@contextmanager
def bare_app(constant: dict[str, Any]) -> Iterator[Server]:
    command = [sys.executable, str(HERE / "bare_app.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(constant).encode())
        process.stdin.close()
        try:
            yield Server(int(process.stdout.readline()), process.pid)
        finally:
            process.terminate()


def load(port: int, **plan: Any) -> dict[str, Any]:
    """Run the load generator, in a process of its own."""
    command = [sys.executable, str(HERE / "load_generator.py")]
    done = subprocess.run(command, input=json.dumps({"port": port, **plan}).encode(), check=True, capture_output=True)
    return dict(json.loads(done.stdout))


def small_job(server: Server) -> dict[str, Any]:
    """Train on a few examples, and wait for the end."""
    from openai import OpenAI

    lines = [
        {
            "messages": [
                {"role": "user", "content": f"question {n}"},
                {"role": "assistant", "content": f"answer {n % 7}"},
            ]
        }
        for n in range(64)
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    with OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="any") as client:
        file = client.files.create(file=("train.jsonl", content), purpose="fine-tune")
        job = client.fine_tuning.jobs.create(model="baseline-text", training_file=file.id)
        while job.status != "succeeded":
            assert job.status in {"validating_files", "queued", "running"}, job
            time.sleep(0.1)
            job = client.fine_tuning.jobs.retrieve(job.id)
    return job.to_dict(mode="json")
