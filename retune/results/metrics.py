"""A job's metrics as one table: from its result files, else from its events and checkpoints."""

import base64
import binascii
import codecs
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from retune.errors import ResultsError

METRICS = (
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
)

# Left: the spellings of OpenAI's current and legacy files, and of Azure's. Right: those of events and checkpoints.
_SPELLINGS = {
    "train_accuracy": "train_mean_token_accuracy",
    "training_loss": "train_loss",
    "training_accuracy": "train_mean_token_accuracy",
    "training_token_accuracy": "train_mean_token_accuracy",
    "training_mean_token_accuracy": "train_mean_token_accuracy",
    "training_sequence_accuracy": "train_sequence_accuracy",
    "valid_accuracy": "valid_mean_token_accuracy",
    "validation_loss": "valid_loss",
    "validation_accuracy": "valid_mean_token_accuracy",
    "validation_token_accuracy": "valid_mean_token_accuracy",
    "validation_mean_token_accuracy": "valid_mean_token_accuracy",
    "validation_sequence_accuracy": "valid_sequence_accuracy",
    "full_validation_loss": "full_valid_loss",
    "full_validation_mean_token_accuracy": "full_valid_mean_token_accuracy",
}
# Losses, accuracies and the classification scores are never negative, so -1 there can only mean that nothing was
# measured. The rewards of reinforcement fine-tuning can be -1, so other columns are left as they are.
_NEVER_NEGATIVE = re.compile(r"(train|valid|full_valid)_(loss|\w*accuracy)|classification/.+")
_LARGEST_STEP = 2**53
_COUNTS = ("step", "elapsed_tokens", "elapsed_examples")


@dataclass(frozen=True, slots=True)
class TrainingMetrics:
    """A job's metrics.

    Attributes:
        table: One row a step, ascending, in column `step` (int); every other column is float, NaN where nothing was
            measured. Losses are in nats a token, accuracies fractions of 1.
        sources: What had a share in it: `result file`, `events`, `checkpoints`, in this order.
        problems: Result files that could not be read, one sentence each.
    """

    table: pd.DataFrame
    sources: tuple[str, ...]
    problems: tuple[str, ...] = ()


def collect_metrics(
    result_files: Sequence[bytes],
    events: Sequence[Mapping[str, Any]],
    checkpoints: Sequence[Mapping[str, Any]],
) -> TrainingMetrics:
    """Put together what a finished job left.

    The result files come first; what they lack (full validation, as a rule) is filled from the events, and after
    them from the checkpoints. A file that can't be read becomes a problem where there is something else to go by.

    Raises:
        ResultsError: No result file can be read, and neither events nor checkpoints hold metrics.
    """
    tables: list[pd.DataFrame] = []
    unreadable: list[ResultsError] = []
    for content in result_files:
        try:
            tables.append(parse_result_file(content))
        except ResultsError as error:
            unreadable.append(error)
    found = {
        "result file": _merge(tables),
        "events": metrics_from_events(events),
        "checkpoints": metrics_from_checkpoints(checkpoints),
    }
    table = _merge(found.values())
    if table.empty and unreadable:
        raise unreadable[0]
    return TrainingMetrics(table, _contributors(found), tuple(error.message for error in unreadable))


def parse_result_file(content: bytes) -> pd.DataFrame:
    """Read a job's result file: CSV, or base64 of it.

    Args:
        content: The file as the API returns it; LF or CRLF, with or without a byte order mark.

    Returns:
        A table as in `TrainingMetrics`, under the canonical column names; unknown numeric columns are kept.

    Raises:
        ResultsError: It is neither, or a cell holds no number.
    """
    text = _decode(content)
    separator = _separator(text)
    try:
        cells = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ResultsError(f"The result file is no readable CSV: {' '.join(str(error).split())}") from None
    if not isinstance(cells.index, pd.RangeIndex):
        raise ResultsError("The result file's rows are longer than its header.")
    cells.columns = [_canonical_name(str(name)) for name in cells.columns]
    cells = cells.loc[:, ~cells.columns.duplicated()]
    if separator == ";":  # where spreadsheets separate by it, they write 0,5
        cells = cells.apply(lambda column: column.str.replace(",", "."))
    return _tidy(pd.DataFrame({str(name): _numbers(cells[name].fillna(""), str(name)) for name in cells.columns}))


def metrics_from_events(events: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Read the metrics out of a job's events, given as the API gives them, in any order."""
    return _from_records(event.get("data") for event in events if event.get("type") == "metrics")


def metrics_from_checkpoints(checkpoints: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Read the metrics out of a job's checkpoints, given as the API gives them, in any order."""
    return _from_records(
        {**(checkpoint.get("metrics") or {}), "step": checkpoint.get("step_number")} for checkpoint in checkpoints
    )


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


def _canonical_name(name: str) -> str:
    plain = name.strip().lower()
    return _SPELLINGS.get(plain, plain)


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


def _from_records(records: Iterable[Mapping[str, Any] | None]) -> pd.DataFrame:
    rows = []
    for record in records:
        named = {_canonical_name(name): _number(value) for name, value in (record or {}).items()}
        rows.append({name: named.get(name) for name in ("step", *METRICS)})
    return _tidy(pd.DataFrame(rows, dtype=float))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _tidy(table: pd.DataFrame) -> pd.DataFrame:
    if "step" not in table.columns:
        return pd.DataFrame({"step": pd.Series(dtype=int)})
    table = table.replace([math.inf, -math.inf], math.nan)
    table = table[table["step"].between(0, _LARGEST_STEP)]
    for name in table.columns:
        if _NEVER_NEGATIVE.fullmatch(str(name)):
            table[name] = table[name].where(table[name] != -1)
    table = table.astype({"step": int}).drop_duplicates("step", keep="last").sort_values("step", ignore_index=True)
    return table.dropna(axis="columns", how="all") if len(table) else table


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
