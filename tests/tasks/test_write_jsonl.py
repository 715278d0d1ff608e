"""The training files that a run writes."""

import codecs
from pathlib import Path

import pytest
from step_runs import Rows, configuration, prepare, write_csv

from retune.data.cost.tokens import token_counter
from retune.data.text.jsonl import read_jsonl

# Prefect leaves connections of its own to the garbage collector; ours are closed with their clients.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


async def test_azure_gets_a_byte_order_mark_and_nobody_else(tmp_path: Path, rows: Rows) -> None:
    source = write_csv(tmp_path / "data.csv", rows)
    azure = configuration(
        source, "https://desk.openai.azure.com/openai/v1", training={"model": "gpt-4o-mini-2024-07-18"}
    )
    files = await prepare(azure)
    assert files.validation
    assert files.test
    begins = [
        file.path.read_bytes().startswith(codecs.BOM_UTF8) for file in (files.train, files.validation, files.test)
    ]
    assert begins == [True, True, False]
    assert files.train.bytes == files.train.path.stat().st_size
    plain = await prepare(configuration(source))
    assert plain.train.path.read_bytes() == files.train.path.read_bytes().removeprefix(codecs.BOM_UTF8)


async def test_tokens_are_those_of_the_lines(tmp_path: Path, rows: Rows) -> None:
    files = await prepare(configuration(write_csv(tmp_path / "data.csv", rows), data={"system": "Be brief."}))
    counter = token_counter(files.encoding)
    for name, file in (("train", files.train), ("test", files.test)):
        assert file
        texts = [example["messages"] for example in read_jsonl(file.path)]
        expected = sum(
            1 + sum(3 + counter.count(message["role"]) + counter.count(message["content"]) for message in messages)
            for messages in texts
        )
        assert files.split_tokens[name] == expected
