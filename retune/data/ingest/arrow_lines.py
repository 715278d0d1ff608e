"""Lines of JSONL, many at once, and with no Python object for any of them."""

from json.encoder import encode_basestring

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retune.data.dataset.columns import SIDES, Column
from retune.data.dataset.described import Lines
from retune.data.sources.blocks import text_offsets
from retune.data.text.arrow_arrays import mask_array, text_scalar

_SPACE = 0x20


def escape(texts: pa.StringArray) -> pa.StringArray:
    """The texts as `json.dumps(text, ensure_ascii=False)` writes them, without the quotes around them."""
    content = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
    # The backslash comes first: it is in what the others become.
    marks = [mark for mark in (b"\\", b'"') if (content == ord(mark)).any()]
    marks += [bytes((code,)) for code in np.unique(content[content < _SPACE]).tolist()]
    for mark in marks:
        texts = pc.replace_substring(texts, mark.decode(), encode_basestring(mark.decode())[1:-1])
    return texts


def put_together(*parts: str | pa.StringArray) -> pa.StringArray:
    """For each place one text: what the parts have there, one after the other."""
    scalars = (text_scalar(part) if isinstance(part, str) else part for part in parts)
    return pc.binary_join_element_wise(*scalars, text_scalar(""))


def divide(lines: pa.StringArray, parts: Column) -> tuple[Lines, Lines, Lines]:
    """The lines of each of `SIDES[1:]`, put together.

    Args:
        lines: One for each example.
        parts: The column `part`.
    """
    train, validation, test = (_join(lines.filter(mask_array(parts == part))) for part in range(1, len(SIDES)))
    return train, validation, test


def _join(lines: pa.StringArray) -> Lines:
    offsets = text_offsets(lines)
    return memoryview(lines.buffers()[2] or b"")[int(offsets[0]) : int(offsets[-1])]
