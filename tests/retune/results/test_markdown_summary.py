"""The report in short, as Prefect shows it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from retune.evaluation.examples import Answer
from retune.results.markdown import MOST_BYTES, escape, markdown_summary
from retune.results.report_data import ReportData, report_evaluation

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


def rendered(markdown: str) -> str:
    return str(MarkdownIt("commonmark").enable("table").render(markdown))


def test_result_facts_and_examples(report: ReportData) -> None:
    text = markdown_summary(report, {"loss": SVG, "scores": SVG})

    assert text.startswith("# ft:baseline-text:o:&#60;i&#62;:abc\n")
    assert "**Exact match: base 20.0%, fine-tuned 90.0%** (+70.0 points) on 40 held-out examples" in text
    assert "fine-tuning fixed 32 and broke 4." in text
    assert report.evaluation
    for row in report.evaluation.comparison:
        assert " | ".join((row.title, row.shown("base"), row.shown("fine_tuned"), row.shown("difference"))) in text
    assert f"![Loss](data:image/svg+xml;base64,{base64.b64encode(SVG).decode()})" in text
    assert "| n_epochs | 3 |" in text
    assert text.count("\n| ") >= 10


def test_figures_without_an_image_are_left_out(report: ReportData) -> None:
    assert "data:image" not in markdown_summary(report, {})


def test_the_largest_images_give_way_first(report: ReportData) -> None:
    images = {"loss": b"x" * 60_000, "token_accuracy": b"y" * 100_000, "scores": b"z" * 10_000}

    text = markdown_summary(report, images)

    assert len(text.encode()) <= MOST_BYTES
    assert base64.b64encode(images["loss"]).decode() in text
    assert base64.b64encode(images["scores"]).decode() in text
    assert "![Token accuracy]" not in text
    assert "## Some test examples" in text


def test_summary_stays_below_the_size_limit(report: ReportData) -> None:
    endless = report.model_copy(update={"warnings": [], "job": report.job.model_copy(update={"hyperparameters": {}})})
    endless.job.hyperparameters.update({f"name {i}": "日" * 100 for i in range(2000)})

    text = markdown_summary(endless, {"loss": SVG * 10_000})

    assert len(text.encode()) <= MOST_BYTES


def test_a_base_model_that_cannot_answer(
    report: ReportData, base_answers: list[Answer], fine_tuned_answers: list[Answer]
) -> None:
    silent = [one.model_copy(update={"content": None, "error": "404 <gone> | `x`"}) for one in base_answers]
    evaluation = report_evaluation(silent, fine_tuned_answers)

    text = markdown_summary(report.model_copy(update={"evaluation": evaluation}), {})

    assert "**Exact match: base no answer, fine-tuned 90.0%** on 40" in text
    assert "> The base model answered none of the 40 examples: 404 &#60;gone&#62; &#124; &#96;x&#96;" in text


def test_summary_says_that_no_test_examples_were_held_out(report: ReportData) -> None:
    text = markdown_summary(report.model_copy(update={"evaluation": None}), {})

    assert "No test examples were held out" in text
    assert "Some test examples" not in text


def test_tables_keep_their_columns_and_the_data_stays_text(report: ReportData) -> None:
    html = rendered(markdown_summary(report, {}))

    body = html.split("<h2>Some test examples</h2>")[1]
    assert body.count("<tr>") == 11
    assert body.count("<td>") == 40
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;window.hacked" in html


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("snake_case stays", "snake_case stays"),
        ("_so_ does not", "&#95;so&#95; does not"),
        ("two\n lines\t", "two lines"),
        ("x" * 161, "x" * 159 + "…"),
        ('{"intent": "refund"}', '{"intent": "refund"}'),
    ],
)
def test_text_is_escaped_for_markdown(text: str, escaped: str) -> None:
    assert escape(text) == escaped


@given(st.text(alphabet="ab|`*_[]()<>!\\&~#$\n :/-1.\"'", max_size=60))
def test_any_text_reads_as_itself_in_a_cell(text: str) -> None:
    html = rendered(f"| a | b |\n| --- | --- |\n| x{escape(text)}x | y |")

    cells = html.split("<td>")[1:]
    assert len(cells) == 2
    shown = cells[0].split("</td>")[0]
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        shown = shown.replace(entity, character)
    assert shown == f"x{' '.join(text.split())}x"
