"""Test examples with the answers of both models, as rows of a table that people search and page through."""

import json

from retune.results.report_data import EvaluationReport, ExampleRow, ModelAnswer, Outcome

# Whoever lists artifacts gets the whole of each.
MOST_BYTES = 150_000
_LONGEST_ANSWER, _LONGEST_PROMPT = 100, 300
_VERDICTS: dict[Outcome, str] = {
    "broken": "base only",
    "wrong": "neither",
    "fixed": "fine-tuned only",
    "right": "both",
}


def example_rows(evaluation: EvaluationReport) -> list[dict[str, str]]:
    """As many examples as fit into `MOST_BYTES` of JSON, what went wrong first; every cell is plain, short text.

    The prompt comes last: the Prefect UI wraps no cell, and what is right of a long one has to be scrolled to.
    """
    rows: list[dict[str, str]] = []
    order = list(_VERDICTS)
    size = 0
    for example in sorted(evaluation.examples, key=lambda example: order.index(example.outcome)):
        row = {
            "right?": _VERDICTS[example.outcome],
            "expected": _short(example.expected),
            "fine-tuned": _answer(example.fine_tuned),
            "base": _answer(example.base),
            "prompt": _short(_question(example), _LONGEST_PROMPT),
        }
        size += len(json.dumps(row)) + 2
        if size > MOST_BYTES:
            break
        rows.append(row)
    return rows


def describe_examples(evaluation: EvaluationReport) -> str:
    """What the table shows, as a line above it."""
    shown, n = len(example_rows(evaluation)), evaluation.fine_tuned.n
    which = "All" if shown == n else f"{shown:,} of"
    return f"{which} {n:,} held-out test examples, asked of the base model and of the fine-tuned one."


def _question(example: ExampleRow) -> str:
    return str(example.prompt[-1].get("content") or "") if example.prompt else ""


def _answer(answer: ModelAnswer) -> str:
    return _short(answer.content if answer.content is not None else f"({answer.error})")


def _short(text: str, longest: int = _LONGEST_ANSWER) -> str:
    line = " ".join(text.split())
    # Half of a surrogate pair is not printable, nor is the NUL that PostgreSQL refuses.
    clean = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)
    return clean if len(clean) <= longest else f"{clean[: longest - 1]}…"
