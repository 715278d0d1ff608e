"""When base models end: at fixed days, never at the day on which the tests run."""

import json
from datetime import date, timedelta
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retune.config import ProviderKind
from retune.data.cost.base_models import known_models
from retune.data.cost.model_dates import (
    NEAR_DAYS,
    ModelDates,
    add_shutdown_date,
    check_model_fits,
    describe_dates,
    describe_end,
    describe_move,
    find_dates,
    refuse_if_ended,
    trainable_models,
)
from retune.errors import ConfigError, ModelEndedError

NEW_JOBS_END, SHUTDOWN = date(2027, 1, 6), date(2027, 1, 14)
DAY = timedelta(days=1)
MINI = "gpt-4.1-mini-2025-04-14"


def dates_of(model: str, provider: ProviderKind = "openai") -> ModelDates:
    dates = find_dates(model, provider)
    assert dates is not None
    return dates


def is_refused(model: str, today: date, provider: ProviderKind = "openai", *, ignore_dates: bool = False) -> bool:
    try:
        refuse_if_ended(find_dates(model, provider), today=today, ignore_dates=ignore_dates)
    except ModelEndedError:
        return True
    return False


@pytest.mark.parametrize(
    ("today", "is_over"),
    [(NEW_JOBS_END - DAY, False), (NEW_JOBS_END, True), (NEW_JOBS_END + DAY, True)],
)
def test_new_jobs_end_on_the_day_itself(today: date, is_over: bool) -> None:
    assert is_refused(MINI, today) is is_over


@pytest.mark.parametrize(("days", "is_near"), [(61, False), (60, True), (1, True), (0, False), (-1, False)])
def test_near_is_sixty_days(days: int, is_near: bool) -> None:
    assert NEAR_DAYS == 60
    assert dates_of(MINI).is_near(NEW_JOBS_END - days * DAY) is is_near


@pytest.mark.parametrize(
    "name",
    ["gpt-4.1-mini", "ft:gpt-4.1-mini-2025-04-14:acme::abc123", "gpt-4.1-mini-2025-04-14.ft-0e20-tickets", MINI],
)
def test_other_names_have_their_bases_dates(name: str) -> None:
    assert find_dates(name, "openai") == dates_of(MINI)


def test_azure_has_days_of_its_own() -> None:
    azure = dates_of("gpt-4.1-nano-2025-04-14", "azure")
    assert (azure.new_jobs_end, azure.new_jobs_end_not_before) == (None, date(2027, 4, 14))
    assert azure.fine_tuned_shutdown == date(2027, 10, 14)
    assert not is_refused("gpt-4.1-nano", date(2026, 11, 29), "azure")
    assert is_refused("gpt-4.1-nano", date(2026, 11, 29), "openai")
    assert "MicrosoftDocs" in azure.source or "learn.microsoft.com" in azure.source


def test_promised_minimum_date_does_not_end_a_model() -> None:
    azure = dates_of(MINI, "azure")
    promised = date(2027, 4, 14)
    assert [azure.is_near(promised - days * DAY) for days in (61, 60, 0, -1)] == [False, True, True, True]
    assert not azure.has_ended(promised + DAY)
    assert describe_dates(azure, promised - 10 * DAY).startswith("New jobs at least until 2027-04-14;")
    assert "may end any day" in describe_dates(azure, promised)
    assert azure.has_ended(date(2027, 10, 14))


def test_a_name_of_azures_with_no_known_days() -> None:
    unknown = dates_of("gpt-35-turbo-0125", "azure")
    assert (unknown.model, unknown.new_jobs_end, unknown.fine_tuned_shutdown) == ("gpt-3.5-turbo-0125", None, None)
    assert describe_dates(unknown, SHUTDOWN).count("not known") == 2
    assert not unknown.has_ended(date(2100, 1, 1))
    assert not unknown.is_near(SHUTDOWN)


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        (MINI, "retune"),
        (MINI, "other"),
        ("llama-4", "other"),
        ("llama-4", "azure"),
        ("baseline-text", "openai"),
        ("baseline-text", "retune"),
    ],
)
def test_no_days_and_no_refusal_where_nothing_is_published(model: str, provider: ProviderKind) -> None:
    assert find_dates(model, provider) is None
    assert not is_refused(model, date(2100, 1, 1), provider)


def test_a_provider_that_ends_takes_no_job_on_a_model_we_do_not_know_either() -> None:
    unknown = dates_of("gpt-9-2029-01-01")
    assert (unknown.new_jobs_end, unknown.fine_tuned_shutdown) == (NEW_JOBS_END, None)
    assert is_refused("gpt-9-2029-01-01", NEW_JOBS_END)
    assert not is_refused("gpt-9-2029-01-01", NEW_JOBS_END - DAY)


def test_a_refusal_can_be_overridden() -> None:
    assert not is_refused("gpt-4.1-nano", date(2027, 2, 1), ignore_dates=True)


def test_a_refusal_names_what_can_be_trained_that_day() -> None:
    with pytest.raises(ModelEndedError) as refused:
        refuse_if_ended(dates_of("gpt-4.1-nano"), today=date(2026, 11, 29), ignore_dates=False)
    assert "gpt-4.1-nano-2025-04-14: no new jobs since 2026-10-23" in refused.value.message
    assert "https://developers.openai.com/api/docs/deprecations" in refused.value.message
    hint = str(refused.value.hint)
    assert MINI in hint
    assert "training.ignore_dates: true" in hint
    assert "baseline-text" in hint

    with pytest.raises(ModelEndedError) as refused:
        refuse_if_ended(dates_of(MINI), today=NEW_JOBS_END, ignore_dates=False)
    assert "gpt-" not in str(refused.value.hint)


