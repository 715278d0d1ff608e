"""The results of a batch: a journal while it runs, then its output file and its error file.

The journal has a line for each request, in the order of the requests. That order is enough: after a restart, as many
requests are answered as there are whole lines.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict, cast

from retune.server import ids
from retune.server.batches.requests import BatchRequest
from retune.server.files.rules import SPARE_BYTES
from retune.server.storage.content_store import ContentStore, Draft, sync_to_disk
from retune.server.storage.database import DatabaseUnavailableError
from retune.training_lines.keys import JsonMapping


class ResultResponse(TypedDict):
    """The answer to a request of a batch."""

    status_code: int
    request_id: str
    body: JsonMapping


class ResultError(TypedDict):
    """Why a request of a batch was not answered."""

    code: str
    message: str


class BatchResult(TypedDict):
    """A line of the output file or of the error file."""

    id: str
    custom_id: str
    response: ResultResponse | None
    error: ResultError | None


class BatchUsage(TypedDict):
    """The Batch object's usage."""

    input_tokens: int
    input_tokens_details: dict[str, int]
    output_tokens: int
    output_tokens_details: dict[str, int]
    total_tokens: int


@dataclass(slots=True)
class Tally:
    """Counts over the results of a batch. A result that is not a completion is a failure."""

    completed: int = 0
    failed: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def add(self, result: BatchResult) -> None:
        """Count one more result."""
        response = result["response"]
        if response is None or not succeeded(result):
            self.failed += 1
            return
        self.completed += 1
        usage = response["body"].get("usage") or {}
        # Responses have other names for it than completions.
        self.input_tokens += usage.get("prompt_tokens", usage.get("input_tokens", 0))
        self.output_tokens += usage.get("completion_tokens", usage.get("output_tokens", 0))
        details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
        self.cached_tokens += details.get("cached_tokens", 0)
        details = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
        self.reasoning_tokens += details.get("reasoning_tokens", 0)

    @property
    def answered(self) -> int:
        """How many results there are."""
        return self.completed + self.failed

    def usage(self) -> BatchUsage:
        """The Batch object's usage."""
        return {
            "input_tokens": self.input_tokens,
            "input_tokens_details": {"cached_tokens": self.cached_tokens},
            "output_tokens": self.output_tokens,
            "output_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
            "total_tokens": self.input_tokens + self.output_tokens,
        }


def succeeded(result: BatchResult) -> bool:
    """Whether a result belongs in the output file, not the error file."""
    response = result["response"]
    return response is not None and response["status_code"] == 200


def result_line(result: BatchResult) -> bytes:
    """A result as one line of the files; in ASCII, as an id may contain unpaired surrogates."""
    return json.dumps(result, separators=(",", ":")).encode("ascii") + b"\n"


class Journal:
    """The journal of one batch, open for more results.

    A result that `append` took survives the end of the process, and after `sync` the end of the machine.
    """

    def __init__(self, path: Path, requests: Iterable[BatchRequest]) -> None:
        self._path = path
        self._stream = path.open("ab", buffering=0)
        try:
            self.tally = self._recover(requests)
            sync_to_disk(path.parent)
        except BaseException:
            self._stream.close()
            raise

    def append(self, result: BatchResult) -> None:
        """Append a request's result.

        Raises:
            OSError: The disk is full or failing; a part of the line may be there, which the next opening drops.
        """
        rest = memoryview(result_line(result))
        while rest:
            rest = rest[self._stream.write(rest) :]
        self.tally.add(result)

    def sync(self) -> None:
        """Flush all results to the disk."""
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    @property
    def size(self) -> int:
        """Bytes of all results."""
        return self._path.stat().st_size

    def lines(self) -> Iterator[bytes]:
        """All results, as the lines of the file."""
        with self._path.open("rb") as lines:
            yield from lines

    def _recover(self, requests: Iterable[BatchRequest]) -> Tally:
        """Keep the lines that answer the first requests one by one, and cut off what a crash left after them."""
        tally, end = Tally(), 0
        for line, request in zip(self.lines(), requests, strict=False):
            result = _whole_result(line)
            if result is None or result.get("custom_id") != request.custom_id:
                break
            tally.add(result)
            end += len(line)
        self._stream.truncate(end)
        self.sync()
        return tally


def _whole_result(line: bytes) -> BatchResult | None:
    if not line.endswith(b"\n"):
        return None
    try:
        result = json.loads(line)
    except ValueError:
        return None
    # The journal is this server's own.
    return cast("BatchResult", result) if isinstance(result, dict) else None


@dataclass(frozen=True, slots=True)
class ResultFile:
    """An output or error file whose bytes are in the content store."""

    file_id: str
    filename: str
    size: int


class ResultFiles:
    """Sorts results into an output and an error file; one that would be empty is not made.

    As a context manager it leaves the files in the content store where the block ends well, and drops them where it
    raises.

    Attributes:
        tally: Counts over all results so far.
    """

    def __init__(self, contents: ContentStore, batch_id: str) -> None:
        self.tally = Tally()
        self._contents = contents
        self._batch_id = batch_id
        self._drafts: dict[str, Draft] = {}
        self._sizes = {"output": 0, "error": 0}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, DatabaseUnavailableError):
            # It may have gone away just after the commit: retention checks later whether the rows exist.
            for draft in self._drafts.values():
                draft.abandon()
        self._open.__exit__(kind, error, trace)

    def add(self, line: bytes) -> None:
        """Add a result: a line of the journal.

        Raises:
            OSError: The disk is full or failing.
        """
        result = json.loads(line)
        self.tally.add(result)
        name = "output" if succeeded(result) else "error"
        if name not in self._drafts:
            draft = self._contents.new_draft(ids.new_id("file-"), spare_bytes=SPARE_BYTES)
            self._drafts[name] = self._open.enter_context(draft)
        self._sizes[name] += self._drafts[name].write(line)

    def keep(self) -> tuple[ResultFile | None, ResultFile | None]:
        """Store the output file and the error file durably; None for the one without results.

        Raises:
            OSError: The disk is full or failing.
        """
        return self._keep("output"), self._keep("error")

    def discard(self) -> None:
        """Delete both files."""
        for draft in self._drafts.values():
            draft.discard()

    def _keep(self, name: str) -> ResultFile | None:
        draft = self._drafts.get(name)
        if draft is None:
            return None
        draft.keep()
        return ResultFile(draft.content_id, f"{self._batch_id}_{name}.jsonl", self._sizes[name])
