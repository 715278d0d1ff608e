"""Stores of examples made of ready bodies, as if they had been read from a file."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from retune.config import SourceFormat, SplitConfig
from retune.data.dataset.example_store import ExampleStore
from retune.data.dataset.writer import ExampleWriter
from retune.data.example.example import Example, Method, SplitKeys
from retune.data.formats.row_format import RowFormat
from retune.data.ingest.analyze import analyze_block
from retune.data.ingest.plan import Plan
from retune.data.sources.blocks import Block, Row, RowsBlock, SourceFile

FIRST_ROW = 2


class ReadyBodies(RowFormat):
    """Rows that hold an example's body, and maybe its split."""

    title = "ready bodies"

    def __init__(self, method: Method) -> None:
        self.method = method

    def examples(self, block: Block) -> Iterator[Example]:
        for row in block.rows():
            keys = SplitKeys(group=row.values["group"], declared_split=row.values["side"])
            yield Example(row.values["body"], row.number, (), keys)


def chat(question: str | list[Any], answer: str, *, system: str | None = None) -> dict[str, Any]:
    """A body with one question and its answer."""
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages if system is None else [{"role": "system", "content": system}, *messages]}


def make_store(
    directory: Path,
    bodies: Sequence[Mapping[str, Any]],
    *,
    splits: Sequence[str | None] | None = None,
    groups: Sequence[str | None] | None = None,
    method: Method = "supervised",
    split: SplitConfig | None = None,
    checks: bool = True,
    counts_tokens: bool = True,
    file_names: Sequence[str] = ("tickets.csv",),
    cleans: bool = True,
) -> ExampleStore:
    """Store examples; the first is row 2. With several files each gets an equal share of them, row 2 first."""
    plan = Plan(
        files=tuple(SourceFile(name, "row", SourceFormat.CSV, None, ()) for name in file_names),
        row_format=ReadyBodies(method),
        method=method,
        provider="openai",
        encoding="o200k_base",
        split=split or SplitConfig(),
        checks=checks,
        counts_tokens=counts_tokens,
        cleans=cleans,
    )
    nothing = [None] * len(bodies)
    values = [
        {"body": dict(body), "side": declared_split, "group": group}
        for body, declared_split, group in zip(bodies, splits or nothing, groups or nothing, strict=True)
    ]
    share = -(-len(values) // len(file_names))
    with ExampleWriter(directory) as writer:
        for file in range(len(file_names)):
            some = values[file * share : (file + 1) * share]
            rows = [Row(number, value) for number, value in enumerate(some, start=FIRST_ROW)]
            writer.append(analyze_block(RowsBlock(file, rows, source_bytes=1), plan))
        return writer.finish(plan.facts("tickets"))
