"""The fine-tuning server's speed, beside what the machine and its parts can do without it.

It measures uploads against `cp` and SHA-256, `jobs.retrieve` against a bare FastAPI route that returns a constant, chat
completions against the model called directly from as many threads, and lists with a long history in the store.

    .venv/bin/python benchmarks/server.py
"""

import argparse
import hashlib
import http.client
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks.server_processes import HERE, Server, bare_app, load, running_server, small_job

_MEBIBYTE = 1 << 20
RUNS = 3


@dataclass(frozen=True)
class Sizes:
    """How much is sent, asked and stored."""

    upload_bytes: int = 200 * _MEBIBYTE
    retrievals: int = 4000
    answers_each: int = 20
    jobs: int = 10_000
    events: int = 1_000_000
    list_calls: int = 300


QUICK = Sizes(upload_bytes=5 * _MEBIBYTE, retrievals=200, answers_each=2, jobs=100, events=2000, list_calls=20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that everything works")
    parser.add_argument("--only", choices=MEASUREMENTS, action="append", help="measure this alone; may be repeated")
    parser.add_argument("--directory", type=Path, help="where to keep data meanwhile (default: the system's own)")
    options = parser.parse_args()
    sizes = QUICK if options.quick else Sizes()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        for name in options.only or MEASUREMENTS:
            home = Path(directory) / name
            home.mkdir()
            for label, figure in MEASUREMENTS[name](home, sizes):
                print(f"{label:<66}{figure:>14}", flush=True)
            shutil.rmtree(home)


def measure_uploads(home: Path, sizes: Sizes) -> Iterator[tuple[str, str]]:
    source = home / "source.jsonl"
    line = json.dumps({"messages": [{"role": "user", "content": "x" * 900}]}).encode() + b"\n"
    source.write_bytes(line * (sizes.upload_bytes // len(line)))
    with running_server(home / "data") as server:
        upload(server, source, limit=_MEBIBYTE)
        before = server.memory("VmRSS")
        server.forget_peak()
        copies, uploads = [], []
        for _ in range(RUNS):
            copies.append(timed(lambda: copy_and_hash(source, home / "copy.jsonl")))
            uploads.append(timed(lambda: upload(server, source)))
        grown = server.memory("VmHWM") - before
    copied, uploaded = statistics.median(copies), statistics.median(uploads)
    yield f"Upload of {source.stat().st_size / 1e6:.0f} MB", f"{uploaded:.2f} s"
    yield "  cp, then SHA-256, of the same bytes", f"{copied:.2f} s"
    yield "  ratio (at most 2)", f"{uploaded / copied:.2f}"
    yield "  the server's memory grew by (under 50 MB)", f"{grown / 1e6:.1f} MB"


def measure_retrievals(home: Path, sizes: Sizes) -> Iterator[tuple[str, str]]:
    with running_server(home / "data") as server:
        job = small_job(server)
    path = f"/v1/fine_tuning/jobs/{job['id']}"
    plan = {"requests": [("GET", path, None)], "total": sizes.retrievals}
    for workers in (1, 2):
        with running_server(home / "data", "--workers", str(workers)) as server, bare_app(job) as bare:
            for connections in (1, 16):
                (rate, cpu), (bare_rate, bare_cpu) = rates(plan, connections, server, bare)
                yield f"jobs.retrieve a second, {connections} at once, {workers} worker(s)", f"{rate:.0f}"
                yield "  a bare FastAPI route that returns the same, one process", f"{bare_rate:.0f}"
                yield "  ratio (at most 2.5, or 1,000 a second)", f"{bare_rate / rate:.2f}"
                if workers == 1:
                    yield "  ratio of processor time", f"{cpu / bare_cpu:.2f}"


def rates(plan: dict[str, Any], connections: int, *servers: Server) -> list[tuple[float, float]]:
    """Requests a second, and processor seconds, of each server: medians of several runs, taken in turn."""
    found: list[list[tuple[float, float]]] = [[] for _ in servers]
    for _ in range(RUNS):
        for server, runs in zip(servers, found, strict=True):
            before = server.cpu_seconds()
            seconds = load(server.port, connections=connections, **plan)["seconds"]
            runs.append((plan["total"] / seconds, server.cpu_seconds() - before))
    return [(statistics.median(rate for rate, _ in runs), statistics.median(cpu for _, cpu in runs)) for runs in found]


def measure_chat(home: Path, sizes: Sizes) -> Iterator[tuple[str, str]]:
    from retune.server.storage.data_directory import DataDirectory
    from retune.trainers.registry import default_trainer

    questions = [[{"role": "user", "content": f"question {number}"}] for number in range(64)]
    with running_server(home / "data") as server:
        name = small_job(server)["fine_tuned_model"]
        [checkpoint] = [*(DataDirectory(home / "data").jobs).glob("*/epoch-*")][-1:]
        model = default_trainer().load(checkpoint)
        prompts = [chat_prompt(question) for question in questions]

        def answer(number: int) -> object:
            return model.complete(prompts[number % 64])

        requests = [("POST", "/v1/chat/completions", {"model": name, "messages": question}) for question in questions]
        plan = {"requests": requests, "rounds": True}
        for clients in (1, 64):
            total = sizes.answers_each * 64
            direct, asked = [], []
            for _ in range(RUNS):
                direct += call_directly(answer, clients, total)
                asked += load(server.port, connections=clients, total=total, **plan)["latencies"]
            own, through = statistics.median(direct), statistics.median(asked)
            yield f"Chat completion p50, {clients} at once", f"{through * 1000:.2f} ms"
            yield f"  the model called directly from {clients} thread(s)", f"{own * 1000:.2f} ms"
            yield "  ratio (at most 3)", f"{through / own:.2f}"


def chat_prompt(messages: list[dict[str, str]]) -> Any:
    from retune.server.chat.requests import ChatRequest

    return ChatRequest.model_validate({"model": "any", "messages": messages}).answer_request(None).conversation


def call_directly(call: Callable[[int], object], n_threads: int, total: int) -> list[float]:
    """Call from all threads at the same moment, again and again; the time from that moment to each answer."""
    latencies: list[float] = []
    began = 0.0

    def begin() -> None:
        nonlocal began
        began = time.perf_counter()

    together = threading.Barrier(n_threads, action=begin)

    def work(thread: int) -> None:
        for number in range(thread, total, n_threads):
            together.wait()
            call(number)
            latencies.append(time.perf_counter() - began)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return latencies


def measure_lists(home: Path, sizes: Sizes) -> Iterator[tuple[str, str]]:
    command = [sys.executable, str(HERE / "server_rows.py"), str(home / "data"), str(sizes.jobs), str(sizes.events)]
    known = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    jobs = "/v1/fine_tuning/jobs"
    events, checkpoints = f"{jobs}/{known['longest_job']}/events", f"{jobs}/{known['job']}/checkpoints"
    began = time.perf_counter()
    with running_server(home / "data") as server:
        yield f"Start with {sizes.jobs:,} jobs and {sizes.events:,} events", f"{time.perf_counter() - began:.2f} s"
        for label, path in {
            "Jobs": jobs,
            "Jobs, far back": f"{jobs}?after={known['deep_job']}",
            "Jobs by a metadata pair that most have": f"{jobs}?{quote('metadata[project]')}=usual",
            "Jobs by a metadata pair that few have": f"{jobs}?{quote('metadata[project]')}=rare",
            "Jobs without metadata": f"{jobs}?metadata=null",
            "Events of a job": f"{jobs}/{known['job']}/events",
            "Events of the longest job": events,
            "Events of the longest job, far back": f"{events}?after={known['deep_event']}",
            "Checkpoints": checkpoints,
            "Files, 100 of them": "/v1/files?limit=100",
            "Files of a purpose that few have": "/v1/files?purpose=batch&limit=100",
            "Models": "/v1/models",
        }.items():
            found = load(server.port, connections=1, total=sizes.list_calls, requests=[("GET", path, None)])
            p50, p95 = (statistics.quantiles(found["latencies"], n=20)[place] * 1000 for place in (9, 18))
            yield f"{label}: p50 and p95 (under 20 ms)", f"{p50:.1f} / {p95:.1f} ms"


def copy_and_hash(source: Path, target: Path) -> None:
    subprocess.run(["cp", source, target], check=True)
    with target.open("rb") as stream:
        hashlib.file_digest(stream, "sha256")


def upload(server: Server, source: Path, *, limit: int | None = None) -> None:
    head = (
        b'--edge\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--edge\r\n'
        b'Content-Disposition: form-data; name="file"; filename="train.jsonl"\r\n\r\n'
    )
    tail = b"\r\n--edge--\r\n"
    size = min(source.stat().st_size, limit or sys.maxsize)
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.putrequest("POST", "/v1/files")
    connection.putheader("Content-Type", "multipart/form-data; boundary=edge")
    connection.putheader("Content-Length", str(len(head) + size + len(tail)))
    connection.endheaders()
    connection.send(head)
    with source.open("rb") as stream:
        connection.sock.sendfile(stream, count=size)
    connection.send(tail)
    response = connection.getresponse()
    body = response.read()
    assert response.status == 200, body
    assert json.loads(body)["bytes"] == size
    connection.close()


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


MEASUREMENTS: dict[str, Callable[[Path, Sizes], Iterator[tuple[str, str]]]] = {
    "uploads": measure_uploads,
    "retrievals": measure_retrievals,
    "chat": measure_chat,
    "lists": measure_lists,
}

if __name__ == "__main__":
    main()
