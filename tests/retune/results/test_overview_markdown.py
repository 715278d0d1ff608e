"""The overview: links that work wherever the UI is, and no text of data read as markup."""

from datetime import UTC, datetime, timedelta

import pytest

from retune.results.overview import ListedRun, PastRun, overview_markdown, score_figure

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def past_runs(name: str, *scores: float | None) -> list[PastRun]:
    return [
        PastRun(
            name=name,
            base_model="small",
            completed_at=NOW + timedelta(hours=number),
            exact_match=score,
            cost_usd=0.25,
            report_url="https://reports.example.com/a b/report.html",
        )
        for number, score in enumerate(scores)
    ]


def written(runs: list[PastRun], image: bytes | None = None, failures: tuple[ListedRun, ...] = ()) -> str:
    return overview_markdown(runs, now=NOW, image=image, failures=failures, scheduled=())


def test_a_model_leads_to_its_history_and_its_last_report() -> None:
    text = written(past_runs("Top Up", 0.5, 0.75))
    assert "[Top Up](../key/retrain-top-up)" in text
    assert "[2026-03-01 01:00](https://reports.example.com/a%20b/report.html) | 75.0% | 50.0% | 2 |" in text
    assert "cost $0.50 in March 2026" in text


def test_a_failure_leads_to_its_flow_run_and_is_shown_as_text() -> None:
    failure = ListedRun(id="123-456", name="small on [x](y)", moment=NOW, says="<img src=x>\n# No")
    text = written([], failures=(failure,))
    assert "(../../runs/flow-run/123-456): " in text
    assert "<img" not in text
    assert "[x](y)" not in text
    assert "\n# No" not in text


@pytest.mark.parametrize(("n_models", "says"), [(6, False), (7, True)])
def test_each_line_of_the_figure_has_a_colour_of_its_own(n_models: int, says: bool) -> None:
    runs = [run for number in range(n_models) for run in past_runs(f"model {number}", 0.5, 0.6)]
    figure = score_figure(runs)
    assert figure is not None
    colours = [line.line.color for line in figure.data]
    assert len(set(colours)) == len(colours) == 6
    assert ("The 6 models that were trained last" in written(runs, b"<svg/>")) is says


def test_without_scores_there_is_no_figure() -> None:
    runs = past_runs("untested", None)
    assert score_figure(runs) is None
    assert "Not drawn: no score yet" in written(runs)