def test_what_can_be_trained_is_named_the_cheapest_first() -> None:
    assert trainable_models("openai", today=NEW_JOBS_END - DAY)[:2] == ["gpt-4o-mini-2024-07-18", MINI]
    assert trainable_models("openai", today=NEW_JOBS_END) == []
    assert trainable_models("openai", today=date(2026, 10, 1), method="reinforcement") == ["o4-mini-2025-04-16"]
    assert "gpt-3.5-turbo-0125" not in trainable_models("azure", today=NEW_JOBS_END)
    assert trainable_models("retune", today=NEW_JOBS_END) == ["baseline-text"]
    assert trainable_models("other", today=NEW_JOBS_END) == []


@pytest.mark.parametrize("today", [NEW_JOBS_END - DAY, NEW_JOBS_END])
def test_openai_is_not_asked_for_a_model_of_ours(today: date) -> None:
    with pytest.raises(ConfigError, match="no base model 'baseline-text'") as refused:
        check_model_fits("baseline-text", "openai", today=today)
    assert (MINI in str(refused.value.hint)) is (today < NEW_JOBS_END)
    check_model_fits("baseline-text", "other", today=today)


def test_how_long_a_model_will_live_is_said() -> None:
    assert describe_dates(dates_of(MINI), date(2026, 11, 29)) == (
        "No new jobs from 2027-01-06 (in 38 days); a model trained now answers until 2027-01-14 (46 days)."
    )
    assert "in 1 day)" in describe_dates(dates_of(MINI), NEW_JOBS_END - DAY)


@pytest.mark.parametrize(("days", "says_where"), [(61, False), (60, True)])
def test_a_registration_says_where_to_go_only_when_it_is_near(days: int, says_where: bool) -> None:
    said = str(describe_end("gpt-4.1-mini", "openai", today=NEW_JOBS_END - days * DAY, ignore_dates=False))
    assert said.startswith(f"{MINI}: No new jobs from 2027-01-06 (in {days} days)")
    assert ("baseline-text" in said) is says_where
    assert describe_end("gpt-4.1-mini", "other", today=SHUTDOWN, ignore_dates=False) is None
    with pytest.raises(ModelEndedError):
        describe_end("gpt-4.1-mini", "openai", today=NEW_JOBS_END, ignore_dates=False)


def test_advice_names_models_that_live_longer() -> None:
    assert describe_move(dates_of("gpt-4o", "azure"), today=date(2027, 2, 10)).startswith("Azure trains gpt-4.1-nano")
    assert "training.model (--model) to baseline-text" in describe_move(dates_of(MINI), today=date(2026, 11, 29))


@pytest.mark.parametrize(
    ("model", "provider", "named", "expected"),
    [
        # Sooner than the table, later, of a model that the table does not have, and of a host that it does not have.
        (MINI, "openai", date(2026, 12, 24), (date(2026, 12, 24), date(2026, 12, 24))),
        (MINI, "openai", date(2027, 6, 1), (NEW_JOBS_END, date(2027, 6, 1))),
        ("gpt-4.1-nano", "openai", date(2027, 6, 1), (NEW_JOBS_END, date(2027, 6, 1))),
        ("gpt-9-2029-01-01", "openai", date(2027, 6, 1), (NEW_JOBS_END, date(2027, 6, 1))),
        ("llama-4", "other", date(2027, 6, 1), (date(2027, 6, 1), None)),
        (MINI, "azure", date(2027, 6, 1), (None, date(2027, 10, 14))),
    ],
)
def test_the_providers_own_shutdown_date_goes_first(
    model: str, provider: ProviderKind, named: date, expected: tuple[date | None, date | None]
) -> None:
    today = date(2026, 11, 29)
    dates = add_shutdown_date(find_dates(model, provider), named, model=model, provider=provider, today=today)
    assert (dates.new_jobs_end, dates.fine_tuned_shutdown) == expected
    assert (dates.base_shutdown, dates.checked) == (named, today)
    assert "shutdown_date" in dates.source


@given(st.sampled_from(known_models()), st.sampled_from(["openai", "azure"]), st.dates())
def test_what_has_ended_stays_ended_and_is_never_near(model: str, provider: ProviderKind, today: date) -> None:
    dates = dates_of(model, provider)
    if dates.has_ended(today):
        assert not dates.is_near(today)
        assert not dates.takes_jobs(today)
        assert today == date.max or dates.has_ended(today + DAY)
        assert dates.model not in trainable_models(provider, today=today)
    assert describe_dates(dates, today)


def test_every_base_has_its_days_with_source_and_day_of_checking() -> None:
    table = json.loads(resources.files("retune.data.cost").joinpath("models.json").read_text(encoding="utf-8"))
    for provider in ("openai", "azure"):
        published = table["dates"][provider]
        assert published["models"].keys() == table["models"].keys()
        assert published["source"].startswith("https://")
        assert date.fromisoformat(published["as_of"]) <= date.fromisoformat(published["checked"])
        for row in published["models"].values():
            assert {"new_jobs_end", "base_shutdown", "fine_tuned_shutdown"} <= row.keys()
