"""Answers on disk, so that a rerun asks only for the missing ones."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Self

from pydantic import ValidationError

from retune.errors import RunDirectoryError
from retune.evaluation.examples import Answer, EvaluationExample
from retune.private_files import make_private_directory, private_opener


def request_key(request: Mapping[str, object]) -> str:
    """Hex SHA-256 of a whole request: model, messages and sampling settings."""
    text = json.dumps(request, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class AnswersFile:
    """A JSONL file that grows by one line an answer; None keeps nothing.

    A record is one line, written whole and at once. What stands after the last line end is the torn record of a run
    that was killed, and is cut off.

    Raises:
        RunDirectoryError: The file can't be opened, or a whole line of it is not an answer.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stream: IO[bytes] | None = None
        self._known: dict[str, Answer] = {}

    def __enter__(self) -> Self:
        if self._path is not None:
            self._known = _read_records(self._path)
            self._stream = _open_for_appending(self._path)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def find(self, key: str, example: EvaluationExample) -> Answer | None:
        """The answer that an earlier run got to this request, put to this example."""
        known = self._known.get(key)
        if known is None:
            return None
        return known.model_copy(update={"index": example.index, "prompt": example.prompt, "expected": example.expected})

    def append(self, key: str, model: str, answer: Answer) -> None:
        """Keep an answer; it survives the death of the process from here on."""
        if self._stream is None:
            return
        record = {"key": key, "model": model, **answer.model_dump(mode="json")}
        self._stream.write(json.dumps(record, ensure_ascii=True).encode() + b"\n")


def _read_records(path: Path) -> dict[str, Answer]:
    if not path.is_file():
        return {}
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    lines = content[:end].split(b"\n")[:-1]
    records = dict(_parse_record(line, path, number) for number, line in enumerate(lines, start=1))
    if end < len(content):
        os.truncate(path, end)
    return records


def _open_for_appending(path: Path) -> IO[bytes]:
    try:
        make_private_directory(path.parent)
        return open(path, "ab", buffering=0, opener=private_opener)
    except OSError as error:
        raise RunDirectoryError(f"Can't write the answers to {path}: {error.strerror}.") from None


def _parse_record(line: bytes, path: Path, number: int) -> tuple[str, Answer]:
    try:
        record = json.loads(line)
        return str(record.pop("key")), Answer.model_validate(record)
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError):
        found = line[:80].decode("utf-8", "replace")
        raise RunDirectoryError(
            f"{path}, line {number}: expected an answer that an earlier run kept, found {found!r}.",
            hint="Delete the file to ask the models again.",
        ) from None
