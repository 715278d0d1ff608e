"""What the evaluation's figures hold."""

import pytest

from retune.evaluation.comparison import compare
from retune.evaluation.examples import Answer
from retune.evaluation.scorers import score_answers
from retune.results.evaluation_figures import evaluation_figures
from retune.results.report_data import ReportData
from retune.results.report_figures import describe_figures


def labels(n_labels: int, wrong: int = 0) -> list[Answer]:
    return [
        Answer(index=i, prompt=[], expected=f"l{i % n_labels:02}", content="?" if i < wrong else f"l{i % n_labels:02}")
        for i in range(3 * n_labels)
    ]


def test_both_models_score_by_score(base_answers: list[Answer], fine_tuned_answers: list[Answer]) -> None:
    rows = compare(score_answers(base_answers), score_answers(fine_tuned_answers))

    figure = evaluation_figures(rows, fine_tuned_answers)["scores"]

    base, _, fine_tuned, figures = figure.data
    assert (base.name, fine_tuned.name) == ("base model", "fine-tuned model")
    assert list(base.x) == [0.2, rows[1].base]
    assert list(fine_tuned.text) == ["90.0% (77–96)", rows[1].shown("fine_tuned")]
    assert [text.strip() for text in figures.text] == ["90.0%", rows[1].fine_tuned_text]
    interval = rows[0].fine_tuned_interval
    assert interval
    assert (0.9 - fine_tuned.error_x.arrayminus[0], 0.9 + fine_tuned.error_x.array[0]) == pytest.approx(interval)
    assert list(figure.layout.yaxis.ticktext) == ["Exact match", "Macro-F1"]


def test_a_base_model_without_answers_is_named_as_such(
    base_answers: list[Answer], fine_tuned_answers: list[Answer]
) -> None:
    silent = [one.model_copy(update={"content": None, "error": "gone"}) for one in base_answers]
    rows = compare(score_answers(silent), score_answers(fine_tuned_answers))

    base, *_ = evaluation_figures(rows, fine_tuned_answers)["scores"].data

    assert set(base.text) == {"no answer"}


def test_few_labels_make_a_confusion_matrix(fine_tuned_answers: list[Answer]) -> None:
    figure = evaluation_figures([], fine_tuned_answers)["labels.answer"]

    (heatmap,) = figure.data
    assert heatmap.type == "heatmap"
    # Plotly reads text as markup, so the data's angle brackets must come escaped.
    assert list(figure.layout.yaxis.ticktext) == ["&lt;b&gt;bold&lt;/b&gt;", "delivery", "login", "refund"]
    assert figure.layout.xaxis.ticktext[-1] == "(other)"
    assert heatmap.z[0][0] == 1.0
    assert [row[-1] for row in heatmap.text] == ["", "2", "", "2"]


def test_thirty_labels_are_a_matrix_and_more_are_the_worst_bars() -> None:
    assert evaluation_figures([], labels(30))["labels.answer"].data[0].type == "heatmap"

    figure = evaluation_figures([], labels(31, wrong=3))["labels.answer"]

    assert figure.data[0].type == "bar"
    assert len(figure.data[0].x) == 20
    assert list(figure.layout.yaxis.ticktext)[:3] == ["l00", "l01", "l02"]
    assert figure.data[0].x[0] < 1 == figure.data[0].x[3]


def test_json_answers_have_a_figure_a_field() -> None:
    answers = [
        Answer(index=i, prompt=[], expected=f'{{"kind": "{"ab"[i % 2]}", "id": {i}}}', content='{"kind": "a"}')
        for i in range(6)
    ]

    assert list(evaluation_figures([], answers)) == ["labels.kind"]


def test_long_answers_have_no_label_figures() -> None:
    assert evaluation_figures([], [Answer(index=0, prompt=[], expected="Long story.", content="Short.")]) == {}


def test_figures_come_in_the_order_of_a_report(report: ReportData) -> None:
    assert [figure.name for figure in report.figures] == ["scores", "loss", "token_accuracy", "labels.answer"]
    assert report.figures[-1].title == "What is taken for what: answer"
    assert describe_figures(evaluation_figures([], labels(31)))[0].title == "Hardest labels: answer"
