"""Result files of every spelling, and what stands in for them."""

import base64
import math
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.errors import ResultsError
from retune.results.metrics import (
    collect_metrics,
    metrics_from_checkpoints,
    metrics_from_events,
    parse_result_file,
)

CURRENT = b"""step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy
1,3.63265,0.5,,
2,2.45992,0.80952,,
3,2.77812,0.80952,3.14,0.25
"""
LEGACY = (
    b"step,elapsed_tokens,elapsed_examples,training_loss,training_sequence_accuracy,training_token_accuracy,"
    b"validation_loss,validation_sequence_accuracy,validation_token_accuracy,"
    b"classification/accuracy,classification/weighted_f1_score\r\n"
    b"1,25,1,0.35,0.0,0.5,0.36,-1,-1.0,,\r\n"
    b"2,50,2,0.31,1.0,1.0,,,,0.75,0.7\r\n"
    b"\r\n"
)
AZURE = (
    b"step,train_loss,train_mean_token_accuracy,valid_loss,validation_mean_token_accuracy,full_valid_loss,"
    b"full_valid_mean_token_accuracy\n1,0.5,0.6,0.7,0.8,-1,-1\n2,0.4,0.7,-1.0,-1,0.55,0.9\n"
)


def event(step: int | None = None, *, kind: str = "metrics", **data: Any) -> dict[str, Any]:
    values = {"step": step, "total_steps": 3, **data} if step is not None else None
    return {"object": "fine_tuning.job.event", "id": "e", "message": "m", "data": values, "type": kind}


def checkpoint(step: int, **metrics: Any) -> dict[str, Any]:
    return {"step_number": step, "metrics": {"step": step, **metrics}, "fine_tuned_model_checkpoint": f"ft:x:{step}"}


def test_columns_of_a_current_result_file() -> None:
    table = parse_result_file(CURRENT).table

    assert list(table.columns) == [
        "step",
        "train_loss",
        "train_mean_token_accuracy",
        "valid_loss",
        "valid_mean_token_accuracy",
    ]
    assert table["step"].tolist() == [1, 2, 3]
    assert table["train_mean_token_accuracy"].tolist() == [0.5, 0.80952, 0.80952]
    assert table["valid_loss"].isna().tolist() == [True, True, False]


def test_columns_of_a_legacy_result_file() -> None:
    table = parse_result_file(LEGACY).table

    assert set(table.columns) == {
        "step",
        "elapsed_tokens",
        "elapsed_examples",
        "train_loss",
        "train_sequence_accuracy",
        "train_mean_token_accuracy",
        "valid_loss",
        "classification/accuracy",
        "classification/weighted_f1_score",
    }  # what was never measured (-1) is no column
    assert table["elapsed_tokens"].tolist() == [25, 50]
    assert table["train_sequence_accuracy"].tolist() == [0, 1]
    assert math.isnan(table["classification/accuracy"][0])
    assert table["classification/accuracy"][1] == 0.75


def test_azure_result_file_keeps_minus_one_as_missing() -> None:
    table = parse_result_file(AZURE).table

    assert table["valid_mean_token_accuracy"].tolist()[0] == 0.8
    assert table["valid_loss"].isna().tolist() == [False, True]
    assert table["full_valid_loss"].isna().tolist() == [True, False]
    assert table["full_valid_mean_token_accuracy"].tolist()[1] == 0.9


@pytest.mark.parametrize("content", [CURRENT, LEGACY, AZURE], ids=["current", "legacy", "azure"])
@pytest.mark.parametrize(
    "wrapped",
    [
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
        lambda content: b"\n" + content + b"\n\n",
        base64.b64encode,
        base64.encodebytes,
        lambda content: base64.b64encode(b"\xef\xbb\xbf" + content) + b"\r\n",
    ],
    ids=["bom", "crlf", "blank lines", "base64", "base64 in lines", "base64 of a bom"],
)
def test_result_file_is_read_in_any_wrapping(content: bytes, wrapped: Callable[..., Any]) -> None:
    pd.testing.assert_frame_equal(parse_result_file(wrapped(content)).table, parse_result_file(content).table)


def test_minus_one_is_missing_only_where_it_cannot_be_measured() -> None:
    content = b"step,train_loss,classification/auroc,train_mean_reward\n1,-1,-1,-1\n2,0.5,0.25,0.5\n"

    table = parse_result_file(content).table

    assert table["train_loss"].isna().tolist() == [True, False]
    assert table["classification/auroc"].isna().tolist() == [True, False]
    assert table["train_mean_reward"].tolist() == [-1, 0.5]


def test_rows_come_in_order_once() -> None:
    table = parse_result_file(b"step,train_loss\n2,0.3\n1,0.5\n2,0.2\n,9\n").table

    assert table.to_dict("list") == {"step": [1, 2], "train_loss": [0.5, 0.2]}


