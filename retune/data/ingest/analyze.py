"""Making examples of a block's rows and finding out about each; runs in any process."""

from itertools import chain

import numpy as np

from retune.data.dataset.columns import SPLITS, AnalyzedBlock
from retune.data.formats.late_keys import LateRow, rows_that_say_splits
from retune.data.ingest.analyze_columns import prepare_text_columns
from retune.data.ingest.analyze_examples import prepare_examples
from retune.data.ingest.analyze_messages import PlainMessages, prepare_plain_messages
from retune.data.ingest.analyze_texts import analyze_texts
from retune.data.ingest.plan import Plan, make_problems
from retune.data.ingest.prepared import Prepared, merge, split_lines
from retune.data.problems.problems import FindingTally
from retune.data.sources.blocks import Block, RowsBlock
from retune.data.splits.fractions import likely_splits


def analyze_block(block: Block, plan: Plan) -> AnalyzedBlock:
    """Make an example of every row and find out what the plan asks for.

    Raises:
        SourceError: A column that the format needs is not there.
    """
    simple = None if plan.completes_prompts else plan.row_format.two_text_columns
    columns = block.text_columns([simple.user, simple.assistant]) if simple else None
    if simple is not None and columns is not None:
        return _analyze(prepare_text_columns(columns, simple, plan), block, plan)
    if plan.row_format.keeps_plain_messages and plan.method == "supervised" and not plan.completes_prompts:
        return _analyze(_prepare_conversations(block, plan), block, plan)
    return _analyze(prepare_examples(list(plan.row_format.examples(block)), block.file, plan), block, plan)


def _rows_that_say_splits(block: Block, plan: Plan) -> list[LateRow]:
    columns = plan.files[block.file].columns
    watched = [name for name in plan.row_format.watched if name in columns]
    return rows_that_say_splits(block, watched) if watched else []


def _prepare_conversations(block: Block, plan: Plan) -> Prepared:
    """Take the plain conversations together, and the others one by one."""
    plain = PlainMessages(plan.row_format.fixed_system, plan.row_format.unused_keys)
    others = RowsBlock(block.file, block.offer(plain), source_bytes=0)
    if not others.values and plain.places:
        return prepare_plain_messages(plain, plan)
    examples = prepare_examples(list(plan.row_format.examples(others)), block.file, plan)
    if not plain.places:
        return examples
    return merge([prepare_plain_messages(plain, plan), examples], [np.array(plain.places), plain.left()])


def _analyze(prepared: Prepared, block: Block, plan: Plan) -> AnalyzedBlock:
    """Analyze the texts of all examples at once, and combine what is known of each."""
    columns, sound = prepared.columns, prepared.columns["sound"]
    columns["file"][:] = block.file
    # What a row says comes before it; where the two differ, the row is not sound.
    columns["side"][columns["side"] == 0] = SPLITS.index(plan.files[block.file].split or "")
    columns["part"] = likely_splits(columns["prompt"], columns["side"], plan.split)
    facts = analyze_texts(prepared.texts, plan)
    if plan.counts_tokens:
        columns["tokens"] = ((facts.tokens + prepared.overhead_tokens) * sound).astype(columns["tokens"].dtype)
    found = FindingTally(prepared.further)
    of_texts = (pair for pair in facts.findings if sound[pair[0]])
    for index, finding in chain(sorted(prepared.findings, key=lambda pair: pair[0]), of_texts):
        found.add(index, finding)
    return AnalyzedBlock(
        columns=columns,
        lines=split_lines(prepared.lines, columns["part"]),
        bands=facts.bands,
        problems=make_problems(plan, block.file, columns["number"], found),
        further=found.further(),
        labels=prepared.labels,
        source_bytes=block.source_bytes,
        other_keys=prepared.other_keys,
        late=[*prepared.late, *_rows_that_say_splits(block, plan)],
    )
