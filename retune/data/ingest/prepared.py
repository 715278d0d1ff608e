"""Examples of a block before their texts are looked at; however they were made, from here on their way is the same."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retune.data.dataset.columns import Column
from retune.data.example.label_counts import are_labels
from retune.data.formats.late_keys import LateRow
from retune.data.ingest.analyze_texts import Texts
from retune.data.sources.blocks import Finding
from retune.data.text.arrow_arrays import index_array


@dataclass(slots=True)
class Prepared:
    """Examples, in some order.

    Attributes:
        columns: As in `COLUMNS`; `file`, `part` and `tokens` are still to be filled in.
        lines: `pa.string()`: each as a line of JSONL.
        texts: What a model reads of them.
        tokens_beside: `int64[n]`: tokens that are not in the texts; 0 where none are counted.
        findings: Pairs of an example's index and what is wrong with it; of each kind the first.
        further: How many more findings there are of each kind.
        labels: How often each answer was given; None where they are too many or too long to be labels.
        other_keys: Keys that the first rows lacked and that reach no example, and how many rows have each.
        late: Some of these rows.
    """

    columns: dict[str, Column]
    lines: pa.StringArray
    texts: Texts
    tokens_beside: npt.NDArray[np.int64]
    findings: list[tuple[int, Finding]]
    labels: Counter[str] | None
    other_keys: Counter[str] = field(default_factory=Counter)
    further: Counter[str] = field(default_factory=Counter)
    late: list[LateRow] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.tokens_beside)


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
        tokens_beside=np.concatenate([part.tokens_beside for part in parts])[order],
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
