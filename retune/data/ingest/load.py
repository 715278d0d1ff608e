"""Reads a source into examples on disk, each analyzed once."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from retune.config import DataConfig, LimitsConfig, ProviderKind, SplitConfig
from retune.data.cost.base_models import completes_prompts
from retune.data.cost.tokens import encoding_for
from retune.data.dataset.columns import AnalyzedBlock
from retune.data.dataset.example_store import ExampleStore
from retune.data.dataset.writer import ExampleWriter
from retune.data.example.example import Method
from retune.data.formats.detect import choose_format
from retune.data.formats.late_keys import LateRows
from retune.data.formats.message_rows.source import put_together
from retune.data.formats.row_format import RowFormat
from retune.data.formats.unused import unused_columns, warn_of_unused
from retune.data.ingest.analyze_texts import analyze_instructions
from retune.data.ingest.plan import Plan, make_problem
from retune.data.ingest.workers import BLOCKS_WITHOUT_PROCESSES, WorkerPool
from retune.data.problems.problems import Problem, problem_at
from retune.data.sources.blocks import BLOCK_BYTES, Source, UnreadFile, describe_location
from retune.data.sources.bounds import check_kept
from retune.data.sources.open import open_source
from retune.errors import SourceError
from retune.redaction.masking import MOST_NAMED

_SPOOL = ".blocks"

Progress = Callable[[int, int | None], None]
"""Called with the bytes of the source that were read, and its size where that is known."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What to find out while reading.

    Attributes:
        model: The base model; it decides the tokenizer.
        method: What the examples are to train; None for whatever their format can train.
        provider: Whose limits they must keep.
        checks: Look for problems.
        counts_tokens: Count tokens.
        processes: How many to use; None for one a core.
        cleans: Leave out of the examples what is not uploaded.
    """

    model: str
    method: Method | None = "supervised"
    provider: ProviderKind = "openai"
    checks: bool = True
    counts_tokens: bool = True
    processes: int | None = None
    cleans: bool = True


def load_examples(
    data: DataConfig,
    split: SplitConfig,
    options: LoadOptions,
    directory: Path,
    *,
    on_progress: Progress = lambda _done, _total: None,
) -> ExampleStore:
    """Read a source, make an example of every row, find out about each, and write it all to `directory`.

    The source is only ever read. After more errors than `data.limits.max_errors` no more of it is read, which is a
    problem of the kind `reading_stopped`: an error, so that no model trains on a part. Where later rows have keys, or
    name splits, that change the format, everything is read a second time with the new format.

    Args:
        data: The source.
        split: Its columns are kept with the examples, and its seed keys the hashes that the stable split goes by.
        options: What to find out.
        directory: New or empty.
        on_progress: Called now and then.

    Raises:
        SourceError: The source can't be read, or is more than the limits allow.
        RunDirectoryError: The directory can't be written.
    """
    progress = _Reading(on_progress)
    source = put_together(open_source(data, progress.read), data)
    sizes = [file.bytes for file in source.files]
    progress.total = None if None in sizes else sum(size or 0 for size in sizes)
    encoding = encoding_for(options.model) if options.counts_tokens else None
    with WorkerPool(directory / _SPOOL, encoding=encoding, processes=options.processes) as workers:
        if progress.total is not None and progress.total > BLOCKS_WITHOUT_PROCESSES * BLOCK_BYTES:
            workers.start()
        plan = _plan_for(source, data, split, options)
        with ExampleWriter(directory) as writer:
            blocks = workers.analyze(source.blocks(), plan)
            late = _write_all(source, blocks, data.limits, writer, progress)
            late.add_to(source)
            better = _plan_for(source, data, split, options) if late else plan
            if better.row_format.reads == plan.row_format.reads:
                return _finish(source, plan, writer)
        progress.start_again()
        with ExampleWriter(directory) as writer:
            _write_all(source, workers.analyze(source.blocks(), better), data.limits, writer, progress)
            return _finish(source, better, writer)


def _write_all(
    source: Source, blocks: Iterable[AnalyzedBlock], limits: LimitsConfig, writer: ExampleWriter, progress: "_Reading"
) -> LateRows:
    """Write the examples of all blocks, up to too many errors.

    Returns:
        Rows with what the first rows, by which the format was chosen, lack.
    """
    late = LateRows()
    for analyzed in blocks:
        writer.append(analyzed)
        late.add(analyzed.late)
        progress.analyzed(analyzed.source_bytes)
        check_kept(source.name, limits, n_examples=writer.n_examples, n_bytes=writer.n_bytes)
        if writer.n_errors > limits.max_errors:
            writer.add_problems([_reading_stopped(source, analyzed, limits.max_errors)])
            return LateRows()
    return late


def _finish(source: Source, plan: Plan, writer: ExampleWriter) -> ExampleStore:
    if plan.checks:
        writer.add_problems(make_problem(plan, file, None, finding) for file, finding in source.notes())
        writer.add_problems(map(_problem_of, source.unread()))
        writer.add_problems(problem_at("the system prompt", *finding) for finding in analyze_instructions(plan))
    unused = _say_what_is_unused(source, plan, writer)
    return writer.finish(plan.facts(source.name, row_numbers=source.row_numbers(), unused=unused))


class _Reading:
    """Says how far the reading is: until there are examples by what was read, then by what became of it.

    Attributes:
        total: Bytes of the source, where that is known.
    """

    def __init__(self, on_progress: Progress) -> None:
        self._on_progress = on_progress
        self._done = 0
        self.total: int | None = None

    def read(self, n_bytes: int) -> None:
        """This many bytes were read."""
        self._on_progress(self._done or (n_bytes if self.total is None else min(n_bytes, self.total)), self.total)

    def start_again(self) -> None:
        """All is read another time."""
        self._done = 0

    def analyzed(self, n_bytes: int) -> None:
        """This many more bytes are examples now."""
        self._done += n_bytes
        self._on_progress(self._done, self.total)


def _reading_stopped(source: Source, last: AnalyzedBlock, limit: int) -> Problem:
    file, number = int(last.columns["file"][-1]), int(last.columns["number"][-1])
    place = describe_location(source.files, file, number)
    text = f"more than {limit:,} errors up to {place}. What comes after it was not read, and is not in this report."
    return problem_at(source.name, "reading_stopped", text)


def _say_what_is_unused(source: Source, plan: Plan, writer: ExampleWriter) -> list[str]:
    """Name the columns and keys that reach no example, and warn of those that seem to mean something."""
    columns = list(dict.fromkeys((*unused_columns(source, plan.row_format), *writer.other_keys)))
    if plan.checks:
        findings = (
            *plan.row_format.remarks,
            *warn_of_unused(columns[:MOST_NAMED], plan.row_format, source.first_rows()),
        )
        writer.add_problems(problem_at(source.name, *finding) for finding in findings)
    return columns[:MOST_NAMED]


def _problem_of(file: UnreadFile) -> Problem:
    kind = "file_not_read" if file.may_hold_examples else "other_file"
    return problem_at(file.name, kind, f"not read: {file.reason}.", file=file.name)


def find_format(source: Source, data: DataConfig, split: SplitConfig, method: Method | None) -> RowFormat:
    """Choose the format of a source's rows; see `choose_format`.

    Raises:
        SourceError: None fits; where that may be for want of a header line, the hint says so.
    """
    try:
        return choose_format(source, data, split, method)
    except SourceError as error:
        if (doubt := source.header_doubt()) is None:
            raise
        # What the error advises names columns, and these would be an example's texts.
        hint = f"Its first row may be an example: {doubt}. If the file has no header line, use --no-header."
        named = "If it has one, name the columns: --user-column NAME --assistant-column NAME."
        raise SourceError(error.message, hint=f"{hint} {named}") from None


def _plan_for(source: Source, data: DataConfig, split: SplitConfig, options: LoadOptions) -> Plan:
    row_format = find_format(source, data, split, options.method)
    is_completion = completes_prompts(options.model) and row_format.method == "supervised"
    if is_completion:
        row_format = row_format.verbatim()
    return Plan(
        files=tuple(source.files),
        row_format=row_format,
        method=row_format.method,
        provider=options.provider,
        encoding=encoding_for(options.model),
        split=split,
        checks=options.checks,
        counts_tokens=options.counts_tokens,
        completes_prompts=is_completion,
        cleans=options.cleans,
    )
