"""The output file and the error file of a batch, made of its results at its end."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from retune.server import ids
from retune.server.batches.journal import Tally, succeeded
from retune.server.files.rules import SPARE_BYTES
from retune.server.storage.content_store import ContentStore, Draft
from retune.server.storage.database import DatabaseUnavailableError


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
            # It may have gone away just after the commit: whether the rows are there will be looked at later.
            for draft in self._drafts.values():
                draft.abandon()
        self._open.__exit__(kind, error, trace)

    def add(self, line: bytes) -> None:
        """Add a result, as the journal has it.

        Raises:
            OSError: The disk is full or failing.
        """
        result = json.loads(line)
        self.tally.add(result)
        name = "output" if succeeded(result) else "error"
        if name not in self._drafts:
            draft = self._contents.new_draft(ids.new_file_id(), spare_bytes=SPARE_BYTES)
            self._drafts[name] = self._open.enter_context(draft)
        self._sizes[name] += self._drafts[name].write(line)

    def keep(self) -> tuple[ResultFile | None, ResultFile | None]:
        """Bring the output file and the error file to disk for good; None for the one that has no results.

        Raises:
            OSError: The disk is full or failing.
        """
        return self._keep("output"), self._keep("error")

    def discard(self) -> None:
        """Drop both files."""
        for draft in self._drafts.values():
            draft.discard()

    def _keep(self, name: str) -> ResultFile | None:
        draft = self._drafts.get(name)
        if draft is None:
            return None
        draft.keep()
        return ResultFile(draft.content_id, f"{self._batch_id}_{name}.jsonl", self._sizes[name])
