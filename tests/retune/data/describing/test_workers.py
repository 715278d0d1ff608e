import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from example_stores import ReadyBodies, chat

from retune.config import SourceFormat, SplitConfig
from retune.data.blocks import ArrowBlock, Row, RowsBlock, SourceFile
from retune.data.describing.plan import Plan
from retune.data.describing.workers import describe_blocks
from retune.data.examples import Example
from retune.data.shapes.shape import PlainColumns, Shape
from retune.errors import DataError, SourceError

REPOSITORY = Path(__file__).parents[4]


class TwoColumns(Shape):
    title = "columns question → answer"
    method = "supervised"

    def examples(self, block):
        raise AssertionError("the columns are text")

    @property
    def plain_columns(self):
        return PlainColumns("question", "answer", "Be kind.")


class Unreadable(Shape):
    title = "rows that can't be read"
    method = "supervised"

    def examples(self, block):
        if block.file == 0 and next(block.rows()).number == 7:
            raise SourceError("row 7 can't be read.", hint="Mend it.")
        yield from (Example(row.values["body"], row.number) for row in block.rows())


class Deadly(Shape):
    title = "rows that kill"
    method = "supervised"

    def examples(self, block):
        import os

        if next(block.rows()).number == 7:
            os.kill(os.getpid(), 9)
        yield from ()


def plan_for(shape):
    file = SourceFile("table.csv", "row", SourceFormat.CSV, None, ("question", "answer"))
    return Plan((file,), shape, "supervised", "openai", "o200k_base", SplitConfig())


def rows_blocks(count):
    for number in range(count):
        body = chat(f"What is {number}?", f"It is {number}.")
        yield RowsBlock(0, [Row(number, {"body": body, "side": None})], source_bytes=1)


def text_blocks(count):
    for number in range(count):
        texts = [f"What is {number * 10 + place}?" for place in range(10)]
        batch = pa.record_batch({"question": texts, "answer": [f'"{text}"\n' for text in texts]})
        yield ArrowBlock(0, number * 10, batch, source_bytes=1)


@pytest.mark.parametrize("blocks", [rows_blocks, text_blocks])
def test_several_processes_answer_as_one_does_and_in_order(blocks):
    plan = plan_for(ReadyBodies("supervised") if blocks is rows_blocks else TwoColumns())
    alone = list(describe_blocks(blocks(12), plan, processes=1))
    together = list(describe_blocks(blocks(12), plan, processes=2))
    assert len(alone) == len(together) == 12
    for one, other in zip(alone, together, strict=True):
        assert [bytes(part) for part in one.lines] == [bytes(part) for part in other.lines]
        assert all((one.columns[name] == other.columns[name]).all() for name in one.columns)
        assert one.columns["number"].tolist() == other.columns["number"].tolist()
        assert one.bands is not None
        assert other.bands is not None
        assert np.array_equal(one.bands, other.bands)
        assert (one.problems, one.labels) == (other.problems, other.labels)
    numbers = np.concatenate([described.columns["number"] for described in together])
    assert (np.diff(numbers) == 1).all()


def test_an_error_in_another_process_arrives_whole():
    with pytest.raises(SourceError) as caught:
        list(describe_blocks(rows_blocks(12), plan_for(Unreadable()), processes=2))
    assert (caught.value.message, caught.value.hint) == ("row 7 can't be read.", "Mend it.")


def test_a_killed_process_is_an_error_that_says_so():
    with pytest.raises(DataError, match=r"ended from outside.*Free some memory"):
        list(describe_blocks(rows_blocks(12), plan_for(Deadly()), processes=2))


def test_blocks_are_read_no_faster_than_they_are_described():
    read = []

    def watched():
        for number, block in enumerate(rows_blocks(40)):
            read.append(number)
            yield block

    for done, _ in enumerate(describe_blocks(watched(), plan_for(ReadyBodies("supervised")), processes=2)):
        assert read[-1] - done <= 5


def test_a_script_without_a_main_guard_is_not_run_twice(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            import sys
            sys.path[:0] = sys.argv[1:]
            print("begun")
            from example_stores import ReadyBodies
            from test_workers import plan_for, rows_blocks
            from retune.data.describing.workers import describe_blocks
            print(len(list(describe_blocks(rows_blocks(9), plan_for(ReadyBodies("supervised")), processes=2))))
        """)
    )
    paths = [str(REPOSITORY), str(REPOSITORY / "tests/support"), str(Path(__file__).parent)]
    done = subprocess.run([sys.executable, script, *paths], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout.split(), done.returncode) == (["begun", "9"], 0), done.stderr
