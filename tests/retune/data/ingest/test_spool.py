from pathlib import Path

import numpy as np
import pyarrow as pa

from retune.data.ingest import spool
from retune.data.sources.blocks import ArrowBlock


def test_a_value_comes_back_as_it_was_and_its_file_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "value"
    value = {"numbers": np.arange(100_000), "text": "ä", "nothing": np.zeros(0), "bytes": b"x" * 10_000}
    spool.dump(value, path)
    back = spool.load(path)
    assert not path.exists()
    assert (back["numbers"] == value["numbers"]).all()
    assert len(back["nothing"]) == 0
    assert (back["text"], back["bytes"]) == (value["text"], value["bytes"])


def test_of_a_slice_only_the_slice_travels(tmp_path: Path) -> None:
    batch = pa.record_batch({"text": ["x" * 1000] * 1000})
    path = tmp_path / "value"
    spool.dump(ArrowBlock(0, 12, batch.slice(10, 2), source_bytes=5), path)
    assert path.stat().st_size < 10_000
    block = spool.load(path)
    assert (block.file, block.first, block.source_bytes) == (0, 12, 5)
    assert [(row.number, row.values) for row in block.rows()] == [
        (12, {"text": "x" * 1000}),
        (13, {"text": "x" * 1000}),
    ]
