"""A job's metrics as one table: from its result files, else from its events and checkpoints."""

import base64
import binascii
import codecs
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from retune.errors import ResultsError
from retune.results.metric_columns import METRICS, SourceMetrics, canonical_name, source_metrics
from retune.training_lines.keys import JsonMapping

_COUNTS = ("step", "elapsed_tokens", "elapsed_examples")


@dataclass(frozen=True, slots=True)
class TrainingMetrics:
    """A job's metrics.

    Attributes:
        table: One row a step, ascending, in column `step` (int); every other column is float, NaN where nothing was
            measured. Losses are in nats a token, accuracies fractions of 1.
        sources: What had a share in it: `result file`, `events`, `checkpoints`, in this order.
        problems: What could not be read, was left out, or was converted; one sentence each.
    """

    table: pd.DataFrame
    sources: tuple[str, ...]
    problems: tuple[str, ...] = ()


def collect_metrics(
    result_files: Sequence[bytes],
    events: Sequence[Mapping[str, object]],
    checkpoints: Sequence[Mapping[str, object]],
) -> TrainingMetrics:
    """Put together what a finished job left.

    The result files come first; what they lack (full validation, as a rule) is filled from the events, and after
    them from the checkpoints. A source that can't be read becomes a problem where there is something else to go by.

    Raises:
        ResultsError: No result file can be read, and neither events nor checkpoints hold metrics.
    """
    sources: list[tuple[str, Callable[[], SourceMetrics]]] = [
        *(("result file", partial(parse_result_file, content)) for content in result_files),
        ("events", partial(metrics_from_events, events)),
        ("checkpoints", partial(metrics_from_checkpoints, checkpoints)),
    ]
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name, _ in sources}
    unreadable: list[ResultsError] = []
    notes: list[str] = []
    for name, read in sources:
        try:
            metrics = read()
        except ResultsError as error:
            unreadable.append(error)
        else:
            tables[name].append(metrics.table)
            notes += metrics.notes
    found = {name: _merge(some) for name, some in tables.items()}
    table = _merge(found.values())
    if table.empty and unreadable:
        raise unreadable[0]
    return TrainingMetrics(table, _contributors(found), (*(error.message for error in unreadable), *notes))


def parse_result_file(content: bytes) -> SourceMetrics:
    """Read a job's result file: CSV, or base64 of it.

    Args:
        content: The file as the API returns it; LF or CRLF, with or without a byte order mark.

    Returns:
        Metrics under the canonical column names; unknown numeric columns are kept. Rows of the same step are merged,
        and so are columns of the same metric.

    Raises:
        ResultsError: It is neither, a cell holds no number, or an accuracy is neither a fraction of 1 nor percent.
    """
    text = _decode(content)
    separator = _separator(text)
    try:
        cells = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ResultsError(f"The result file is not a readable CSV: {' '.join(str(error).split())}") from None
    if not isinstance(cells.index, pd.RangeIndex):
        raise ResultsError("The result file's rows are longer than its header.")
    if separator == ";":  # where spreadsheets separate by it, they write 0,5
        cells = cells.apply(lambda column: column.str.replace(",", "."))
    columns = [(str(name), _numbers(cells[name].fillna(""), str(name))) for name in cells.columns]
    return source_metrics("The result file", columns)


def metrics_from_events(events: Iterable[JsonMapping]) -> SourceMetrics:
    """Read the metrics out of a job's events, given as the API gives them, in any order.

    Raises:
        ResultsError: An accuracy is neither a fraction of 1 nor percent.
    """
    return _from_records("The job's events", (event.get("data") for event in events if event.get("type") == "metrics"))


def metrics_from_checkpoints(checkpoints: Iterable[JsonMapping]) -> SourceMetrics:
    """Read the metrics out of a job's checkpoints, given as the API gives them, in any order.

    Raises:
        ResultsError: An accuracy is neither a fraction of 1 nor percent.
    """
    records = (
        {**(checkpoint.get("metrics") or {}), "step": checkpoint.get("step_number")} for checkpoint in checkpoints
    )
    return _from_records("The job's checkpoints", records)


def _decode(content: bytes) -> str:
    text = _as_text(content)
    if not text:
        raise ResultsError("The result file is empty; expected CSV with a column step.")
    if _separator(text):
        return text
    packed = "".join(text.split())
    try:
        # Some tools leave out the padding.
        decoded = _as_text(base64.b64decode(packed.rstrip("=") + "=" * (-len(packed.rstrip("=")) % 4), validate=True))
    except (binascii.Error, ValueError):
        decoded = ""
    if not _separator(decoded):
        what = _what_it_is(text)
        raise ResultsError(f"The result file must be CSV with a column step, or base64 of it; {what}.")
    return decoded


def _as_text(content: bytes) -> str:
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf16 else "utf-8-sig", "replace").strip()


def _separator(text: str) -> str:
    """What separates the columns, one of which is `step`; empty where there is none of that name."""
    header = text.splitlines()[0] if text else ""
    for separator in (",", ";", "\t"):
        if "step" in [name.strip().strip('"').lower() for name in header.split(separator)]:
            return separator
    return ""


def _what_it_is(text: str) -> str:
    if re.match(r"<(!doctype|html|\?xml)", text, re.IGNORECASE):
        return f"it is a web page that begins with {text[:60]!r}, such as a login or an error"
    first = text.splitlines()[0]
    if "," in first and first.isprintable() and not first.startswith(("{", "[")):
        return f"it has the columns {', '.join(name.strip()[:40] for name in first.split(',')[:12])}"
    return f"it begins with {text[:60]!r}"


def _numbers(cells: "pd.Series[str]", name: str) -> "pd.Series[float]":
    texts = cells.str.strip()
    numbers = pd.to_numeric(texts.where(texts != ""), errors="coerce").astype(float)
    wrong = numbers.isna() & ~texts.str.lower().isin(["", "nan", "none", "null", "-nan"])
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise ResultsError(
            f"The result file's column {name} must hold numbers; its row {row + 1} has {texts.iloc[row][:40]!r}."
        )
    return numbers


def _from_records(source: str, records: Iterable[JsonMapping | None]) -> SourceMetrics:
    wanted = {"step", *METRICS}
    rows = [
        {name: _number(value) for name, value in (record or {}).items() if canonical_name(name) in wanted}
        for record in records
    ]
    table = pd.DataFrame(rows, dtype=float)
    return source_metrics(source, [(str(name), table[name]) for name in table.columns])


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _merge(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    merged = pd.DataFrame({"step": pd.Series(dtype=int)}).set_index("step")
    for table in tables:
        merged = merged.combine_first(table.set_index("step"))
    ordered = [name for name in (*METRICS, *_COUNTS) if name in merged.columns]
    others = [name for name in merged.columns if name not in ordered]
    return merged[[*ordered, *others]].reset_index()


def _contributors(found: Mapping[str, pd.DataFrame]) -> tuple[str, ...]:
    """Name the sources that hold a value which none before them held."""
    names: list[str] = []
    so_far = _merge([])
    for name, table in found.items():
        together = _merge([so_far, table])
        if int(together.notna().sum().sum()) > int(so_far.notna().sum().sum()):
            names.append(name)
        so_far = together
    return tuple(names)
