"""Checks of training files, made after a job was accepted: every line must be an example that the model can learn."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from retune.server.json_input import TOO_LONG, input_lines, is_too_long, parse_json
from retune.training_lines.keys import COMPLETION_KEYS, EXAMPLE_KEYS, MINIMUM_EXAMPLES, JsonMapping
from retune.training_lines.problems import chat_problems, completion_problems, name_type

_SHOWN_LINES = 10
"""At most this many wrong lines are named; the others are counted."""

_MOST_WRONG_LINES = 100_000
"""After so many wrong lines no more are checked: a file may have hundreds of millions."""

_SHOWN_CHARACTERS = 20


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
        ReadingStoppedError: `should_stop` returned true.
    """
    count = _FileCheck(path, "training", file_id, model).run(should_stop)
    if count < MINIMUM_EXAMPLES:
        raise InvalidFileError(
            "invalid_n_examples",
            f"Training file has {count} example(s), but must have at least {MINIMUM_EXAMPLES} examples",
            "training_file",
        )
    return count


def check_validation_file(path: Path, should_stop: Callable[[], bool], *, file_id: str, model: LearningModel) -> None:
    """Check a validation file.

    Raises:
        InvalidFileError: A line is wrong, or there is none.
        ReadingStoppedError: `should_stop` returned true.
    """
    check = _FileCheck(path, "validation", file_id, model)
    if check.run(should_stop) == 0:
        raise check.invalid(": it holds no examples.")


def count_long_examples(path: Path, should_stop: Callable[[], bool], *, context_characters: int) -> int:
    """Count the examples of a checked file that have more characters than a trainer reads of one.

    Raises:
        ReadingStoppedError: `should_stop` returned true.
    """
    long_lines = (line for _, line in input_lines(path, should_stop) if len(line) > context_characters)
    return sum(_n_characters(parse_json(line)) > context_characters for line in long_lines)


def _n_characters(example: JsonMapping) -> int:
    texts = [example.get("prompt"), example.get("completion")]
    for message in example.get("messages") or ():
        content = message.get("content")
        parts = content if isinstance(content, list) else [content]
        texts += [part.get("text") if isinstance(part, dict) else part for part in parts]
    return sum(len(text) for text in texts if isinstance(text, str))


@dataclass(slots=True)
class _FileCheck:
    path: Path
    kind: str
    file_id: str
    model: LearningModel
    wrong: list[str] = field(default_factory=list)
    n_wrong: int = 0
    other_format: str | None = None
    lines_of_other_format: list[int] = field(default_factory=list)
    n_of_other_format: int = 0
    stopped_at: int | None = None

    def run(self, should_stop: Callable[[], bool]) -> int:
        """Check every line, and count those that are not blank; after 100,000 wrong ones it stops."""
        count = 0
        try:
            for number, line in input_lines(self.path, should_stop):
                count += self._check_line(line, number)
                if self.n_wrong + self.n_of_other_format >= _MOST_WRONG_LINES:
                    self.stopped_at = number
                    break
        except OSError as error:
            raise self.invalid(f": the server can't read it ({error.strerror}).") from error
        if self.n_of_other_format or self.n_wrong:
            raise self.invalid(self._describe())
        return count

    def invalid(self, reason: str) -> InvalidFileError:
        """The error, as the API words it."""
        message = f"The job failed due to an invalid {self.kind} file. Invalid file format{reason}"
        return InvalidFileError(f"invalid_{self.kind}_file", message, f"{self.kind}_file")

    def _describe(self) -> str:
        reason = ""
        if self.n_of_other_format:
            # The recorded words, and after them what they leave open.
            reason = f". Input file {self.file_id} is in the {self.other_format} {self._name_lines()}"
        if self.n_wrong:
            more = self.n_wrong - len(self.wrong)
            total = f" {self.n_wrong:,} lines are wrong:" if self.n_wrong > 1 else ""
            reason += f"{'' if reason else ':'}{total} {'; '.join(self.wrong)}{f'; and {more:,} more' if more else ''}."
        if self.stopped_at is not None:
            reason += f" Lines after line {self.stopped_at:,} were not checked."
        return reason

    def _name_lines(self) -> str:
        lines, more = self.lines_of_other_format, self.n_of_other_format - len(self.lines_of_other_format)
        if self.n_of_other_format == 1:
            return f"The first such line is line {lines[0]}."
        named = ", ".join(map(str, lines))
        return f"{self.n_of_other_format:,} lines are: {named}{f' and {more:,} more' if more else ''}."

    def _check_line(self, line: bytes, number: int) -> bool:
        """Check one line; False for one that is blank."""
        where = f"line {number}"
        if is_too_long(line):
            # There may be no end to it.
            self._add(f"{where}: {TOO_LONG}")
            raise self.invalid(self._describe())
        try:
            if not line.decode().strip():
                return False
            example = parse_json(line.rstrip(b"\r\n"))
        except UnicodeDecodeError as error:
            column = len(error.object[: error.start].decode()) + 1
            problem = f"{where}, column {column}: expected UTF-8 text, found the byte 0x{error.object[error.start]:02x}"
            self._add(problem)
        except json.JSONDecodeError as error:
            rest = error.doc[error.pos : error.pos + _SHOWN_CHARACTERS].strip()
            found = repr(rest) if rest else "the line's end"
            problem = f"expected a JSON object, but this is not valid JSON ({error.msg}); found {found}"
            self._add(f"{where}, column {error.colno}: {problem}")
        except RecursionError:
            self._add(f"{where}: expected a JSON object, but this is not valid JSON (nested too deeply)")
        except ValueError as error:
            self._add(f"{where}: {error}")
        else:
            self._check_example(example, number)
        return True

    def _check_example(self, example: object, number: int) -> None:
        if not isinstance(example, dict):
            self._add(f"line {number}: expected a JSON object, found {name_type(example)}")
            return
        find_problems = completion_problems if self.model.completes_prompts else chat_problems
        problem = next(find_problems(example), None)
        if problem is None:
            return
        other = self._other_format(example)
        if other is None or self.other_format not in (None, other):
            self._add(f"line {number}: {problem}")
            return
        self.other_format = other
        self.n_of_other_format += 1
        if len(self.lines_of_other_format) < _SHOWN_LINES:
            self.lines_of_other_format.append(number)

    def _add(self, problem: str) -> None:
        self.n_wrong += 1
        if len(self.wrong) < _SHOWN_LINES:
            self.wrong.append(problem)

    def _other_format(self, example: Mapping[str, object]) -> str | None:
        """Of an example that is made for another kind of job, what it is made for."""
        if "preferred_output" in example or "non_preferred_output" in example:
            return f"fine-tune-preference format, {_not_using('dpo')}"
        messages = example.get("messages")
        if isinstance(messages, list) and _is_for_reinforcement(example, messages):
            return f"fine-tune-reinforcement format, {_not_using('reinforcement')}"
        if self.model.completes_prompts and isinstance(messages, list):
            return f"fine-tune-chat format, but {self._expects('prompts', 'prompt', 'completion')}"
        if not self.model.completes_prompts and example.keys() >= set(COMPLETION_KEYS) and messages is None:
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


def _is_for_reinforcement(example: Mapping[str, object], messages: list[object]) -> bool:
    """Whether a conversation ends before its answer, and has fields in addition that a grader would read."""
    last = messages[-1] if messages else None
    has_items = bool(example.keys() - set(EXAMPLE_KEYS))
    return has_items and isinstance(last, dict) and last.get("role") in ("user", "developer")
