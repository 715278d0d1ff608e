"""Retune's own way from a table to training files: read, check, split, write.

python retune_preparation.py TABLE OUTPUT_DIRECTORY [--plain]      (--plain: no checks, no token counts)
"""

import sys
from pathlib import Path

from retune.config import DataConfig, SplitConfig
from retune.data.dataset.training_files import write_splits
from retune.data.dataset_checks.check import check_store
from retune.data.ingest.load import LoadOptions, load_examples
from retune.data.splits.split import split_examples

MODEL = "gpt-4o-mini-2024-07-18"


def main(table: Path, output: Path, *, plain: bool) -> None:
    columns = {} if table.suffix == ".jsonl" else {"user_column": "question", "assistant_column": "answer"}
    data = DataConfig(source=str(table), **columns)
    split = SplitConfig()
    options = LoadOptions(model=MODEL, checks=not plain, counts_tokens=not plain)
    store = load_examples(data, split, options, output / "examples")
    if not plain:
        report = check_store(store, split, model=MODEL, n_epochs="auto", path=output / "check_report.json")
        assert report.n_examples == len(store)
        assert not report.n_errors, report.counts
    files = write_splits(store, split_examples(store, split), output)
    assert sum(file.examples for file in files.values()) == len(store)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), plain="--plain" in sys.argv)
