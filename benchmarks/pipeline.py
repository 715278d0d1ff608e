"""The pipeline's own overhead: the flow against a plain script that makes the same SDK calls, on 500 rows.

Both train the same model on the same server, one after the other, several times in turn. What is compared is wall time
minus the time that the job itself ran, as the server's events tell it. The flow runs against a Prefect server that is
up already, and once with everything started from nothing, the way `retune run` does it.

    .venv/bin/python benchmarks/pipeline.py
"""

import argparse
import asyncio
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

ROWS = 500
SCRIPT = Path(__file__).with_name("plain_script.py")


@dataclass
class Timing:
    """Seconds of one run."""

    wall: float
    job: float

    @property
    def own(self) -> float:
        """What the run took beyond the job."""
        return self.wall - self.job


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="runs of each, in turn (default: 3)")
    parser.add_argument("--data", type=Path, default=Path("examples/support_tickets.csv"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        os.environ["RETUNE_HOME"] = str(home / "retune")
        table = _first_rows(options.data, home / "rows.csv")
        _compare(table, home, options.runs)


def _compare(table: Path, home: Path, runs: int) -> None:
    from retune.local.embedded_server import embedded_server
    from retune.local.prefect_server import keep_prefect_to_itself, own_password, prefect_server

    keep_prefect_to_itself()
    with prefect_server() as api_url, embedded_server(home / "server") as server:
        scripts, flows = [], []
        for number in range(runs + 1):
            script = _run_script(table, server.base_url, home / f"script-{number}")
            flow = _run_flow(table, server.base_url, home / f"flow-{number}", api_url, own_password() or "")
            if number:  # the first of each warms caches of the disk
                scripts.append(script)
                flows.append(flow)
            print(f"run {number}: script {script.own:.1f} s, flow {flow.own:.1f} s beyond the job", flush=True)
    alone = _run_command(table, home / "alone")
    script_own, flow_own = (statistics.median(timing.own for timing in each) for each in (scripts, flows))
    print(f"\nBeyond the job, median of {runs} runs, {ROWS} rows, every run a process of its own")
    print(f"  plain script                            {script_own:6.1f} s")
    print(f"  flow, Prefect server up                 {flow_own:6.1f} s   script + {flow_own - script_own:.1f} s")
    print(f"  retune run, everything from nothing     {alone.own:6.1f} s   script + {alone.own - script_own:.1f} s")


def _first_rows(source: Path, target: Path) -> Path:
    with source.open(encoding="utf-8", newline="") as read, target.open("w", encoding="utf-8", newline="") as write:
        rows = csv.reader(read)
        csv.writer(write).writerows(row for number, row in enumerate(rows) if number <= ROWS)
    return target


def _run_script(table: Path, base_url: str, output: Path) -> Timing:
    environment = {**os.environ, "OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "none"}
    start = time.perf_counter()
    subprocess.run([sys.executable, str(SCRIPT), str(table), str(output)], env=environment, check=True)
    wall = time.perf_counter() - start
    return Timing(wall, json.loads((output / "summary.json").read_bytes())["job_seconds"])


def _run_flow(table: Path, base_url: str, output: Path, api_url: str, password: str) -> Timing:
    prefect = {"PREFECT_API_URL": api_url, "PREFECT_API_AUTH_STRING": password}
    environment = {**os.environ, **prefect, "OPENAI_BASE_URL": base_url}
    return _time_retune(table, output, environment)


def _run_command(table: Path, output: Path) -> Timing:
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    # The first start makes the databases; people start it more often than once.
    subprocess.run(
        [sys.executable, "-m", "retune.cli.app", "jobs", "list"], env=environment, check=True, capture_output=True
    )
    return _time_retune(table, output, environment)


def _time_retune(table: Path, output: Path, environment: dict[str, str]) -> Timing:
    command = [
        sys.executable, "-m", "retune.cli.app", "run", "--data", str(table), "--user-column", "message",
        "--assistant-column", "answer", "--output-dir", str(output), "--attempt", uuid.uuid4().hex,
    ]  # fmt: skip
    start = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    wall = time.perf_counter() - start
    return Timing(wall, asyncio.run(_job_seconds(output)))


async def _job_seconds(output: Path) -> float:
    events = [json.loads(line) for line in (output / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    started = next(event["created_at"] for event in events if event["message"] == "Fine-tuning job started")
    return float(events[-1]["created_at"] - started)


if __name__ == "__main__":
    main()
