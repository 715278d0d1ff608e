"""Columns of metrics, however a provider spells and scales them, made one table with one row a step."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

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
# What is drawn on an axis of percent. No job that people keep has an accuracy of 1.5 percent at most.
_FRACTIONS = re.compile(r"(train|valid|full_valid)_\w*accuracy|classification/.+")
_LOWEST_PERCENT = 1.5
_ROUNDING = 1e-6
_LARGEST_STEP = 2**53


@dataclass(frozen=True, slots=True)
class SourceMetrics:
    """The metrics that one source holds.

    Attributes:
        table: As in `TrainingMetrics.table`; columns without any value are not in it.
        notes: What was left out or converted, one sentence each.
        unmeasured: Canonical names of the columns without any value.
    """

    table: pd.DataFrame
    notes: tuple[str, ...] = ()
    unmeasured: tuple[str, ...] = ()


def canonical_name(name: str) -> str:
    """Today's name of a column, in whichever spelling a provider wrote it."""
    plain = name.strip().lower()
    return _SPELLINGS.get(plain, plain)


def source_metrics(source: str, columns: Iterable[tuple[str, "pd.Series[float]"]]) -> SourceMetrics:
    """Bring columns into the form of `TrainingMetrics.table`.

    Args:
        source: What they were read from; notes and errors begin with it.
        columns: Each under the name that the source has for it, all of one length.

    Raises:
        ResultsError: An accuracy is neither a fraction of 1 nor percent.
    """
    notes: list[str] = []
    merged: dict[str, tuple[str, pd.Series[float]]] = {}
    for spelling, values in columns:
        name = canonical_name(spelling)
        measured = _measured(source, spelling, values, notes)
        if name in merged:
            first_spelling, first = merged[name]
            _note_differences(source, (first_spelling, first), (spelling, measured), notes)
            merged[name] = (first_spelling, first.fillna(measured))
        else:
            merged[name] = (spelling, measured)
    if "step" not in merged:
        return SourceMetrics(pd.DataFrame({"step": pd.Series(dtype=int)}))
    table = pd.DataFrame({name: values for name, (_, values) in merged.items()})
    table = _one_row_a_step(source, _with_a_step(source, table, notes), notes)
    unmeasured = tuple(str(name) for name in table.columns if len(table) and table[name].isna().all())
    return SourceMetrics(table.drop(columns=list(unmeasured)), tuple(notes), unmeasured)


def _measured(source: str, spelling: str, values: "pd.Series[float]", notes: list[str]) -> "pd.Series[float]":
    """Keep what can have been measured; accuracies and scores become fractions of 1."""
    name = canonical_name(spelling)
    infinite = values.isin([math.inf, -math.inf])
    if infinite.any() and name != "step":
        notes.append(f"{source}: {_counted(infinite, 'infinite value')} of {spelling} left out.")
    values = values.where(~infinite)
    if _NEVER_NEGATIVE.fullmatch(name):
        values = values.where(values != -1)
    return _as_fractions(source, spelling, values, notes) if _FRACTIONS.fullmatch(name) else values


def _as_fractions(source: str, spelling: str, values: "pd.Series[float]", notes: list[str]) -> "pd.Series[float]":
    highest = values.max()
    is_percent = highest > _LOWEST_PERCENT
    wrong = (values < 0) | (values > (100 if is_percent else 1) + _ROUNDING)
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise ResultsError(
            f"{source}: {spelling} must hold fractions of 1, or percent from 0 to 100; "
            f"row {row + 1} has {values.iloc[row]:g}."
        )
    if is_percent:
        notes.append(f"{source}: {spelling} is in percent (up to {highest:g}); its values were divided by 100.")
    return values / 100 if is_percent else values


def _note_differences(
    source: str,
    first: tuple[str, "pd.Series[float]"],
    second: tuple[str, "pd.Series[float]"],
    notes: list[str],
) -> None:
    (name, kept), (other_name, others) = first, second
    differ = kept.notna() & others.notna() & (kept != others)
    if differ.any():
        row = int(differ.to_numpy().argmax())
        notes.append(
            f"{source}: {name} and {other_name} are the same metric and differ in {_counted(differ, 'row')}, first in "
            f"row {row + 1} ({kept.iloc[row]:g} and {others.iloc[row]:g}); there {name} is kept and {other_name} "
            "left out."
        )


def _with_a_step(source: str, table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    has_step = table["step"].between(0, _LARGEST_STEP) & (table["step"] % 1 == 0)
    lost = ~has_step & table.drop(columns="step").notna().any(axis="columns")
    if lost.any():
        notes.append(
            f"{source}: {_counted(lost, 'row')} of {len(table):,} left out, first row {lost.to_numpy().argmax() + 1}: "
            "step must be a whole number, 0 or more."
        )
    return table[has_step].astype({"step": int})


def _one_row_a_step(source: str, table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Merge the rows of a step: some tools write training and validation in rows of their own."""
    repeated = table[table["step"].duplicated(keep=False)]
    n_values = repeated.groupby("step").nunique()
    for name in n_values.columns:
        differ = n_values[name] > 1
        if differ.any():
            step = int(n_values.index[differ.to_numpy().argmax()])
            values = repeated.loc[repeated["step"] == step, name].dropna()
            notes.append(
                f"{source}: {name} has several values in {_counted(differ, 'step')}, first in step {step} "
                f"({values.iloc[0]:g}, {'…, ' if len(values) > 2 else ''}{values.iloc[-1]:g}); the last one is kept."
            )
    return table.groupby("step", as_index=False).last()


def _counted(which: "pd.Series[bool]", noun: str) -> str:
    count = int(which.sum())
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
