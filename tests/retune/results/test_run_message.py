from retune.results.run_message import RunNotice


def test_a_success_says_how_good_how_long_what_it_cost_and_where() -> None:
    notice = RunNotice(
        outcome="succeeded",
        model="gpt-4.1-nano-2025-04-14",
        data="tickets",
        fine_tuned_model="ft:gpt-4.1-nano-2025-04-14:acme::x1",
        exact_match=0.754,
        exact_match_base=0.1,
        n_test=1670,
        seconds=754,
        cost_usd=1.25,
        cost_is_estimated=True,
        report="https://reports.example/runs/tickets/report.html",
        flow_run_url="https://prefect.example/runs/flow-run/1",
    )
    assert notice.title == "gpt-4.1-nano-2025-04-14 on tickets: 75.4% exact match"
    assert notice.message.splitlines() == [
        notice.title,
        "Exact match: 75.4% of 1,670 held-out examples, +65.4 points on the base model's",
        "Model: ft:gpt-4.1-nano-2025-04-14:acme::x1",
        "Trained 12 min 34 s, cost $1.25 (estimate)",
        "Report: https://reports.example/runs/tickets/report.html",
        "Run: https://prefect.example/runs/flow-run/1",
    ]


def test_a_failure_says_why() -> None:
    notice = RunNotice(outcome="failed", model="m", data="tickets", error="The key is refused.")
    assert notice.message == "m on tickets: failed\nThe key is refused."


def test_refused_cost_is_not_called_a_failure() -> None:
    notice = RunNotice(outcome="over-budget", model="m", data="tickets", error="It would cost $9.")
    assert notice.title == "m on tickets: too expensive, not started"


def test_without_held_out_examples_there_is_no_score() -> None:
    assert RunNotice(outcome="succeeded", model="m", data="d").message == "m on d retrained"


def test_text_of_the_data_stays_on_its_line_and_calls_nobody() -> None:
    notice = RunNotice(outcome="failed", model="m", data="a\nb <!channel>", error="x" * 1000)
    title, error = notice.message.splitlines()
    assert title == "m on a b ‹!channel›: failed"
    assert len(error) == 300
