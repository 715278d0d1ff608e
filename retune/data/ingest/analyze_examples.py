"""The path that works for every format: each row becomes an example and is checked by itself."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from retune.data.checks.server_limits import check_line_size
from retune.data.checks.structure import check_structure
from retune.data.cost.tokens import example_overhead_tokens, token_counter
from retune.data.dataset.columns import CONTENT_COLUMNS, SPLITS, zero_columns
from retune.data.example.example import Example, as_completion, expected_answer
from retune.data.example.hashes import hash_example, text_hash
from retune.data.example.labels import count_labels
from retune.data.example.texts import ExampleTexts, example_texts
from retune.data.formats.late_keys import some_of_each
from retune.data.ingest.analyze_texts import Texts
from retune.data.ingest.plan import Plan
from retune.data.ingest.prepared import Prepared
from retune.data.problems.problems import Finding, FindingTally
from retune.data.problems.rules import RULES
from retune.data.splits.by_column import compare_with_file
from retune.data.text.arrow_arrays import text_array, utf8_array
from retune.data.text.jsonl import encode_line
from retune.errors import DataError
from retune.training_lines.cleaning import clean_line
from retune.training_lines.keys import JsonObject


@dataclass(slots=True)
class _Checked:
    """A block's examples, checked one by one.

    Attributes:
        lines: As they are written.
        found: What is wrong with them.
        sound: Indices of those without errors.
        bodies: What the lines of these hold.
    """

    lines: list[bytes] = field(default_factory=list)
    found: FindingTally = field(default_factory=FindingTally)
    sound: list[int] = field(default_factory=list)
    bodies: list[JsonObject] = field(default_factory=list)


def prepare_examples(examples: Sequence[Example], file: int, plan: Plan) -> Prepared:
    """Check the structure of each example, hash it, and take its texts apart.

    Args:
        examples: The examples.
        file: Index of their file.
        plan: What is to be found out.
    """
    checked = _check_and_encode(examples, plan.files[file].split, plan)
    sound, bodies = np.array(checked.sound, np.int64), checked.bodies
    columns = zero_columns(len(examples))
    columns["number"][:] = [example.number for example in examples]
    columns["length"][:] = [len(line) for line in checked.lines]
    columns["sound"][sound] = 1
    # CSV can't tell an empty cell from a missing one.
    columns["group"][:] = [text_hash(example.keys.group or None) for example in examples]
    columns["stratum"][:] = [text_hash(example.keys.stratum or None) for example in examples]
    columns["side"][:] = [SPLITS.index(example.keys.declared_split or "") for example in examples]
    hashes = np.array([hash_example(body, plan.method, plan.split.seed) for body in bodies], np.uint64)
    for name, values in zip(CONTENT_COLUMNS, hashes.reshape(-1, len(CONTENT_COLUMNS)).T, strict=True):
        columns[name][sound] = values
    parts = [example_texts(body, plan.method) for body in bodies]
    overhead_tokens = np.zeros(len(examples), np.int64)
    if plan.counts_tokens:
        counter = token_counter(plan.encoding)
        overhead_tokens[sound] = [example_overhead_tokens(part, counter) for part in parts]
    texts = _texts(parts)
    prompt = np.zeros((len(examples), 2), np.int64)
    prompt[sound] = texts.prompt
    is_labelled = plan.checks and plan.method == "supervised"
    return Prepared(
        columns=columns,
        lines=utf8_array(checked.lines),
        texts=Texts(texts.values, owner=sound[texts.owner], prompt=prompt, is_written=texts.is_written),
        overhead_tokens=overhead_tokens,
        findings=checked.found.kept,
        further=checked.found.n_more,
        labels=count_labels(map(expected_answer, bodies)) if is_labelled else None,
        other_keys=Counter(key for example in examples for key in example.other_keys),
        late=some_of_each((example.late, example.other_keys) for example in examples if example.late is not None),
    )


def _check_and_encode(examples: Sequence[Example], split: str | None, plan: Plan) -> _Checked:
    checked = _Checked()
    for index, example in enumerate(examples):
        body = as_completion(example.body) if plan.completes_prompts else example.body
        is_sound = True
        for finding in _find(example, body, split, plan):
            checked.found.add(index, finding)
            is_sound = is_sound and RULES[finding.kind].level != "error"
        if is_sound and plan.cleans:
            body = clean_line(body, plan.method).body
        try:
            line = encode_line(body)
        except DataError as error:
            checked.found.add(index, Finding("not_json", error.message))
            line, is_sound = encode_line({}), False
        too_large = check_line_size(line, body, plan.provider) if is_sound else None
        if too_large is not None:
            checked.found.add(index, too_large)
            is_sound = False
        checked.lines.append(line)
        if is_sound:
            checked.sound.append(index)
            checked.bodies.append(body)
    return checked


def _find(example: Example, body: JsonObject, split: str | None, plan: Plan) -> Iterator[Finding]:
    if split is None:
        yield from example.findings
    else:
        found = [(0, finding) for finding in example.findings]
        yield from (finding for _, finding in compare_with_file([example], found, split))
    if body or not example.findings:
        # Without the checks, too: what follows relies on a sound structure.
        yield from check_structure(body, plan.method, plan.provider, completes_prompts=plan.completes_prompts)


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
