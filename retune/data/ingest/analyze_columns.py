"""The fast path of most tables: two columns of text, and no Python object for each example."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import repeat
from json.encoder import encode_basestring

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64_intdigest

from retune.data.checks.messages import check_plain_content
from retune.data.cost.tokens import chat_overhead_tokens, token_counter
from retune.data.dataset.columns import Column, zero_columns
from retune.data.example.hashes import WINDOWS_LINE_END, instructions_hash, role_key
from retune.data.example.labels import LONGEST_LABEL, MOST_LABELS
from retune.data.formats.row_format import TwoTextColumns
from retune.data.ingest.analyze_texts import Texts
from retune.data.ingest.plan import Plan
from retune.data.ingest.prepared import Prepared, escape, join_lines
from retune.data.problems.problems import Finding, FindingTally
from retune.data.sources.blocks import TextColumns
from retune.data.text.arrow_arrays import (
    byte_lengths,
    different_texts,
    fill_nulls,
    listed,
    listed_bytes,
    mask_array,
    text_bytes,
    text_scalar,
    true_places,
)


def prepare_text_columns(table: TextColumns, row_format: TwoTextColumns, plan: Plan) -> Prepared:
    """Prepare examples that are a user's and an assistant's text, and maybe a system prompt for all.

    Everything comes out as it would of the examples one by one; a test holds the two ways against each other.
    """
    user, assistant = table.columns
    n = len(user)
    columns = zero_columns(n)
    columns["number"][:] = table.numbers
    trimmed = [pc.utf8_trim_whitespace(column) for column in table.columns]
    found = FindingTally()
    columns["sound"][:] = 1
    for index, finding in _check(table.columns, trimmed, plan):
        found.add(index, finding)
        columns["sound"][index] = 0
    lines = _write_lines(user, assistant, row_format.system)
    columns["length"][:] = byte_lengths(lines)
    user, assistant = (fill_nulls(column, "") for column in (user, assistant))
    _hash_what_is_asked(user, _without_windows_line_ends(fill_nulls(trimmed[0], "")), columns, plan.split.seed)
    if row_format.system is not None:
        of_all = instructions_hash([{"role": "system", "content": row_format.system}], plan.split.seed)
        columns["instructions"] = np.uint64(of_all) * columns["sound"]
    columns["answer"] = _hash_texts(assistant) * columns["sound"]
    places = np.arange(n)
    both = pa.concat_arrays([user, assistant])
    return Prepared(
        columns=columns,
        lines=lines,
        texts=Texts(both, owner=np.tile(places, 2), prompt=np.stack((places, places + 1), axis=1)),
        overhead_tokens=np.full(n, _tokens_of_the_frame(row_format, plan) if plan.counts_tokens else 0),
        findings=found.kept,
        further=found.n_more,
        labels=_count_labels(assistant, columns["sound"]) if plan.checks else None,
    )


def _check(
    columns: Sequence[pa.StringArray], trimmed: Sequence[pa.StringArray], plan: Plan
) -> Iterator[tuple[int, Finding]]:
    """Content that is missing or blank; what else could be wrong with two texts is found in the texts."""
    first = 1 if plan.row_format.two_text_columns is None or plan.row_format.two_text_columns.system is None else 2
    for number, (role, column, bare) in enumerate(zip(("user", "assistant"), columns, trimmed, strict=True), first):
        blank = pc.or_kleene(pc.is_null(bare), pc.equal(bare, text_scalar("")))
        for index in true_places(blank).tolist():
            yield index, check_plain_content(column[index].as_py(), f"message {number} ({role})")


def _tokens_of_the_frame(row_format: TwoTextColumns, plan: Plan) -> int:
    counter = token_counter(plan.encoding)
    if row_format.system is None:
        return chat_overhead_tokens(("user", "assistant"), counter)
    return chat_overhead_tokens(("system", "user", "assistant"), counter) + counter.count(row_format.system)


def _write_lines(user: pa.StringArray, assistant: pa.StringArray, system: str | None) -> pa.StringArray:
    """The same bytes as `json.dumps(body, ensure_ascii=False)` would give for each."""
    instructions = "" if system is None else f'{{"role": "system", "content": {encode_basestring(system)}}}, '
    start, middle, end = (
        f'{{"messages": [{instructions}{{"role": "user", "content": ',
        '}, {"role": "assistant", "content": ',
        "}]}\n",
    )
    user, assistant = escape(user), escape(assistant)
    if not (user.null_count or assistant.null_count):
        return join_lines(f'{start}"', user, f'"{middle}"', assistant, f'"{end}')
    quoted = (fill_nulls(join_lines('"', text, '"'), "null") for text in (user, assistant))
    return join_lines(start, next(quoted), middle, next(quoted), end)


def _hash_what_is_asked(user: pa.StringArray, fixed: pa.StringArray, columns: dict[str, Column], seed: int) -> None:
    key = role_key("user", seed)
    columns["prompt"] = _hash_texts(fixed, key) * columns["sound"]
    # Mending only ever takes away.
    was_fixed = byte_lengths(user) != byte_lengths(fixed)
    if was_fixed.any():
        columns["rest"][was_fixed] = _hash_texts(user.filter(mask_array(was_fixed)), key)
        columns["rest"] *= columns["sound"]


def _without_windows_line_ends(texts: pa.StringArray) -> pa.StringArray:
    if not (text_bytes(texts) == ord("\r")).any():
        return texts
    return pc.replace_substring_regex(texts, WINDOWS_LINE_END, "\n")


def _hash_texts(texts: pa.StringArray, key: int = 0) -> npt.NDArray[np.uint64]:
    encoded = listed_bytes(texts)
    return np.fromiter(map(xxh3_64_intdigest, encoded, repeat(key)), np.uint64, len(encoded))


def _count_labels(answers: pa.StringArray, sound: Column) -> Counter[str] | None:
    answers = answers.filter(mask_array(sound.astype(np.bool_)))
    # Most tables have no labels, which the first few rows show.
    if len(answers.slice(0, 2 * MOST_LABELS).unique()) > MOST_LABELS:
        return None
    labels, which = different_texts(answers)
    longest = pc.max(pc.utf8_length(labels), min_count=1).as_py() or 0
    if len(labels) > MOST_LABELS or longest > LONGEST_LABEL:
        return None
    return Counter(dict(zip(listed(labels), np.bincount(which, minlength=len(labels)).tolist(), strict=True)))
