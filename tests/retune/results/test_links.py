"""Where a run's job, model and report can be looked at."""

from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from retune.config import ProviderConfig
from retune.private_files import home_directory
from retune.provider.endpoint import require_endpoint
from retune.results.links import RunLink, report_url, run_links
from retune.results.markdown import markdown_summary
from retune.results.report_data import ReportData


def report_in_runs() -> Path:
    return home_directory().absolute() / "runs" / "größer & co" / "report.html"


@pytest.mark.parametrize("address", [None, "", "ftp://host/runs", "javascript:alert(1)", "host/runs"])
def test_without_an_address_there_is_no_link(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    if address is not None:
        monkeypatch.setenv("RETUNE_REPORTS_URL", address)
    assert report_url(report_in_runs()) is None


def test_a_report_is_linked_where_it_is_served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RETUNE_REPORTS_URL", "https://desk.example.com/runs/")
    assert report_url(report_in_runs()) == "https://desk.example.com/runs/gr%C3%B6%C3%9Fer%20%26%20co/report.html"
    assert report_url(tmp_path / "elsewhere" / "report.html") is None


def test_openai_s_jobs_have_a_page(report: ReportData) -> None:
    openai = run_links(require_endpoint(ProviderConfig(base_url="https://api.openai.com/v1")), report.job, Path("r"))
    assert openai[0].url == f"https://platform.openai.com/finetune/{report.job.id}"
    other = run_links(require_endpoint(ProviderConfig(base_url="http://127.0.0.1:1/v1")), report.job, Path("r"))
    assert other[0].url == f"http://127.0.0.1:1/v1/fine_tuning/jobs/{report.job.id}"


def test_a_link_is_one_link_whatever_it_is_called(report: ReportData) -> None:
    hostile = RunLink(title="Job", text="x](javascript:alert(1)) <b>", url="https://host/a b)(c<d>")
    html = MarkdownIt("commonmark").enable("table").render(markdown_summary(report, {}, links=[hostile]))
    assert '<a href="https://host/a%20b%29%28c%3Cd%3E">x](javascript:alert(1)) &lt;b&gt;</a>' in html
