"""The way of most chat files, whose lines are plain conversations, without an example made for each.

A conversation is plain where it is nothing but `messages`, and keys that are not used: a system prompt or none, then
user and assistant in turn, each a role and a text that is not blank, and maybe a weight of 0 or 1 on answers, keys in
this order. Nothing can be wrong with its structure, and the roles follow from the number of messages. So the texts of
all plain conversations of a block go, one after the other, into one array; lines are written and tokens counted for the
whole array, and only the hashes are made one by one.

What is not plain in any way, a message with an image or a name, a line that is not JSON, takes the way of every other
example, `prepare_examples`, row by row; its block's other rows stay here. Both ways come to the same, to the last byte:
a test holds them against each other.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from xxhash import xxh3_64_intdigest

from retune.data.checks.structure import plain_roles
from retune.data.cost.tokens import chat_overhead_tokens, token_counter
from retune.data.dataset.columns import zero_columns
from retune.data.example.hashes import hash_example, instructions_hash, normalized_text, role_key
from retune.data.example.labels import count_labels
from retune.data.ingest.analyze_texts import Texts
from retune.data.ingest.plan import Plan
from retune.data.ingest.prepared import Prepared, escape, join_lines
from retune.data.text.arrow_arrays import byte_lengths, count_byte, index_array, text_array, text_offsets, utf8_array
from retune.training_lines.keys import JsonObject

Places = npt.NDArray[np.int64]

_KEYS, _KEYS_WITH_WEIGHT = ["role", "content"], ["role", "content", "weight"]
_NO_WEIGHT = 2
# Of "messages"; of "role", its value, "content" and the quotes around its value.
_QUOTE, _QUOTES_OF_A_KEY, _QUOTES_OF_A_ROW, _QUOTES_OF_A_MESSAGE = ord('"'), 2, 2, 8
# Longer ones are rare, and each length has its own roles.
_MOST_MESSAGES = 200


class PlainMessages:
    """Collects the conversations of a block that are plain.

    Args:
        system: Put before those without a system prompt.
        unused: Keys beside the messages that are left out.

    Attributes:
        places: Of each conversation that was taken, which row of the block it is.
        numbers: Its row's number.
        counts: How many messages it has.
        contents: The texts of all messages, one conversation after the other.
        encoded: The same in UTF-8.
        weights: Of each message: 0, 1, or 2 for none.
        weighted: The conversations that have some, by their index in `places`.
    """

    def __init__(self, system: str | None, unused: frozenset[str] = frozenset()) -> None:
        self._system = [] if system is None else [{"role": "system", "content": system}]
        self._quotes_of_the_system = _QUOTES_OF_A_MESSAGE + (system or "").count('"')
        self._unused = unused
        self.start_again()

    def start_again(self) -> None:
        """Forget all rows."""
        self._seen = 0
        self._n_quotes_beside = 0
        self._texts: pa.StringArray | None = None
        self.places: list[int] = []
        self.numbers: list[int] = []
        self.counts: list[int] = []
        self.contents: list[str] = []
        self.encoded: list[bytes] = []
        self.weights: list[int] = []
        self.weighted: dict[int, JsonObject] = {}

    def take(self, number: int, values: Any) -> bool:
        """Take a row if it is a plain conversation; whether it is."""
        place, self._seen = self._seen, self._seen + 1
        messages = values.get("messages") if isinstance(values, dict) else None
        if not isinstance(messages, list) or len(messages) > _MOST_MESSAGES:
            return False
        if len(values) > 1 and not self._is_unused(values):
            return False
        n_quotes = _QUOTES_OF_A_ROW if len(values) == 1 else _count_quotes_beside(values)
        if self._system and len(messages) % 2 == 0:
            messages = [*self._system, *messages]
            n_quotes -= self._quotes_of_the_system
        contents = _plain_contents(messages)
        weights = None if contents is None else _plain_weights(messages)
        if contents is None or weights is None:
            return False
        try:
            self.encoded += [content.encode() for content in contents]
        except UnicodeEncodeError:
            # A lone surrogate, which is written and counted in its own ways.
            return False
        if min(weights) < _NO_WEIGHT:
            self.weighted[len(self.places)] = {"messages": messages}
        self._n_quotes_beside += n_quotes
        self.places.append(place)
        self.numbers.append(number)
        self.counts.append(len(contents))
        self.contents += contents
        self.weights += weights
        return True

    @property
    def n_quotes(self) -> int:
        """See `RowTaker`."""
        of_weights = _QUOTES_OF_A_KEY * sum(weight != _NO_WEIGHT for weight in self.weights) if self.weighted else 0
        of_messages = _QUOTES_OF_A_MESSAGE * len(self.contents) + count_byte(self.texts.buffers()[2] or b"", _QUOTE)
        return self._n_quotes_beside + of_messages + of_weights

    @property
    def texts(self) -> pa.StringArray:
        """The texts of all messages in one array; they are put together once."""
        if self._texts is None or len(self._texts) != len(self.encoded):
            self._texts = utf8_array(self.encoded)
        return self._texts

    def _is_unused(self, values: JsonObject) -> bool:
        """Whether whatever is beside the messages is unused, and so flat that every parser could read it."""
        return all(
            key == "messages" or (key in self._unused and not isinstance(value, dict | list))
            for key, value in values.items()
        )

    def left(self) -> npt.NDArray[np.int64]:
        """Which rows were not taken."""
        return np.setdiff1d(np.arange(self._seen), self.places, assume_unique=True)


def _count_quotes_beside(values: JsonObject) -> int:
    """How many quotes a row has as JSON, but those of its messages."""
    texts = [text for key, value in values.items() for text in (key, value) if isinstance(text, str)]
    return sum(_QUOTES_OF_A_KEY + text.count('"') for text in texts)


def _plain_contents(messages: list[Any]) -> list[str] | None:
    """The contents, where all are text that is not blank, and the roles are those of a plain conversation."""
    try:
        # Loops of C's, where most of the time would go.
        roles, contents = [message["role"] for message in messages], [message["content"] for message in messages]
        is_blank = not all(contents) or any(map(str.isspace, contents))
    except (TypeError, KeyError, ValueError):
        return None
    return contents if not is_blank and roles == _roles(len(messages)) else None


def _plain_weights(messages: list[Any]) -> list[int] | None:
    """The weights, where every message has no other keys than it may have, and there is something to learn."""
    keys = [*map(list, messages)]
    if keys == [_KEYS] * len(messages):
        return [_NO_WEIGHT] * len(messages)
    weights = []
    for own, message in zip(keys, messages, strict=True):
        weight = message["weight"] if own == _KEYS_WITH_WEIGHT else _NO_WEIGHT
        is_plain = own == _KEYS or (type(weight) is int and weight in (0, 1) and message["role"] == "assistant")
        if not is_plain:
            return None
        weights.append(weight)
    return weights if any(weights[1 + len(weights) % 2 :: 2]) else None


def prepare_plain_messages(plain: PlainMessages, plan: Plan) -> Prepared:
    """Put together what is known of plain conversations, at least one."""
    counts = np.array(plain.counts)
    n = len(counts)
    end = np.cumsum(counts)
    begin = end - counts
    contents = plain.texts
    lines = _write_lines(contents, begin, end, np.array(plain.weights))
    columns = zero_columns(n)
    columns["number"][:] = plain.numbers
    columns["sound"][:] = 1
    columns["length"][:] = byte_lengths(lines)
    asked = np.stack((begin + counts % 2, end - 1), axis=1)
    seed = plan.split.seed
    columns["prompt"][:], columns["rest"][:] = _hash_what_is_asked(plain, asked, seed)
    with_system = np.flatnonzero(counts % 2)
    systems = [plain.contents[place] for place in begin[with_system].tolist()]
    known = {text: instructions_hash([{"role": "system", "content": text}], seed) for text in set(systems)}
    columns["instructions"][with_system] = [known[text] for text in systems]
    for index, body in plain.weighted.items():
        columns["prompt"][index], _, _, columns["rest"][index] = hash_example(body, "supervised", seed)
    answers = (end - 1).tolist()
    columns["answer"][:] = [xxh3_64_intdigest(plain.encoded[place]) for place in answers]
    return Prepared(
        columns=columns,
        lines=lines,
        texts=Texts(contents, owner=np.repeat(np.arange(n), counts), prompt=asked),
        overhead_tokens=_overhead_tokens(counts, plan) if plan.counts_tokens else np.zeros(n, np.int64),
        findings=[],
        labels=count_labels(plain.contents[place] for place in answers) if plan.checks else None,
    )


def _write_lines(contents: pa.StringArray, begin: Places, end: Places, weights: Places) -> pa.StringArray:
    """The same bytes as `json.dumps(body, ensure_ascii=False)` would give for each conversation."""
    starts = [
        '{"messages": [{"role": "system", "content": "',
        '{"messages": [{"role": "user", "content": "',
        ', {"role": "user", "content": "',
        ', {"role": "assistant", "content": "',
    ]
    stops = ['", "weight": 0}', '", "weight": 1}', '"}']
    counts = end - begin
    turn = np.arange(len(contents)) - np.repeat(begin + counts % 2, counts)
    start = 2 + turn % 2
    start[begin] = 1 - counts % 2
    stop = weights.copy()
    stop[end - 1] += len(stops)
    messages = join_lines(
        text_array(starts).take(index_array(start)),
        escape(contents),
        text_array([*stops, *(f"{text}]}}\n" for text in stops)]).take(index_array(stop)),
    )
    # The messages lie one after the other already: a line begins where its first message does.
    bounds = text_offsets(messages)[np.append(begin, len(contents))]
    content = messages.buffers()[2] or pa.py_buffer(b"")
    return pa.StringArray.from_buffers(len(counts), pa.py_buffer(bounds.data), content)


def _hash_what_is_asked(plain: PlainMessages, asked: Places, seed: int) -> tuple[list[int], list[int]]:
    """The columns `prompt` and `rest`, as `hash_example` has them."""
    first_key = role_key("user", seed)
    prompts, rests = [], []
    for begin, end in asked.tolist():
        texts = plain.contents[begin:end]
        normalized = [normalized_text(text) for text in texts]
        as_it_is = _hash_turns(plain.encoded[begin:end], first_key)
        is_changed = normalized != texts
        prompts.append(_hash_turns([text.encode() for text in normalized], first_key) if is_changed else as_it_is)
        rests.append(as_it_is if is_changed else 0)
    return prompts, rests


def _hash_turns(texts: Sequence[bytes], first_key: int) -> int:
    so_far = xxh3_64_intdigest(texts[0], first_key)
    for place, text in enumerate(texts[1:]):
        so_far = xxh3_64_intdigest(text, role_key("user" if place % 2 else "assistant", so_far))
    return so_far


def _overhead_tokens(counts: Places, plan: Plan) -> Places:
    counter = token_counter(plan.encoding)
    different, index = np.unique(counts, return_inverse=True)
    tokens = [chat_overhead_tokens(_roles(count) or (), counter) for count in different.tolist()]
    return np.array(tokens, np.int64)[index]


@cache
def _roles(n_messages: int) -> list[str] | None:
    return plain_roles(n_messages)
