"""How `retune check` ends: the conclusion, and what to do next."""

import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from retune.cli.check_view import SHOWN_PLACES, show_conclusion
from retune.data.problems.rules import MOST_KEPT_PER_KIND, RULES, Change
from retune.redaction.addresses import source_label

if TYPE_CHECKING:
    from retune.check_result import CheckResult

_REPAIRS: dict[Change, tuple[str, str]] = {
    "empty_system_dropped": ("leave out {} empty system message", "leave out {} empty system messages"),
    "ending_dropped": ("cut {} example after its last answer", "cut {} examples after their last answer"),
    "trimmed": ("trim {} text", "trim {} texts"),
    "duplicate_dropped": ("drop {} duplicate", "drop {} duplicates"),
    "overlap_dropped": ("keep a question in one split", "keep each question in one split"),
}
"""What a repair does about a kind of warning, for one and for several."""

# A repaired file holds conversations alone: no columns to name, or to split by.
_KEPT_FOR_A_REPAIRED_FILE = {
    "split.validation",
    "split.test",
    "split.seed",
    "training.model",
    "training.hyperparameters.n_epochs",
    "training.max_cost_usd",
    "training.ignore_dates",
}

Flags = Mapping[str, list[str]]
"""Flags as they were given, by their setting: {"data.user_column": ["--user-column", "text"]}."""


def show_advice(result: "CheckResult", source: str | None, flags: Flags, own_flags: Flags) -> None:
    """Show the conclusion, and what to do next.

    Args:
        result: What was found.
        source: As it was named; None where the configuration file names it.
        flags: Those of the command that `retune run` takes too.
        own_flags: Those that only `retune check` takes.
    """
    conclusion, style = _conclusion(result)
    advice = [*_next_steps(result, source, flags, own_flags), *_how_to_see_all(result)]
    show_conclusion(conclusion, advice, style=style)


def days_left_if_few(result: "CheckResult") -> int | None:
    """Days until the base model's first end date, if there are few; else None."""
    from retune.data.cost.model_dates import days_left  # noqa: PLC0415 - slow to import; loaded already

    is_near = result.dates is not None and result.dates.is_near(result.today)
    return days_left(result.dates, result.today) if is_near and result.dates else None


def where_to_move(result: "CheckResult") -> str | None:
    """Where to train instead, if the base model ends soon; else None."""
    from retune.data.cost.model_dates import describe_move  # noqa: PLC0415 - as above

    if result.dates is None or not result.dates.is_near(result.today):
        return None
    return describe_move(result.dates, today=result.today)


def _conclusion(result: "CheckResult") -> tuple[str, str]:
    n_errors, n_warnings = result.n_errors, result.n_warnings
    if n_errors:
        return f"{_count(n_errors, 'error')}: a run would stop here, before anything is uploaded.", "bold red"
    if result.refusal is not None:
        first_sentence = result.refusal.message.partition(". ")[0].rstrip(".")
        return f"{first_sentence}. A run would stop here, before anything is uploaded.", "bold red"
    left = days_left_if_few(result)
    soon = "" if left is None else f" The base model's first end date is in {_count(left, 'day')}."
    if n_warnings:
        harmless = (
            f"; {'it does' if n_warnings == 1 else 'they do'} not stop a run" if result.method == "supervised" else ""
        )
        return f"No errors. {_count(n_warnings, 'warning')}{harmless}.{soon}", "bold yellow"
    return (f"Nothing is wrong with the data.{soon}", "bold yellow") if soon else ("Nothing is wrong.", "bold green")


def _next_steps(result: "CheckResult", source: str | None, flags: Flags, own_flags: Flags) -> list[str]:
    advice = []
    *others, last = list(_repairs(result)) or [""]
    repairs = f"{', '.join(others)} and {last}" if others else last
    if repairs and result.fix is None:
        target = f"{source_label(result.source)}.fixed.jsonl"
        command = _command("check", [source] if source else [], {**flags, **own_flags}, ["--fix", target])
        advice.append(f"{repairs[0].upper()}{repairs[1:]}, in a new file: {command}")
    if result.n_errors:
        return [*advice, "Fix the errors, then check again."]
    if result.refusal is not None:
        return [*advice, result.refusal.hint or ""]
    if move := where_to_move(result):
        advice.append(move)
    return [*advice, _how_to_train(result, source, flags)]


def _repairs(result: "CheckResult") -> Iterator[str]:
    counts = {RULES[group.kind].fixed_by: group.count for group in result.groups}
    for change, (one, many) in _REPAIRS.items():
        if count := counts.get(change):
            yield (one if count == 1 else many).format(f"{count:,}")


def _how_to_train(result: "CheckResult", source: str | None, flags: Flags) -> str:
    if result.method != "supervised":
        return f"These examples are for the method {result.method}; `retune run` trains supervised ones."
    if result.fix is None:
        return f"Train on it: {_command('run', ['--data', source] if source else [], flags)}"
    target = str(result.fix.path)
    held_out = {name: str(path) for name, path in result.fix.held_out.items()}
    if "config" in flags:
        named = "".join(f", {path} as data.{name}_source" for name, path in held_out.items())
        advice = f"Train on it: name {target} as the source in {flags['config'][1]}{named}, and no columns."
        if result.fix.split is None:
            return advice
        return f"{advice[:-1]}; in its split leave out method and columns, and set validation and test to 0."
    splits = {f"data.{name}_source": [f"--{name}-data", path] for name, path in held_out.items()}
    kept = {name: words for name, words in flags.items() if name in _KEPT_FOR_A_REPAIRED_FILE}
    if result.fix.split is not None:
        # The held-out examples are in files of their own: no more are drawn.
        kept |= {f"split.{name}": [f"--{name}", "0"] for name in ("validation", "test")}
    return f"Train on it: {_command('run', ['--data', target], {**splits, **kept})}"


def _how_to_see_all(result: "CheckResult") -> list[str]:
    if result.report is not None:
        if any(group.count > MOST_KEPT_PER_KIND for group in result.groups):
            return [f"The first {MOST_KEPT_PER_KIND:,} problems of each kind are in {result.report}."]
        return [f"Every problem is in {result.report}."]
    if any(group.count > SHOWN_PLACES for group in result.groups):
        return ["More of the problems, as JSON: add --report FILE."]
    return []


def _command(name: str, start: list[str], flags: Flags, end: list[str] | None = None) -> str:
    words = [word for words in flags.values() for word in words]
    return shlex.join(["retune", name, *start, *words, *(end or [])])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
