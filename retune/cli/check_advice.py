"""How `retune check` ends: the verdict, and what to do next."""

import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from retune.cli.check_view import SHOWN_PLACES, show_conclusion
from retune.data.rules import MOST_KEPT_PER_KIND, RULES, Change
from retune.source_address import source_label

if TYPE_CHECKING:
    from retune.check_source import Checked

_REPAIRS: dict[Change, tuple[str, str]] = {
    "empty_system_dropped": ("leave out {} empty system message", "leave out {} empty system messages"),
    "ending_dropped": ("cut {} example after its last answer", "cut {} examples after their last answer"),
    "trimmed": ("trim {} text", "trim {} texts"),
    "duplicate_dropped": ("drop {} duplicate", "drop {} duplicates"),
    "overlap_dropped": ("keep a question in one split", "keep each question in one split"),
}
"""What a repair does to what the checks warn of, for one and for more."""

# A repaired file holds conversations alone: no columns to name, or to split by.
_KEPT_FOR_A_REPAIRED_FILE = {"validation", "test", "split_seed", "model", "n_epochs", "max_cost_usd", "ignore_dates"}

Flags = Mapping[str, list[str]]
"""Flags as they were given, by their parameters' names: {"user_column": ["--user-column", "text"]}."""


def show_advice(checked: "Checked", source: str | None, flags: Flags, own_flags: Flags) -> None:
    """Show how it came out, and what to do next.

    Args:
        checked: What was found.
        source: As it was named; None where the configuration file names it.
        flags: Those of the command that `retune run` takes too.
        own_flags: Those that only `retune check` takes.
    """
    verdict, style = _verdict(checked)
    advice = [*_how_to_go_on(checked, source, flags, own_flags), *_how_to_see_all(checked)]
    show_conclusion(verdict, advice, style=style)


def _verdict(checked: "Checked") -> tuple[str, str]:
    n_errors, n_warnings = checked.report.n_errors, checked.report.n_warnings
    if n_errors:
        return f"{_count(n_errors, 'error')}: a run would stop here, before anything is uploaded.", "bold red"
    if checked.refusal is not None:
        first_sentence = checked.refusal.message.partition(". ")[0].rstrip(".")
        return f"{first_sentence}. A run would stop here, before anything is uploaded.", "bold red"
    left = checked.days_left
    soon = "" if left is None else f" The base model's first end date is in {_count(left, 'day')}."
    if n_warnings:
        goes_on = ", which a run goes on with" if checked.report.method == "supervised" else ""
        return f"No errors. {_count(n_warnings, 'warning')}{goes_on}.{soon}", "bold yellow"
    return (f"Nothing is wrong with the data.{soon}", "bold yellow") if soon else ("Nothing is wrong.", "bold green")


def _how_to_go_on(checked: "Checked", source: str | None, flags: Flags, own_flags: Flags) -> list[str]:
    advice = []
    *others, last = list(_repairs(checked)) or [""]
    repairs = f"{', '.join(others)} and {last}" if others else last
    if repairs and checked.repaired is None:
        target = f"{source_label(checked.report.source)}.fixed.jsonl"
        command = _command("check", [source] if source else [], {**flags, **own_flags}, ["--fix", target])
        advice.append(f"{repairs[0].upper()}{repairs[1:]}, in a new file: {command}")
    if checked.report.n_errors:
        return [*advice, "Fix the errors, then check again."]
    if checked.refusal is not None:
        return [*advice, checked.refusal.hint or ""]
    if checked.move is not None:
        advice.append(checked.move)
    return [*advice, _how_to_train(checked, source, flags)]


def _repairs(checked: "Checked") -> Iterator[str]:
    counts = {RULES[group.kind].fixed_by: group.count for group in checked.report.groups}
    for change, (one, many) in _REPAIRS.items():
        if count := counts.get(change):
            yield (one if count == 1 else many).format(f"{count:,}")


def _how_to_train(checked: "Checked", source: str | None, flags: Flags) -> str:
    if checked.report.method != "supervised":
        return f"These examples are for the method {checked.report.method}; `retune run` trains supervised ones."
    if checked.repaired is None:
        return f"Train on it: {_command('run', ['--data', source] if source else [], flags)}"
    target = str(checked.repaired.path)
    held_out = {name: str(path) for name, path in checked.repaired.held_out.items()}
    if "config" in flags:
        named = "".join(f", {path} as data.{name}_source" for name, path in held_out.items())
        advice = f"Train on it: name {target} as the source in {flags['config'][1]}{named}, and no columns."
        if checked.split is None:
            return advice
        return f"{advice[:-1]}; in its split leave out method and columns, and set validation and test to 0."
    splits = {f"{name}_data": [f"--{name}-data", path] for name, path in held_out.items()}
    kept = {name: words for name, words in flags.items() if name in _KEPT_FOR_A_REPAIRED_FILE}
    if checked.split is not None:
        # What is held out is in files of its own: nothing is drawn beside it.
        kept |= {name: [f"--{name}", "0"] for name in ("validation", "test")}
    return f"Train on it: {_command('run', ['--data', target], {**splits, **kept})}"


def _how_to_see_all(checked: "Checked") -> list[str]:
    if checked.report_path is not None:
        if any(group.count > MOST_KEPT_PER_KIND for group in checked.report.groups):
            return [f"The first {MOST_KEPT_PER_KIND:,} problems of each kind are in {checked.report_path}."]
        return [f"Every problem is in {checked.report_path}."]
    if any(group.count > SHOWN_PLACES for group in checked.report.groups):
        return ["More of the problems, as JSON: add --report FILE."]
    return []


def _command(name: str, start: list[str], flags: Flags, end: list[str] | None = None) -> str:
    words = [word for words in flags.values() for word in words]
    return shlex.join(["retune", name, *start, *words, *(end or [])])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
