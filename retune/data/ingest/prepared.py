"""Examples of a block before their texts are analyzed, the same whichever path made them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from retune.data.dataset.columns import SPLITS, Column, Lines
from retune.data.example.labels import are_labels
from retune.data.formats.late_keys import LateRow
from retune.data.ingest.analyze_texts import Texts
from retune.data.problems.problems import Finding
from retune.data.text.arrow_arrays import index_array, mask_array, text_bytes, text_offsets, text_scalar


@dataclass(slots=True)
class Prepared:
    """Examples, in some order.

    Attributes:
        columns: As in `COLUMNS`; `file`, `part` and `tokens` are still to be filled in.
        lines: `pa.string()`: each as a line of JSONL.
        texts: What a model reads of them.
        overhead_tokens: `int64[n]`: tokens that are not in the texts; 0 where none are counted.
        findings: Pairs of an example's index and what is wrong with it; of each kind the first.
        further: How many more findings there are of each kind.
        labels: How often each answer was given; None where they are too many or too long to be labels.
        other_keys: Keys that the first rows lacked and that reach no example, and how many rows have each.
        late: Some of these rows.
    """

    columns: dict[str, Column]
    lines: pa.StringArray
    texts: Texts
    overhead_tokens: npt.NDArray[np.int64]
    findings: list[tuple[int, Finding]]
    labels: Counter[str] | None
    other_keys: Counter[str] = field(default_factory=Counter)
    further: Counter[str] = field(default_factory=Counter)
    late: list[LateRow] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.overhead_tokens)


def merge(parts: Sequence[Prepared], places: Sequence[npt.NDArray[np.int64]]) -> Prepared:
    """Put examples that were made in several ways into the order of their rows.

    Args:
        parts: At least one.
        places: For each part, where each of its examples belongs.
    """
    place = np.concatenate(places)
    order = np.argsort(place)
    first = np.cumsum([0, *map(len, parts)]).tolist()
    first_text = np.cumsum([0, *(len(part.texts.values) for part in parts)]).tolist()
    texts = Texts(
        values=pa.concat_arrays([part.texts.values for part in parts]),
        owner=place[np.concatenate([part.texts.owner + n for part, n in zip(parts, first, strict=False)])],
        prompt=np.concatenate([part.texts.prompt + n for part, n in zip(parts, first_text, strict=False)])[order],
        is_written=np.concatenate([part.texts.written() for part in parts]),
    )
    return Prepared(
        columns={name: np.concatenate([part.columns[name] for part in parts])[order] for name in parts[0].columns},
        lines=pa.concat_arrays([part.lines for part in parts]).take(index_array(order)),
        texts=texts,
        overhead_tokens=np.concatenate([part.overhead_tokens for part in parts])[order],
        findings=[
            (int(own[index]), finding)
            for part, own in zip(parts, places, strict=True)
            for index, finding in part.findings
        ],
        labels=_add_up([part.labels for part in parts]),
        other_keys=sum((part.other_keys for part in parts), Counter()),
        further=sum((part.further for part in parts), Counter()),
        late=[row for part in parts for row in part.late],
    )


def _add_up(counts: Sequence[Counter[str] | None]) -> Counter[str] | None:
    total: Counter[str] = Counter()
    for count in counts:
        if count is None:
            return None
        total += count
    return total if are_labels(total) else None


_SPACE = 0x20


def escape(texts: pa.StringArray) -> pa.StringArray:
    """The texts as `json.dumps(text, ensure_ascii=False)` writes them, without the quotes around them."""
    content = text_bytes(texts)
    # The backslash comes first: it is in what the others become.
    marks = [mark for mark in (b"\\", b'"') if (content == ord(mark)).any()]
    marks += [bytes((code,)) for code in np.unique(content[content < _SPACE]).tolist()]
    for mark in marks:
        texts = pc.replace_substring(texts, mark.decode(), encode_basestring(mark.decode())[1:-1])
    return texts


def join_lines(*parts: str | pa.StringArray) -> pa.StringArray:
    """For each place one text: what the parts have there, one after the other."""
    scalars = (text_scalar(part) if isinstance(part, str) else part for part in parts)
    # The stubs have either scalars or arrays, and never both.
    return pc.binary_join_element_wise(*scalars, text_scalar(""))  # type: ignore[type-var,return-value]


def split_lines(lines: pa.StringArray, parts: Column) -> tuple[Lines, Lines, Lines]:
    """The lines of each of `SPLITS[1:]`, put together.

    Args:
        lines: One for each example.
        parts: The column `part`.
    """
    train, validation, test = (_join(lines.filter(mask_array(parts == part))) for part in range(1, len(SPLITS)))
    return train, validation, test


def _join(lines: pa.StringArray) -> Lines:
    offsets = text_offsets(lines)
    return memoryview(lines.buffers()[2] or b"")[int(offsets[0]) : int(offsets[-1])]
