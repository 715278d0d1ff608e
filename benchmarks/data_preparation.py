"""How fast, and in how much memory, a table or a chat file becomes training files.

A million rows of two columns, about 150 tokens each, go through three programs, each started afresh: the script that
people usually write, DuckDB's plain copy to JSON, and Retune with every check and exact token counts, and without.
Then 305,000 conversations as chat JSONL go through a plain loop that parses them and counts their tokens, and through
Retune. Then Retune reads the same rows as CSV, JSONL and Parquet, and five times as many, to see whether memory grows.

Programs take turns, and what is printed is the median of their runs. Seconds of processor time are printed beside those
of the clock: other work on the machine changes them less.

    .venv/bin/python benchmarks/data_preparation.py
"""

import argparse
import csv
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

HERE = Path(__file__).parent
CHATS = 0.305  # of all rows: 209 MB
TIMES_AS_MANY = 5


@dataclass(frozen=True)
class Scale:
    """How much is measured: rows of a table, and runs of each program."""

    rows: int = 1_000_000
    runs: int = 5


QUICK = Scale(rows=5_000, runs=1)


@dataclass(frozen=True)
class Measured:
    """One run of a program.

    Attributes:
        seconds: Wall time, from its start to its end.
        cpu_seconds: Processor time, of it and of the processes that it started.
        peak_mb: Most memory at any moment, of it and of the processes that it started; what they share counts once.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rows, to see that everything works")
    parser.add_argument("--only", choices=MEASUREMENTS, action="append", help="measure this alone; may be repeated")
    parser.add_argument("--directory", type=Path, help="where to keep data meanwhile (default: the system's own)")
    options = parser.parse_args()
    scale = QUICK if options.quick else Scale()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        for name in options.only or MEASUREMENTS:
            home = Path(directory) / name
            home.mkdir()
            for label, figure in MEASUREMENTS[name](home, scale):
                print(f"{label:<72}{figure:>14}", flush=True)
            shutil.rmtree(home)


def measure_speed(home: Path, scale: Scale) -> Iterator[tuple[str, str]]:
    table = home / "table.csv"
    write_table(table, scale.rows)
    yield f"{scale.rows:,} rows as CSV", f"{table.stat().st_size / 1e6:,.0f} MB"
    programs = {
        "the usual script": ["usual_preparation.py"],
        "DuckDB's plain copy": ["duckdb_copy.py"],
        "Retune, all checks and token counts": ["retune_preparation.py"],
        "Retune, no checks, no token counts": ["retune_preparation.py", "--plain"],
    }
    usual, copy, checked, plain = yield from compare(programs, table, home, scale)
    yield "Retune with everything, against the usual script", f"{usual.seconds / checked.seconds:.2f}x"
    yield "Retune without, against DuckDB's copy: times as long", f"{plain.seconds / copy.seconds:.2f}x"


def measure_chat(home: Path, scale: Scale) -> Iterator[tuple[str, str]]:
    scale = replace(scale, rows=round(scale.rows * CHATS))
    table = home / "chat.jsonl"
    write_table(table, scale.rows)
    yield f"{scale.rows:,} rows as chat JSONL", f"{table.stat().st_size / 1e6:,.0f} MB"
    programs = {
        "a plain loop: json.loads, tokens of each message": ["token_counting_loop.py"],
        "Retune, all checks and token counts": ["retune_preparation.py"],
    }
    loop, checked = yield from compare(programs, table, home, scale)
    yield "Retune with everything, against the plain loop (at least 3)", f"{loop.seconds / checked.seconds:.2f}x"


def compare(
    programs: dict[str, list[str]], table: Path, home: Path, scale: Scale
) -> Generator[tuple[str, str], None, list[Measured]]:
    """Run each program several times; the medians."""
    runs: dict[str, list[Measured]] = {label: [] for label in programs}
    # Taken in turns, so that a slow minute of the machine is everybody's.
    for _ in range(scale.runs):
        for label, (program, *flags) in programs.items():
            runs[label].append(run(program, table, home / "output", *flags))
    medians = []
    for label, measured in runs.items():
        seconds = [one.seconds for one in measured]
        median = Measured(
            statistics.median(seconds),
            statistics.median(one.cpu_seconds for one in measured),
            max(one.peak_mb for one in measured),
        )
        medians.append(median)
        yield f"{label}: seconds (median of {scale.runs})", f"{median.seconds:.1f} s"
        yield "  fastest and slowest", f"{min(seconds):.1f}, {max(seconds):.1f} s"
        yield "  seconds of processor time", f"{median.cpu_seconds:.1f} s"
        yield "  rows per second", f"{scale.rows / median.seconds:,.0f}"
        yield "  peak memory", f"{median.peak_mb:,.0f} MB"
    return medians


def measure_memory(home: Path, scale: Scale) -> Iterator[tuple[str, str]]:
    for suffix in (".csv", ".jsonl", ".parquet"):
        peaks = []
        for factor in (1, TIMES_AS_MANY):
            table = home / f"table{suffix}"
            write_table(table, scale.rows * factor, words_at_a_time=10)
            measured = run("retune_preparation.py", table, home / "output")
            peaks.append(measured.peak_mb)
            table.unlink()
            yield f"{suffix} with {scale.rows * factor:,} rows: seconds", f"{measured.seconds:.1f} s"
            yield "  peak memory (under 700 MB)", f"{measured.peak_mb:,.0f} MB"
        yield "  growth with five times the rows (at most 10 %)", f"{peaks[1] / peaks[0] - 1:+.1%}"


MEASUREMENTS: dict[str, Callable[[Path, Scale], Iterator[tuple[str, str]]]] = {
    "speed": measure_speed,
    "chat": measure_chat,
    "memory": measure_memory,
}


def write_table(path: Path, rows: int, *, words_at_a_time: int = 1) -> None:
    """Write questions and answers of words drawn as often as they stand in the support messages in examples/.

    Only messages in alphabets: about as many tokens to a word as in most people's data. Each question has a number of
    its own, as tickets have. Several words at a time are drawn faster, and make some questions nearly the same.
    """
    with (HERE.parent / "examples/support_tickets.csv").open(encoding="utf-8", newline="") as stream:
        messages = [row["message"] for row in csv.DictReader(stream)]
    words = [
        word for message in messages if all(ord(letter) < 0x2100 for letter in message) for word in message.split()
    ]
    draw = random.Random(7)

    if words_at_a_time > 1:
        words = [" ".join(draw.choices(words, k=words_at_a_time)) for _ in range(300_000)]

    def pairs() -> Iterator[tuple[str, str]]:
        for number in range(rows):
            text = draw.choices(words, k=draw.randrange(90, 130) // words_at_a_time)
            question = text[: len(text) // 3]
            yield f"{' '.join(question)} Order {number:08}.", " ".join(text[len(question) :])

    if path.suffix == ".parquet":
        _write_parquet(path, pairs())
        return
    with path.open("w", encoding="utf-8", newline="") as stream:
        if path.suffix == ".csv":
            writer = csv.writer(stream)
            writer.writerow(["question", "answer"])
            writer.writerows(pairs())
        else:
            for question, answer in pairs():
                messages_of_row = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
                stream.write(json.dumps({"messages": messages_of_row}) + "\n")


def _write_parquet(path: Path, pairs: Iterator[tuple[str, str]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("question", pa.string()), ("answer", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        while batch := [pair for pair, _ in zip(pairs, range(50_000), strict=False)]:
            questions, answers = zip(*batch, strict=True)
            writer.write_table(pa.table([pa.array(questions), pa.array(answers)], schema=schema))


def run(program: str, table: Path, output: Path, *flags: str) -> Measured:
    """Run one of the programs beside this one, in a process of its own."""
    output.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, str(HERE / program), str(table), str(output), *flags], env=environment)
    peak = PeakMemory(process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    peak.stop()
    shutil.rmtree(output)
    if process.returncode:
        sys.exit(f"{program} ended with status {process.returncode}")
    return Measured(seconds, usage.ru_utime + usage.ru_stime, peak.megabytes)


class PeakMemory:
    """Looks at a process and its descendants twenty times a second."""

    def __init__(self, pid: int) -> None:
        self.megabytes = 0.0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            kilobytes = sum(map(_proportional_kilobytes, _family(self._pid)))
            self.megabytes = max(self.megabytes, kilobytes * 1024 / 1e6)


def _family(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _family(int(child))


def _proportional_kilobytes(pid: int) -> int:
    """Memory of a process in which a page that several share counts as a part for each; files in memory too."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


if __name__ == "__main__":
    main()