def test_a_loss_that_ran_away_is_missing() -> None:
    assert parse_result_file(b"step,train_loss\n1,0.5\n2,inf\n3,NaN\n").table["train_loss"].isna().tolist() == [
        False,
        True,
        True,
    ]


@pytest.mark.parametrize("columns", ["train_loss,valid_loss", "training_loss,validation_loss"])
def test_rows_of_one_step_are_merged(columns: str) -> None:
    metrics = parse_result_file(f"step,{columns}\n1,1.0,\n1,,2.0\n2,0.5,\n2,,-1\n".encode())

    assert metrics.table["train_loss"].tolist() == [1.0, 0.5]
    assert metrics.table["valid_loss"].tolist() == [2.0, pytest.approx(math.nan, nan_ok=True)]
    assert metrics.notes == ()


def test_skipped_result_rows_are_reported() -> None:
    content = b"step,train_loss,train_accuracy,train_mean_token_accuracy,valid_loss\n"
    content += b"1,0.5,0.25,0.25,\n2,0.4,,0.75,\n2,0.3,0.5,0.75,\n,9,,,\n2.5,9,,,\n3,inf,,,\n,,,,\n"

    metrics = parse_result_file(content)

    assert metrics.table["train_loss"].tolist()[:2] == [0.5, 0.3]
    assert metrics.table["train_mean_token_accuracy"].tolist()[:2] == [0.25, 0.5]
    assert metrics.unmeasured == ("valid_loss",)
    assert metrics.notes == (
        "The result file: 1 infinite value of train_loss left out.",
        (
            "The result file: train_accuracy and train_mean_token_accuracy are the same metric and differ in 1 row, "
            "first in row 3 (0.5 and 0.75); there train_accuracy is kept and train_mean_token_accuracy left out."
        ),
        "The result file: 2 rows of 7 left out, first row 4: step must be a whole number, 0 or more.",
        "The result file: train_loss has several values in 1 step, first in step 2 (0.4, 0.3); the last one is kept.",
        (
            "The result file: train_mean_token_accuracy has several values in 1 step, first in step 2 (0.75, 0.5); the "
            "last one is kept."
        ),
    )
    assert collect_metrics([content], [], []).problems == metrics.notes


def test_events_in_rows_of_their_own_are_merged() -> None:
    metrics = metrics_from_events([event(1, train_loss=0.5), event(1, valid_loss=0.75), event(1, valid_loss=0.5)])

    assert metrics.table.to_dict("list") == {"step": [1], "train_loss": [0.5], "valid_loss": [0.5]}
    assert metrics.notes == (
        "The job's events: valid_loss has several values in 1 step, first in step 1 (0.75, 0.5); the last one is kept.",
    )


def test_percent_become_fractions() -> None:
    metrics = parse_result_file(b"step,train_accuracy,classification/accuracy\n1,51,0.5\n2,1,-1\n3,90,1\n")

    assert metrics.table["train_mean_token_accuracy"].tolist() == [0.51, 0.01, 0.9]
    assert metrics.table["classification/accuracy"].tolist()[::2] == [0.5, 1]
    assert metrics.notes == (
        "The result file: train_accuracy is in percent (up to 90); its values were divided by 100.",
    )


@pytest.mark.parametrize(("value", "row"), [("1.2", 2), ("101", 2), ("-0.5", 2)])
def test_an_accuracy_that_is_neither_fraction_nor_percent_is_refused(value: str, row: int) -> None:
    says = rf"train_accuracy must hold fractions of 1, or percent from 0 to 100; row {row} has {value}\."
    content = f"step,train_loss,train_accuracy\n1,2,0.5\n2,1,{value}\n".encode()
    with pytest.raises(ResultsError, match=says):
        parse_result_file(content)

    metrics = collect_metrics([content], [event(1, train_loss=0.5)], [])

    assert metrics.sources == ("events",)
    assert len(metrics.problems) == 1


