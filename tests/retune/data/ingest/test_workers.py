import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import Signals
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from example_stores import ReadyBodies, chat
from waiting import wait_for

from retune.config import SourceFormat, SplitConfig
from retune.data.dataset.columns import AnalyzedBlock
from retune.data.example.example import Example
from retune.data.formats.row_format import RowFormat, TwoTextColumns
from retune.data.ingest.plan import Plan
from retune.data.ingest.workers import WorkerPool
from retune.data.sources.blocks import ArrowBlock, Block, Row, RowsBlock, SourceFile
from retune.errors import DataError, RunDirectoryError, SourceError

REPOSITORY = Path(__file__).parents[4]


class TwoColumns(RowFormat):
    title = "columns question → answer"
    method = "supervised"

    def examples(self, block: Block) -> Iterator[Example]:
        raise AssertionError("the columns are text")

    @property
    def two_text_columns(self) -> TwoTextColumns:
        return TwoTextColumns("question", "answer", "Be kind.")


class Unreadable(RowFormat):
    title = "rows that can't be read"
    method = "supervised"

    def examples(self, block: Block) -> Iterator[Example]:
        if block.file == 0 and next(block.rows()).number == 7:
            raise SourceError("row 7 can't be read.", hint="Mend it.")
        yield from (Example(row.values["body"], row.number) for row in block.rows())


class Deadly(RowFormat):
    title = "rows that kill"
    method = "supervised"

    def examples(self, block: Block) -> Iterator[Example]:
        if next(block.rows()).number == 7:
            os.kill(os.getpid(), 9)
        yield from ()


class Slow(ReadyBodies):
    """Says that it is at work, and then never ends."""

    def __init__(self, path: str) -> None:
        super().__init__("supervised")
        self.path = path

    def examples(self, block: Block) -> Iterator[Example]:
        Path(self.path).touch()
        while True:
            time.sleep(1)


class FullDisk(ReadyBodies):
    """Leaves the process no room to write its answer."""

    def __init__(self) -> None:
        super().__init__("supervised")

    def examples(self, block: Block) -> Iterator[Example]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
        return super().examples(block)


def plan_for(shape: Any) -> Plan:
    file = SourceFile("table.csv", "row", SourceFormat.CSV, None, ("question", "answer"))
    return Plan((file,), shape, "supervised", "openai", "o200k_base", SplitConfig())


def analyze_all(blocks: Iterator[Any], plan: Plan, directory: Path, *, processes: int = 2) -> list[AnalyzedBlock]:
    with WorkerPool(directory, processes=processes) as workers:
        return list(workers.analyze(blocks, plan))


def rows_blocks(count: int) -> Iterator[RowsBlock]:
    for number in range(count):
        body = chat(f"What is {number}?", f"It is {number}.")
        yield RowsBlock(0, [Row(number, {"body": body, "group": None, "side": None})], source_bytes=1)


def text_blocks(count: int) -> Iterator[ArrowBlock]:
    for number in range(count):
        texts = [f"What is {number * 10 + place}?" for place in range(10)]
        batch = pa.record_batch({"question": texts, "answer": [f'"{text}"\n' for text in texts]})
        yield ArrowBlock(0, number * 10, batch, source_bytes=1)


@pytest.mark.parametrize("blocks", [rows_blocks, text_blocks])
def test_several_processes_answer_as_one_does_and_in_order(blocks: Callable[..., Any], tmp_path: Path) -> None:
    plan = plan_for(ReadyBodies("supervised") if blocks is rows_blocks else TwoColumns())
    alone = analyze_all(blocks(12), plan, tmp_path / "blocks", processes=1)
    together = analyze_all(blocks(12), plan, tmp_path / "blocks")
    assert len(alone) == len(together) == 12
    for one, other in zip(alone, together, strict=True):
        assert [bytes(part) for part in one.lines] == [bytes(part) for part in other.lines]
        assert all((one.columns[name] == other.columns[name]).all() for name in one.columns)
        assert one.columns["number"].tolist() == other.columns["number"].tolist()
        assert one.bands is not None
        assert other.bands is not None
        assert np.array_equal(one.bands, other.bands)
        assert (one.problems, one.labels) == (other.problems, other.labels)
    numbers = np.concatenate([analyzed.columns["number"] for analyzed in together])
    assert (np.diff(numbers) == 1).all()


