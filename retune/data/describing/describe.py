"""Making examples of a block's rows and finding out about each; runs in any process."""

from collections.abc import Iterable, Sequence

import numpy as np

from retune.data.arrow_arrays import text_array
from retune.data.blocks import Block, Finding
from retune.data.checks.structure import check_structure
from retune.data.describing.described import Described, Lines
from retune.data.describing.plain_columns import describe_plain_columns
from retune.data.describing.plan import Plan, make_problem
from retune.data.describing.texts import Texts, examine_texts
from retune.data.example_texts import ExampleTexts, example_texts
from retune.data.examples import Example, expected_answer
from retune.data.hashes import hash_example, text_hash
from retune.data.jsonl import encode_line
from retune.data.label_counts import count_labels
from retune.data.rules import RULES
from retune.data.splits.fractions import likely_sides
from retune.data.store.columns import CONTENT_COLUMNS, SIDES, Column, zero_columns
from retune.data.tokens import token_counter, tokens_beside_all_texts
from retune.errors import DataError

_Found = list[tuple[int, Finding]]


def describe_block(block: Block, plan: Plan) -> Described:
    """Make an example of every row and find out what the plan asks for.

    Raises:
        SourceError: A column that the shape needs is not there.
    """
    simple = plan.shape.plain_columns
    columns = block.text_columns([simple.user, simple.assistant]) if simple else None
    if simple is not None and columns is not None:
        return describe_plain_columns(columns, simple, block, plan)
    return _describe_examples(list(plan.shape.examples(block)), block, plan)


def _describe_examples(examples: Sequence[Example], block: Block, plan: Plan) -> Described:
    lines, found = _encode_and_check(examples, plan)
    columns = zero_columns(len(examples))
    columns["file"][:] = block.file
    columns["number"][:] = [example.number for example in examples]
    columns["length"][:] = [len(line) for line in lines]
    columns["sound"][:] = 1
    columns["sound"][[index for index, finding in found if RULES[finding.kind].level == "error"]] = 0
    # CSV can't tell an empty cell from a missing one.
    columns["group"][:] = [text_hash(example.keys.group or None) for example in examples]
    columns["stratum"][:] = [text_hash(example.keys.stratum or None) for example in examples]
    columns["side"][:] = [SIDES.index(example.keys.side or "") for example in examples]
    sound = np.flatnonzero(columns["sound"]).tolist()
    hashes = np.array(
        [hash_example(examples[index].body, plan.method, plan.split.seed) for index in sound], np.uint64
    ).reshape(-1, len(CONTENT_COLUMNS))
    for place, name in enumerate(CONTENT_COLUMNS):
        columns[name][sound] = hashes[:, place]
    columns["part"] = likely_sides(columns["prompt"], plan.split)
    parts = [example_texts(examples[index].body, plan.method) for index in sound]
    facts = examine_texts(_texts(parts), plan)
    if plan.counts_tokens:
        counter = token_counter(plan.encoding)
        columns["tokens"][sound] = facts.tokens + [tokens_beside_all_texts(part, counter) for part in parts]
    bands = None
    if facts.bands is not None:
        bands = np.zeros((len(examples), facts.bands.shape[1]), np.uint64)
        bands[sound] = facts.bands
    found += [(sound[index], finding) for index, finding in facts.findings]
    found.sort(key=lambda pair: pair[0])
    is_labelled = plan.checks and plan.method == "supervised"
    return Described(
        columns=columns,
        lines=_divide(lines, columns["part"]),
        bands=bands,
        problems=[make_problem(plan, block.file, examples[index].number, finding) for index, finding in found],
        labels=count_labels(expected_answer(examples[index].body) for index in sound) if is_labelled else None,
        source_bytes=block.source_bytes,
    )


def _encode_and_check(examples: Iterable[Example], plan: Plan) -> tuple[list[bytes], _Found]:
    lines: list[bytes] = []
    found: _Found = []
    for index, example in enumerate(examples):
        findings = list(example.findings)
        try:
            lines.append(encode_line(example.body))
        except DataError as error:
            findings.append(Finding("not_json", error.message))
            lines.append(encode_line({}))
        if example.body or not findings:
            # Without the checks, too: what follows relies on a sound structure.
            findings += list(check_structure(example.body, plan.method, plan.provider))
        found += [(index, finding) for finding in findings]
    return lines, found


def _divide(lines: Sequence[bytes], parts: Column) -> tuple[Lines, Lines, Lines]:
    train, validation, test = (
        b"".join(lines[index] for index in np.flatnonzero(parts == part).tolist()) for part in range(1, len(SIDES))
    )
    return train, validation, test


def _texts(parts: Sequence[ExampleTexts]) -> Texts:
    groups = [(part.machine, part.instructions, part.prompt, part.answer) for part in parts]
    values = [text for part in groups for group in part for text in group]
    counts = np.array([[len(group) for group in part] for part in groups], np.int64).reshape(-1, 4)
    first = np.concatenate(([0], np.cumsum(counts.sum(axis=1))))[:-1]
    begin = first + counts[:, 0] + counts[:, 1]
    return Texts(
        # UTF-8 has no lone surrogates; U+FFFD stands for them, which the checks find.
        values=text_array(values),
        owner=np.repeat(np.arange(len(parts)), counts.sum(axis=1)),
        prompt=np.stack((begin, begin + counts[:, 2]), axis=1),
        is_written=np.repeat(np.tile([False, True, True, True], len(parts)), counts.ravel()),
    )
