"""Test examples as a table: small, and nothing but text."""

import json

from retune.results.example_table import MOST_BYTES, describe_examples, example_rows
from retune.results.report_data import ReportData


def test_what_went_wrong_comes_first(report: ReportData) -> None:
    assert report.evaluation
    rows = example_rows(report.evaluation)
    verdicts = [row["right?"] for row in rows]
    assert verdicts == sorted(verdicts, key=["base only", "neither", "fine-tuned only", "both"].index)
    assert len(rows) == len(report.evaluation.examples)


def test_a_table_stays_small_and_plain(report: ReportData) -> None:
    assert report.evaluation
    example = report.evaluation.examples[0]
    long = example.model_copy(
        update={
            "prompt": [{"role": "user", "content": "長い\x00\ud800\u202e " * 9_000}],
            "expected": "line\n\tline " * 500,
        }
    )
    evaluation = report.evaluation.model_copy(update={"examples": [long] * 500})
    rows = example_rows(evaluation)
    assert 10 < len(rows) < 500
    assert len(json.dumps(rows)) <= MOST_BYTES
    assert all(cell.isprintable() for row in rows for cell in row.values())
    assert max(len(cell) for row in rows for cell in row.values()) == 300
    assert describe_examples(evaluation).startswith(f"{len(rows):,} of {evaluation.fine_tuned.n:,}")


def test_a_prompt_without_text_is_an_empty_cell(report: ReportData) -> None:
    assert report.evaluation
    example = report.evaluation.examples[0].model_copy(update={"prompt": [{"role": "assistant", "content": None}]})
    (row,) = example_rows(report.evaluation.model_copy(update={"examples": [example]}))
    assert row["prompt"] == ""
