"""What a model is asked, what it should answer, and what it said."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from retune.data.formats.endings import Endings
from retune.errors import SourceError
from retune.training_lines.keys import JsonObject

# `weight` says what to train on; the chat completions API refuses it as an unknown parameter.
_TRAINING_ONLY_FIELDS = {"weight"}
_FEWEST_TO_COMPARE = 2


class EvaluationExample(BaseModel):
    """One question for the models.

    Attributes:
        index: Its place in the test split, counted from 0.
        prompt: The conversation up to the answer, as chat messages; or one message with the prompt to complete.
        expected: The answer that the data holds.
        completes: The model completes a prompt, and does not chat.
        stop: The sequence that ends every completion of the data, and that `expected` lacks; None where nothing does.
    """

    model_config = ConfigDict(frozen=True)

    index: int
    prompt: list[JsonObject]
    expected: str
    completes: bool = False
    stop: str | None = None


class Answer(BaseModel):
    """What a model said to one example.

    Attributes:
        index: The example's place in the test split.
        prompt: The conversation it was asked.
        expected: The answer that the data holds.
        content: What the model said, be it a refusal; None where it gave no text.
        refused: The model refused to answer as asked, and `content` says so.
        error: Why there is no text, in one line; None where there is.
        asked: False where the model was given up before its turn came.
        latency_seconds: Wall time of the request that was answered, without earlier attempts and pauses.
        prompt_tokens: As the provider counted them; None where it did not say.
        completion_tokens: Likewise.
        finish_reason: `stop`, `length`, … as the provider gave it.
    """

    model_config = ConfigDict(frozen=True)

    index: int
    prompt: list[JsonObject]
    expected: str
    content: str | None = None
    refused: bool = False
    error: str | None = None
    asked: bool = True
    latency_seconds: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_reason: str | None = None

    @property
    def shown(self) -> str | None:
        """What the model said, as people read it; None where it gave no text."""
        return f"(refused) {self.content}" if self.refused else self.content


def is_sampled(index: int, n: int, most: int) -> bool:
    """Whether an index is one of `most` evenly spaced ones of 0 to n - 1; all are where n is not more than `most`."""
    return n <= most or index * most // n != (index - 1) * most // n


def read_examples(path: Path, *, limit: int | None = None, spread_over: int | None = None) -> list[EvaluationExample]:
    """Read a split: JSONL whose last assistant messages, or completions, are the expected answers.

    Completions that all end in a stop sequence are expected without it, as it is what stops the model.

    An example without a final answer in text (a tool call, say) can't be judged by its text and is left out.

    Args:
        path: JSONL file, one `{"messages": […]}` or `{"prompt": …, "completion": …}` a line.
        limit: The most examples to read, from the top of the file; None takes all.
        spread_over: The examples in the file: takes `limit` evenly spaced ones instead of the first.

    Raises:
        SourceError: The file can't be read, or a line holds no example.
    """
    examples: list[EvaluationExample] = []
    for index, (line, number) in enumerate(_read_lines(path)):
        if limit is not None and len(examples) >= limit:
            break
        if limit is not None and spread_over is not None and not is_sampled(index, spread_over, limit):
            continue
        if example := _example_of(index, line, path, number):
            examples.append(example)
    return _with_stop(examples)


def example_from_messages(index: int, messages: Sequence[Mapping[str, object]]) -> EvaluationExample | None:
    """Cut a conversation at its last assistant message; None where that one holds no text."""
    asked = [position for position, message in enumerate(messages) if message.get("role") == "assistant"]
    if not asked:
        return None
    expected = messages[asked[-1]].get("content")
    if not isinstance(expected, str):
        return None
    prompt = [_as_asked(message) for message in messages[: asked[-1]]]
    return EvaluationExample(index=index, prompt=prompt, expected=expected)


def _with_stop(examples: list[EvaluationExample]) -> list[EvaluationExample]:
    completing = [example for example in examples if example.completes]
    texts = [example.expected for example in completing]
    stop = Endings.find([example.prompt[0]["content"] for example in completing], texts).stop
    # A stop sequence ends every completion, and stands nowhere else in one: there it would cut the answer off.
    if len(texts) < _FEWEST_TO_COMPARE or not stop or any(text.find(stop) != len(text) - len(stop) for text in texts):
        return examples
    return [
        example.model_copy(update={"stop": stop, "expected": example.expected.removesuffix(stop)})
        if example.completes
        else example
        for example in examples
    ]


def _as_asked(message: Mapping[str, object]) -> JsonObject:
    return {name: value for name, value in message.items() if name not in _TRAINING_ONLY_FIELDS}


def _read_lines(path: Path) -> Iterator[tuple[str, int]]:
    try:
        # A file written by another hand may begin with a byte order mark.
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield line, number
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"Can't read the test split {path}: {error}.") from None


def _example_of(index: int, line: str, path: Path, number: int) -> EvaluationExample | None:
    try:
        example = json.loads(line)
    except ValueError as error:
        raise SourceError(f"{path}, line {number}: expected JSON, found {line.strip()[:80]!r} ({error}).") from None
    prompt, completion = (example.get(key) if isinstance(example, dict) else None for key in ("prompt", "completion"))
    if isinstance(prompt, str) and isinstance(completion, str) and "messages" not in example:
        asked = [{"role": "user", "content": prompt}]
        return EvaluationExample(index=index, prompt=asked, expected=completion, completes=True)
    messages = example.get("messages") if isinstance(example, dict) else None
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise SourceError(f'{path}, line {number}: expected {{"messages": [...]}}, found {line.strip()[:80]!r}.')
    return example_from_messages(index, messages)