def test_an_error_in_another_process_arrives_whole(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        analyze_all(rows_blocks(12), plan_for(Unreadable()), tmp_path / "blocks")
    assert (caught.value.message, caught.value.hint) == ("row 7 can't be read.", "Mend it.")


def test_a_killed_process_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ended from outside.*Free some memory"):
        analyze_all(rows_blocks(12), plan_for(Deadly()), tmp_path / "blocks")


def test_blocks_are_read_no_faster_than_they_are_described(tmp_path: Path) -> None:
    read = []

    def watched() -> Iterator[RowsBlock]:
        for number, block in enumerate(rows_blocks(60)):
            read.append(number)
            yield block

    plan = plan_for(ReadyBodies("supervised"))
    with WorkerPool(tmp_path / "blocks", processes=2) as workers:
        for done, _ in enumerate(workers.analyze(watched(), plan)):
            assert read[-1] - done <= 20


SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
print("begun", flush=True)
from example_stores import ReadyBodies
from test_workers import Slow, plan_for, rows_blocks
from retune.data.ingest.workers import WorkerPool
shape = {shape}
with WorkerPool(Path(sys.argv[1]), processes=2) as workers:
    print(len(list(workers.analyze(rows_blocks(9), plan_for(shape)))))
"""


def command(tmp_path: Path, shape: str) -> list[Path | str]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(shape=shape))
    paths = [str(REPOSITORY), str(REPOSITORY / "tests/support"), str(Path(__file__).parent)]
    return [sys.executable, script, tmp_path / "blocks", *paths]


def test_a_script_without_a_main_guard_is_not_run_twice(tmp_path: Path) -> None:
    script = command(tmp_path, 'ReadyBodies("supervised")')
    done = subprocess.run(script, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout.split(), done.returncode) == (["begun", "9"], 0), done.stderr


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_no_process_outlives_the_one_that_started_it(tmp_path: Path, sent: Signals) -> None:
    script = command(tmp_path, f"Slow({str(tmp_path / 'at work')!r})")
    with subprocess.Popen(script, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            wait_for((tmp_path / "at work").exists, "the work", process=process)
            assert len(processes_of(process.pid)) > 1
            process.send_signal(sent)
            # Whoever holds the pipe keeps its reader waiting.
            output, _ = process.communicate(timeout=60)
            assert output == b"begun\n"
            wait_for(lambda: not processes_of(process.pid), "the end of its processes")
        finally:
            for number in processes_of(process.pid):
                os.kill(number, signal.SIGKILL)


def processes_of(session: int) -> list[int]:
    """Ids of the session's processes; a dead one that nobody has waited for is none."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, its_session = path.read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session and state != "Z":
                found.append(int(path.parent.name))
    return found


def test_workers_remove_their_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with WorkerPool(tmp_path / "blocks", processes=2) as workers:
        next(workers.analyze(rows_blocks(12), plan_for(ReadyBodies("supervised"))))
        assert list((tmp_path / "blocks").iterdir())
    assert not (tmp_path / "blocks").exists()


@pytest.mark.parametrize("place", ["file/blocks", "file"])
def test_a_place_that_can_not_be_written_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    plan = plan_for(ReadyBodies("supervised"))
    with pytest.raises(RunDirectoryError, match=rf"Can't write .*{place}: "):
        analyze_all(rows_blocks(12), plan, tmp_path / place)
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_full_disk_in_another_process_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=rf"Can't write {tmp_path}/blocks: File too large"):
        analyze_all(rows_blocks(12), plan_for(FullDisk()), tmp_path / "blocks")
