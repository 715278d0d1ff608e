"""The report's HTML, without a browser."""

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from retune.evaluation.examples import Answer
from retune.results.report import render_report, write_report
from retune.results.report_data import (
    DataFacts,
    JobFacts,
    ReportData,
    report_evaluation,
)


class Page(HTMLParser):
    """What a browser would make of it: tags, and texts outside of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self._skipping = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self._skipping += tag in {"script", "style"}

    def handle_endtag(self, tag: str) -> None:
        self._skipping -= tag in {"script", "style"}

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def page_data(html: str) -> dict[str, Any]:
    (data,) = re.findall(r'id="page-data">(.*?)</script>', html, re.DOTALL)
    found: dict[str, Any] = json.loads(data)
    return found


def test_text_of_the_data_stays_text(report: ReportData) -> None:
    page = Page(render_report(report))

    assert page.tags.count("script") == 3
    assert "img" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "</script><script>window.hacked = 1</script>" in page.text
    assert "我的订单在哪里？" in page.text
    assert "ft:baseline-text:o:<i>:abc" in page.text


def test_nothing_is_loaded_from_anywhere(report: ReportData) -> None:
    page = Page(render_report(report))

    assert not [value for name, value in page.attributes if name in {"src", "href"}]
    (policy,) = [value for name, value in page.attributes if name == "content" and value and "default-src" in value]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.split(";")[1]


def test_the_figures_survive_as_json(report: ReportData) -> None:
    data = page_data(render_report(report))

    assert [figure["name"] for figure in data["figures"]] == [figure.name for figure in report.figures]
    assert data["figures"][0]["spec"] == report.figures[0].spec


def test_the_figures_of_the_run_are_all_there(report: ReportData) -> None:
    text = Page(render_report(report)).text

    for shown in [
        "90.0%",
        "+70.0 points",
        "32 fixed",
        "4 broken",
        "12.5 s",
        "ftjob-1",
        "1,234",
        "n_epochs 3",
        "succeeded",
    ]:
        assert shown in text
    assert report.evaluation
    for row in report.evaluation.comparison:
        assert " ".join((row.title, *(row.shown(value) for value in ("base", "fine_tuned", "difference")))) in text


def test_report_shows_a_shared_system_prompt_once(report: ReportData) -> None:
    text = Page(render_report(report)).text

    assert "System prompt of all examples Sort." in text
    assert text.count("Sort.") == 1


def test_all_examples_or_which(
    report: ReportData, base_answers: list[Answer], fine_tuned_answers: list[Answer]
) -> None:
    assert "All 40 of them" in Page(render_report(report)).text
    few = report_evaluation(base_answers, fine_tuned_answers, most_examples=7)

    page = Page(render_report(report.model_copy(update={"evaluation": few})))

    assert "7 of 40 are shown" in page.text
    outcomes = [value for name, value in page.attributes if name == "data-outcome"]
    assert outcomes.count("broken") == 4
    assert len(outcomes) == 7


def test_a_base_model_that_cannot_answer(
    report: ReportData, base_answers: list[Answer], fine_tuned_answers: list[Answer]
) -> None:
    silent = [one.model_copy(update={"content": None, "error": "404 <gone>"}) for one in base_answers]
    evaluation = report_evaluation(silent, fine_tuned_answers)

    text = Page(render_report(report.model_copy(update={"evaluation": evaluation}))).text

    assert "The base model answered none of the 40 examples: 404 <gone>" in text
    assert "Exact match no answer 90.0% (77–96) –" in text


@pytest.fixture
def bare_report() -> ReportData:
    job = JobFacts(
        id="ftjob-2",
        status="failed",
        provider_url="https://host/v1",
        base_model="m",
        fine_tuned_model=None,
        hyperparameters={},
    )
    data = DataFacts(source="a.csv", splits=[])
    return ReportData(run_key="k", finished_at=datetime(2026, 1, 1, tzinfo=UTC), job=job, data=data)


def test_a_run_without_anything_measured(bare_report: ReportData) -> None:
    text = Page(render_report(bare_report)).text

    assert "No test examples were held out" in text
    assert "The job left no metrics." in text
    assert "Cost" not in text
    assert "None" not in text


def test_the_file_is_written_whole_in_utf8(tmp_path: Path, report: ReportData) -> None:
    path = tmp_path / "new" / "report.html"

    write_report(path, report)

    assert path.read_text(encoding="utf-8") == render_report(report)


def test_half_a_character_in_the_data_does_no_harm(tmp_path: Path, bare_report: ReportData) -> None:
    broken = bare_report.model_copy(update={"warnings": ["half \ud83d a character"]})

    write_report(tmp_path / "report.html", broken)

    assert "half ? a character" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_report_survives_json(report: ReportData) -> None:
    assert ReportData.model_validate_json(report.model_dump_json()) == report