def test_a_header_alone_is_an_empty_table() -> None:
    assert parse_result_file(b"step,train_loss\n").table.empty


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"<html>no</html>", "web page that begins with '<html>no</html>'"),
        (b"\x00\x01\x02", "begins with"),
        (base64.b64encode(b"hello"), "column step"),
        (b"epoch,loss\n1,2\n", "it has the columns epoch, loss"),
        (b"step,train_loss\n1,0.5\n2,lots\n", r"column train_loss must hold numbers; its row 2 has 'lots'"),
        (b"step,train_loss\n1,0.5\n2,0.5,0.7\n", "not a readable CSV.*line 3"),
        (b"step,train_loss\n1,0.5,0.7\n2,0.5,0.7\n", "longer than its header"),
    ],
)
def test_what_cannot_be_read_says_what_was_found(content: bytes, message: str) -> None:
    with pytest.raises(ResultsError, match=message):
        parse_result_file(content)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 50), st.none() | st.floats(0, 1)),
        min_size=1,
        max_size=20,
    )
)
def test_what_is_written_is_read(rows: list[Any]) -> None:
    lines = [
        f"{step},{loss!r},{'' if accuracy is None else repr(accuracy)}" for step, (loss, accuracy) in enumerate(rows)
    ]
    content = "\n".join(["step,train_loss,train_accuracy", *lines]).encode()

    table = parse_result_file(content).table

    assert table["train_loss"].tolist() == [loss for loss, _ in rows]
    accuracies = table.get("train_mean_token_accuracy", pd.Series([math.nan] * len(rows)))
    assert [None if math.isnan(value) else value for value in accuracies] == [accuracy for _, accuracy in rows]


HEADERS = st.sampled_from([b"", b"step", b"step,train_loss\n", b"step,a,a\n1,2,3\n", b'"step",x\n'])
BODIES = st.binary(max_size=60) | st.text('0123456789,.-e\n"', max_size=60).map(str.encode)


@settings(deadline=None)
@given(st.builds(bytes.__add__, HEADERS, BODIES))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        table = parse_result_file(content).table
    except ResultsError:
        return
    assert "step" in table.columns


def test_events_newest_first_and_full_of_nulls() -> None:
    events = [
        event(kind="message"),
        event(3, train_loss=0.1, full_valid_loss=0.4, valid_loss=None, note="x"),
        event(2, train_loss=0.0, train_mean_token_accuracy=1),
        event(1, train_loss=0.3, valid_loss=-1),
        {"type": "metrics", "data": {}},
        {"type": "metrics", "data": None},
        {"type": None, "data": {"step": 9, "train_loss": 1.0}},
        {},
    ]

    table = metrics_from_events(events).table

    assert table["step"].tolist() == [1, 2, 3]
    assert table["train_loss"].tolist() == [0.3, 0.0, 0.1]
    assert table["full_valid_loss"].tolist()[2] == 0.4
    assert "valid_loss" not in table.columns


def test_checkpoints_stand_in_for_a_result_file() -> None:
    table = metrics_from_checkpoints([checkpoint(300, train_loss=0.1, full_valid_loss=None), checkpoint(100), {}]).table

    assert table.to_dict("list") == {"step": [100, 300], "train_loss": [pytest.approx(math.nan, nan_ok=True), 0.1]}


def test_events_fill_what_the_file_lacks_and_change_nothing_else() -> None:
    events = [event(3, train_loss=99.0, full_valid_loss=0.4, full_valid_mean_token_accuracy=0.5)]

    metrics = collect_metrics([CURRENT], events, [checkpoint(3, full_valid_loss=77.0)])

    assert metrics.sources == ("result file", "events")
    assert metrics.table["train_loss"].tolist() == [3.63265, 2.45992, 2.77812]
    assert metrics.table["full_valid_loss"].tolist()[2] == 0.4
    assert metrics.table["step"].dtype == "int64"
    assert list(metrics.table.columns)[:3] == ["step", "train_loss", "train_mean_token_accuracy"]


def test_checkpoints_where_there_is_nothing_else() -> None:
    metrics = collect_metrics([], [event(kind="message")], [checkpoint(10, train_loss=0.5, valid_loss=0.6)])

    assert metrics.sources == ("checkpoints",)
    assert metrics.table.to_dict("list") == {"step": [10], "train_loss": [0.5], "valid_loss": [0.6]}


def test_several_files_make_one_table() -> None:
    more = b"step,train_loss\n3,9.0\n4,1.5\n"

    metrics = collect_metrics([CURRENT, more], [], [])

    assert metrics.table["step"].tolist() == [1, 2, 3, 4]
    assert metrics.table["train_loss"].tolist() == [3.63265, 2.45992, 2.77812, 1.5]


def test_an_unreadable_file_is_a_problem_where_events_stand_in() -> None:
    metrics = collect_metrics([b"<html>"], [event(1, train_loss=0.5)], [])

    assert metrics.sources == ("events",)
    (problem,) = metrics.problems
    assert "it is a web page that begins with '<html>'" in problem


def test_an_unreadable_file_is_an_error_where_nothing_stands_in() -> None:
    with pytest.raises(ResultsError, match="begins with '<html>'"):
        collect_metrics([b"<html>"], [], [])


def test_job_without_results_has_an_empty_table() -> None:
    metrics = collect_metrics([], [], [])

    assert metrics.table.empty
    assert metrics.sources == ()
