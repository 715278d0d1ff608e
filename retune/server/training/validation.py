"""Checks of training files, made after a job was accepted: every line must be an example that the model can learn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retune.server.files.input_lines import TOO_LONG, input_lines, is_too_long
from retune.server.json_text import TooManyValuesError, parse_json
from retune.server.training.examples import name_type, problem_of_chat_example, problem_of_completion_example

MIN_TRAINING_EXAMPLES = 10

_COMPLETION_KEYS = {"prompt", "completion"}


class InvalidFileError(Exception):
    """A training or validation file can't be used.

    Args:
        code: `invalid_training_file`, `invalid_validation_file` or `invalid_n_examples`.
        message: Why, naming the line.
        param: `training_file` or `validation_file`.
    """

    def __init__(self, code: str, message: str, param: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


@dataclass(frozen=True, slots=True)
class LearningModel:
    """The model that a file is checked for.

    Attributes:
        name: Its base model's name.
        completes_prompts: Whether it learns `{"prompt", "completion"}` lines; else it learns chat lines.
    """

    name: str
    completes_prompts: bool = False


def check_training_file(path: Path, should_stop: Callable[[], bool], *, file_id: str, model: LearningModel) -> int:
    """Check a training file and count its examples.

    Raises:
        InvalidFileError: A line is wrong, or there are fewer than ten.
        ReadingStoppedError: `should_stop` said so.
    """
    count = _FileCheck(path, "training", file_id, model).run(should_stop)
    if count < MIN_TRAINING_EXAMPLES:
        raise InvalidFileError(
            "invalid_n_examples",
            f"Training file has {count} example(s), but must have at least {MIN_TRAINING_EXAMPLES} examples",
            "training_file",
        )
    return count


def check_validation_file(path: Path, should_stop: Callable[[], bool], *, file_id: str, model: LearningModel) -> None:
    """Check a validation file.

    Raises:
        InvalidFileError: A line is wrong, or there is none.
        ReadingStoppedError: `should_stop` said so.
    """
    check = _FileCheck(path, "validation", file_id, model)
    if check.run(should_stop) == 0:
        raise check.invalid(": it holds no examples.")


def count_long_examples(path: Path, should_stop: Callable[[], bool], *, context_characters: int) -> int:
    """Count the examples of a checked file that have more characters than a trainer reads of one.

    Raises:
        ReadingStoppedError: `should_stop` said so.
    """
    long_lines = (line for _, line in input_lines(path, should_stop) if len(line) > context_characters)
    return sum(_n_characters(parse_json(line)) > context_characters for line in long_lines)


def _n_characters(example: Mapping[str, Any]) -> int:
    texts = [example.get("prompt"), example.get("completion")]
    for message in example.get("messages") or ():
        content = message.get("content")
        parts = content if isinstance(content, list) else [content]
        texts += [part.get("text") if isinstance(part, dict) else part for part in parts]
    return sum(len(text) for text in texts if isinstance(text, str))


@dataclass(frozen=True, slots=True)
class _FileCheck:
    path: Path
    kind: str
    file_id: str
    model: LearningModel

    def run(self, should_stop: Callable[[], bool]) -> int:
        """Check every line, and count those that are not blank."""
        count = 0
        try:
            for number, line in input_lines(self.path, should_stop):
                if is_too_long(line):
                    raise self.invalid(f": line {number}: {TOO_LONG}.")
                if line.decode().strip():
                    self._check_line(line, number)
                    count += 1
        except UnicodeDecodeError:
            raise self.invalid(": it is not UTF-8 text.") from None
        except OSError as error:
            raise self.invalid(f": the server can't read it ({error.strerror}).") from error
        return count

    def invalid(self, reason: str) -> InvalidFileError:
        """The error, as the API words it."""
        message = f"The job failed due to an invalid {self.kind} file. Invalid file format{reason}"
        return InvalidFileError(f"invalid_{self.kind}_file", message, f"{self.kind}_file")

    def _check_line(self, line: bytes, number: int) -> None:
        try:
            example = parse_json(line)
        except TooManyValuesError as error:
            raise self.invalid(f": line {number}: {error}.") from None
        except (ValueError, RecursionError) as error:
            raise self.invalid(
                f": line {number}: expected a JSON object, but this is not valid JSON ({error})."
            ) from None
        if not isinstance(example, dict):
            raise self.invalid(f": line {number}: expected a JSON object, found {name_type(example)}.")
        problem_of = problem_of_completion_example if self.model.completes_prompts else problem_of_chat_example
        problem = problem_of(example)
        if problem is None:
            return
        other = self._other_format(example)
        if other is None:
            raise self.invalid(f": line {number}: {problem}.")
        # The recorded words, and after them what they leave open.
        raise self.invalid(f". Input file {self.file_id} is in the {other} The first such line is line {number}.")

    def _other_format(self, example: Mapping[str, Any]) -> str | None:
        """Of an example that is made for another kind of job, what it is made for."""
        if "preferred_output" in example or "non_preferred_output" in example:
            return f"fine-tune-preference format, {_not_using('dpo')}"
        messages = example.get("messages")
        if isinstance(messages, list) and _is_for_reinforcement(example, messages):
            return f"fine-tune-reinforcement format, {_not_using('reinforcement')}"
        if self.model.completes_prompts and isinstance(messages, list):
            return f"fine-tune-chat format, but {self._expects('prompts', 'prompt', 'completion')}"
        if not self.model.completes_prompts and example.keys() >= _COMPLETION_KEYS and messages is None:
            return f"fine-tune-completion format, but {self._expects('chat messages', 'messages')}"
        return None

    def _expects(self, what: str, *keys: str) -> str:
        named = " and ".join(f"'{key}'" for key in keys)
        return f"the specified model {self.model.name} learns {what}: it takes lines with {named}."


def _not_using(method: str) -> str:
    return (
        f"but the specified fine-tuning job is not using '{method}' as the training method "
        "(provided method=supervised)."
    )


def _is_for_reinforcement(example: Mapping[str, Any], messages: list[Any]) -> bool:
    """Whether a conversation waits for its answer, and has beside it what a grader would look at."""
    last = messages[-1] if messages else None
    has_items = bool(example.keys() - {"messages", "tools", "functions", "parallel_tool_calls"})
    return has_items and isinstance(last, dict) and last.get("role") in ("user", "developer")
