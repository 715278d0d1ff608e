"""When a provider takes no new jobs on a base model, and until when what is trained now answers.

The days are those of `models.json`, each the first day without: on 2027-01-06 itself OpenAI takes no job. Days are UTC.
Whoever asks says which day it is; `utc_today` is for the edge of the program.
"""

from datetime import UTC, date, datetime

from pydantic import BaseModel, ConfigDict

from retune.config import LOCAL_MODEL, ProviderKind
from retune.data.cost.base_models import base_model, find_model, known_models, provider_dates
from retune.data.example.example import Method
from retune.errors import ConfigError, ModelEndedError

NEAR_DAYS = 60
PROVIDER_NAMES: dict[ProviderKind, str] = {
    "openai": "OpenAI",
    "azure": "Azure",
    "retune": "Retune's own server",
    "other": "The provider",
}
_OWN_SERVER = (
    f"To train on Retune's own server, set training.model (--model) to {LOCAL_MODEL}, and leave provider.base_url "
    "(--base-url) and OPENAI_BASE_URL unset or set them to its address."
)
_POSTPONED = "If the provider has postponed the date, set training.ignore_dates: true (--ignore-dates)."


class ModelDates(BaseModel):
    """When a provider ends one base model; see `retune.data.cost.base_models.PublishedDates` for what the days mean.

    Attributes:
        model: The base model's full name.
        provider: Whose days these are: another provider has others for the same model.
        source: Where they stand.
        checked: When somebody looked there.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    provider: ProviderKind
    new_jobs_end: date | None = None
    new_jobs_end_not_before: date | None = None
    base_shutdown: date | None = None
    fine_tuned_shutdown: date | None = None
    source: str
    checked: date

    def has_ended(self, today: date) -> bool:
        """Whether a new job would be refused, or its model would never answer."""
        return any(day is not None and day <= today for day in (self.new_jobs_end, self.fine_tuned_shutdown))

    def takes_jobs(self, today: date) -> bool:
        """Whether new jobs are taken, as far as is known; False where nothing is known of them."""
        is_known = self.new_jobs_end is not None or self.new_jobs_end_not_before is not None
        return is_known and not self.has_ended(today)

    def is_near(self, today: date) -> bool:
        """Whether one of the days is at most `NEAR_DAYS` away; False where it has ended already."""
        if self.has_ended(today):
            return False
        days = [self.new_jobs_end, self.fine_tuned_shutdown]
        # What may end any day stays near.
        days += [self.new_jobs_end_not_before if self.new_jobs_end is None else None]
        days += [self.base_shutdown if self.base_shutdown is not None and self.base_shutdown > today else None]
        return any(day is not None and (day - today).days <= NEAR_DAYS for day in days)


def utc_today() -> date:
    """Today, in UTC."""
    return datetime.now(UTC).date()


def find_dates(model: str, provider: ProviderKind) -> ModelDates | None:
    """What is published of a model at a provider.

    A fine-tuned model or an alias has its base's days. None for hosts that publish nothing, and for Retune's own base
    model; a model that the table doesn't have has the day on which its provider ends all training, if there is one.
    """
    published, name = provider_dates(provider), base_model(model)
    if published is None or name == LOCAL_MODEL:
        return None
    known = published.models.get(name)
    if known is None and published.new_jobs_end is None:
        return None
    days = {"new_jobs_end": published.new_jobs_end} if known is None else known.model_dump(exclude={"source"})
    source = known.source if known is not None and known.source else published.source
    return ModelDates(model=name, provider=provider, source=source, checked=published.checked, **days)


def add_shutdown_date(
    dates: ModelDates | None, shutdown: date, *, model: str, provider: ProviderKind, today: date
) -> ModelDates:
    """Put the day that the provider names in its model object above what the table says.

    At OpenAI fine-tuned models end with their base ("will be disabled only when the underlying base model is
    deprecated"); of other hosts that is not known.

    Args:
        dates: What the table says.
        shutdown: `shutdown_date` of the provider's model object.
        model: The model that is trained on.
        provider: Who names the day.
        today: When it was read.
    """
    if dates is None:
        dates = ModelDates(model=base_model(model), provider=provider, source="", checked=today)
    new_jobs_end = dates.new_jobs_end
    if dates.new_jobs_end_not_before is None:
        # The table's day of a base that was to end is void where the provider names a later one.
        was_shutdown = new_jobs_end is None or new_jobs_end == dates.base_shutdown
        published = provider_dates(provider)
        ends = [shutdown, published.new_jobs_end if published else None] if was_shutdown else [shutdown, new_jobs_end]
        new_jobs_end = min(day for day in ends if day is not None)
    return dates.model_copy(
        update={
            "new_jobs_end": new_jobs_end,
            "base_shutdown": shutdown,
            "fine_tuned_shutdown": shutdown if provider == "openai" else dates.fine_tuned_shutdown,
            "source": "shutdown_date of the provider's model object",
            "checked": today,
        }
    )


def trainable_models(provider: ProviderKind, *, today: date, method: Method = "supervised") -> list[str]:
    """Base models that a provider takes new jobs on today, by what is published; the cheapest first."""
    if provider == "retune":
        return [LOCAL_MODEL]
    names = [name for name in known_models() if _is_trainable(name, provider, today, method)]
    return sorted(names, key=_price)


def _price(name: str) -> float:
    facts = find_model(name)
    return facts.usd_per_million_tokens or 0.0 if facts else 0.0


def _is_trainable(name: str, provider: ProviderKind, today: date, method: Method) -> bool:
    dates, facts = find_dates(name, provider), find_model(name)
    return dates is not None and facts is not None and method in facts.methods and dates.takes_jobs(today)


def check_model_fits(model: str, provider: ProviderKind, *, today: date) -> None:
    """Refuse early to ask OpenAI for a base model that only Retune's server has.

    Raises:
        ConfigError: The model can't exist at this provider.
    """
    if model == LOCAL_MODEL and provider == "openai":
        raise ConfigError(
            f"OpenAI has no base model {LOCAL_MODEL!r}; that one is Retune's own.",
            hint=f"{_what_is_trainable(provider, today)} {_OWN_SERVER}",
        )


def refuse_if_ended(dates: ModelDates | None, *, today: date, ignore_dates: bool) -> None:
    """Stop a run whose job the provider would refuse, or whose model would never answer.

    Raises:
        ModelEndedError: A day has come. The hint names what can be trained today, and where else.
    """
    if dates is None or ignore_dates or not dates.has_ended(today):
        return
    raise ModelEndedError(
        f"{PROVIDER_NAMES[dates.provider]} has ended {dates.model}: {_describe(dates, today)}. "
        f"(Checked {dates.checked}: {dates.source})",
        hint=f"{_what_is_trainable(dates.provider, today)} {_OWN_SERVER} {_POSTPONED}",
    )


def _what_is_trainable(provider: ProviderKind, today: date) -> str:
    names = trainable_models(provider, today=today)
    if names:
        return f"What {PROVIDER_NAMES[provider]} trains today, by its published dates: {', '.join(names)}."
    return f"No base model that {PROVIDER_NAMES[provider]} still trains is known."


def describe_move(dates: ModelDates, *, today: date) -> str:
    """Where the same run can go when its model ends, as sentences: to one that ends later, or to Retune's server."""
    later = [
        name
        for name in trainable_models(dates.provider, today=today)
        if (other := find_dates(name, dates.provider)) and not other.is_near(today) and name != dates.model
    ]
    others = f"{PROVIDER_NAMES[dates.provider]} trains {' and '.join(later[:2])} for longer. " if later else ""
    return f"{others}{_OWN_SERVER}"


def describe_dates(dates: ModelDates, today: date) -> str:
    """The days for people, as one sentence without the model's name."""
    text = _describe(dates, today)
    return f"{text[0].upper()}{text[1:]}."


def _describe(dates: ModelDates, today: date) -> str:
    return f"{_describe_new_jobs(dates, today)}; {_describe_life(dates.fine_tuned_shutdown, today)}"


def _describe_new_jobs(dates: ModelDates, today: date) -> str:
    end, earliest = dates.new_jobs_end, dates.new_jobs_end_not_before
    if end is not None:
        return f"no new jobs since {end}" if end <= today else f"no new jobs from {end} ({_in_days(end, today)})"
    if earliest is None:
        return "when new jobs end is not known"
    return f"new jobs at least until {earliest}" + ("" if earliest > today else ", so they may end any day")


def _describe_life(end: date | None, today: date) -> str:
    if end is None:
        return "how long its fine-tuned models answer is not known"
    if end <= today:
        return f"its fine-tuned models have not answered since {end}"
    return f"a model trained now answers until {end} ({_count_days(end, today)})"


def describe_end(model: str, provider: ProviderKind, *, today: date, ignore_dates: bool) -> str | None:
    """When a provider ends a model, and where to go if that is near, as sentences; None where nothing is published.

    Raises:
        ModelEndedError: It has ended.
    """
    dates = find_dates(model, provider)
    if dates is None:
        return None
    refuse_if_ended(dates, today=today, ignore_dates=ignore_dates)
    move = f" {describe_move(dates, today=today)}" if dates.is_near(today) else ""
    return f"{dates.model}: {describe_dates(dates, today)}{move}"


def days_left(dates: ModelDates, today: date) -> int | None:
    """Days until the first of the days that are still to come; None where none is known."""
    days = (dates.new_jobs_end, dates.new_jobs_end_not_before, dates.fine_tuned_shutdown, dates.base_shutdown)
    return min(((day - today).days for day in days if day is not None and day > today), default=None)


def _in_days(day: date, today: date) -> str:
    return f"in {_count_days(day, today)}"


def _count_days(day: date, today: date) -> str:
    days = (day - today).days
    return "1 day" if days == 1 else f"{days:,} days"
