"""Which failures pass by themselves, and what the others mean."""

import email.utils
import json
import math
import time
from collections.abc import AsyncIterator, Container
from contextlib import asynccontextmanager

import httpx2
import openai

from retune.errors import (
    AuthenticationFailedError,
    ProviderError,
    ProviderUnreachableError,
    QuotaExceededError,
    RetuneError,
    TrainingNotAvailableError,
    UnexpectedAnswerError,
)

_TRANSIENT_STATUSES = {408, 409, 429}
# The server can't do it at all, and will not be able to.
_NEVER = {501, 505}
# The request was not even sent.
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_LONGEST_HONOURED_PAUSE_SECONDS = 600.0
_WIND_DOWN = (
    "OpenAI closes self-serve fine-tuning: since 2026-07-02 only organizations that used a fine-tuned model in the "
    "last 60 days may create jobs, and from 2027-01-06 nobody can. "
    "Models that are already fine-tuned go on answering until their base model is retired."
)


def is_transient(error: BaseException) -> bool:
    """Tell whether the same request may well succeed a little later.

    Timeouts, connection errors, 408, 409, 429 and 5xx are transient; any other 4xx is not, nor are 501 and 505, nor
    `insufficient_quota` (a 429 that only money fixes), nor what the server marks `x-should-retry: false`.
    """
    if isinstance(error, openai.APIStatusError):
        if error.code == "insufficient_quota" or error.response.headers.get("x-should-retry") == "false":
            return False
        is_failure = error.status_code >= 500 and error.status_code not in _NEVER
        return error.status_code in _TRANSIENT_STATUSES or is_failure
    return isinstance(error, openai.APIConnectionError) and not isinstance(error.__cause__, RetuneError)


def may_have_been_done(error: BaseException) -> bool:
    """Tell whether a request may have had its effect although this came back.

    No answer, a 5xx, 408, 409, and an answer that is not the API's say nothing about it. Any other 4xx is a refusal,
    and a connection that was never made, or a redirect that was not followed, did nothing.
    """
    if isinstance(error, openai.APIStatusError):
        return error.status_code in {408, 409} or (error.status_code >= 500 and error.status_code not in _NEVER)
    if isinstance(error, openai.APIConnectionError):
        return not isinstance(error.__cause__, (*_NOT_SENT, RetuneError))
    return True


def retry_after_seconds(error: BaseException) -> float | None:
    """Pause that the server asked for, in seconds: `retry-after-ms`, or `retry-after` as a number or a date."""
    if not isinstance(error, openai.APIStatusError):
        return None
    headers = error.response.headers
    seconds = _number(headers.get("retry-after-ms"), scale=0.001) or _number(headers.get("retry-after"))
    if seconds is None and (date := headers.get("retry-after")):
        parsed = email.utils.parsedate_tz(date)
        seconds = email.utils.mktime_tz(parsed) - time.time() if parsed else None
    return min(seconds, _LONGEST_HONOURED_PAUSE_SECONDS) if seconds is not None and seconds > 0 else None


def _number(text: str | None, scale: float = 1.0) -> float | None:
    try:
        value = float(text or "") * scale
    except ValueError:
        return None
    return value if math.isfinite(value) else None


@asynccontextmanager
async def provider_call(doing: str, *, passed_on: Container[int] = ()) -> AsyncIterator[None]:
    """Run one call of the API: permanent failures come out in Retune's words, transient ones as they are.

    Args:
        doing: What is being done, for the message: `creating the job`.
        passed_on: HTTP statuses that the caller understands, and gets as they are.

    Raises:
        ProviderError: The provider said no for good, or something else than the API answers at its address.
        openai.OpenAIError: A transient failure; the caller may try again.
    """
    try:
        yield
    except openai.OpenAIError as error:
        is_understood = isinstance(error, openai.APIStatusError) and error.status_code in passed_on
        if is_understood or is_transient(error):
            _hide_key(error)
            raise
        # Not "from error": its text may repeat the API key, and Prefect writes whole chains into its log.
        raise explain(error, doing) from None
    except json.JSONDecodeError:
        raise UnexpectedAnswerError(
            f"What answers while {doing} is not the API: its answer is not JSON.", hint="Check the address."
        ) from None


def one_line(error: BaseException) -> str:
    """An error for a log: one line, without the API key that some hosts repeat."""
    if isinstance(error, openai.APIStatusError):
        return f"{error.status_code}: {_provider_message(error)}"
    return _one_line(error) or type(error).__name__


def explain(error: openai.OpenAIError, doing: str) -> RetuneError:
    """Put an SDK error into words that say what to do next."""
    if isinstance(error, openai.APIStatusError):
        return _explain_status(error, doing)
    if isinstance(error.__cause__, RetuneError):
        # The SDK takes whatever a hook raises for a connection that failed.
        return error.__cause__
    if isinstance(error, openai.APIConnectionError):
        url = error.request.url
        kind = "did not answer in time" if isinstance(error, openai.APITimeoutError) else "can't be reached"
        return ProviderUnreachableError(
            f"{url.scheme}://{url.netloc.decode()} {kind} while {doing}.",
            hint="Check the address, the network, and that the server runs; then run the same command again.",
        )
    return ProviderError(f"The provider's answer while {doing} could not be understood: {_one_line(error)}")


def _explain_status(error: openai.APIStatusError, doing: str) -> ProviderError:
    where = f"{error.response.request.url.host} said no ({error.status_code}) while {doing}"
    said = f"{where}: {_provider_message(error)}"
    if error.code == "training_not_available":
        return TrainingNotAvailableError(
            said,
            hint=f"{_WIND_DOWN} Retune's own server takes the job: leave --base-url and OPENAI_BASE_URL unset, "
            "or point them at any other host that offers fine-tuning.",
        )
    if error.status_code == 401:
        return AuthenticationFailedError(
            said,
            hint="Set OPENAI_API_KEY to a key of this provider; "
            "for the local server of `retune`, where it was started with a key, set RETUNE_SERVER_API_KEY.",
        )
    if error.code == "insufficient_quota":
        return QuotaExceededError(said, hint="Add credit to the account; waiting alone will not help.")
    if error.status_code == 403:
        return ProviderError(said, hint="Check that the API key belongs to the right project, and what it may do.")
    if error.status_code == 429 or error.status_code >= 500:
        return ProviderError(said, hint="Run the same command again later; it resumes where it stopped.")
    return ProviderError(said, hint=f"The provider blames the field {error.param!r}." if error.param else None)


def _provider_message(error: openai.APIStatusError) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    return _without_key(_one_line(body.get("message") or error.message or "no reason given"), error)


def _hide_key(error: openai.OpenAIError) -> None:
    """Take the API key out of an error's text: Prefect logs the text of what it retries."""
    if isinstance(error, openai.APIStatusError):
        error.message = _without_key(error.message, error)
        error.args = (error.message,)


def _without_key(text: str, error: openai.APIStatusError) -> str:
    # Some hosts repeat the key that they refuse.
    key = error.request.headers.get("authorization", "").removeprefix("Bearer ")
    return text.replace(key, "[the API key]") if key else text


def _one_line(value: object, longest: int = 500) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= longest else text[: longest - 1] + "…"
