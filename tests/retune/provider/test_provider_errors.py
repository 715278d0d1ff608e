"""Real answers over a real connection, put into words."""

import json
import time

import openai
import pytest
from faulty_proxy import Fault, FaultyProxy, faulty_proxy

from retune.config import ProviderConfig
from retune.errors import (
    AuthenticationFailedError,
    ProviderError,
    ProviderUnreachableError,
    QuotaExceededError,
    RetuneError,
    TrainingNotAvailableError,
)
from retune.provider.client import build_client
from retune.provider.errors import explain, is_transient, may_have_been_done, provider_call, retry_after_seconds


def error_body(
    message: str, *, kind: str = "invalid_request_error", code: str | None = None, param: str | None = None
) -> bytes:
    return json.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}}).encode()


async def fail(proxy: FaultyProxy, fault: Fault) -> openai.OpenAIError:
    proxy.faults.append(fault)
    async with build_client(ProviderConfig(base_url=proxy.base_url, timeout_seconds=0.5)) as client:
        with pytest.raises(openai.OpenAIError) as caught:
            await client.models.list()
    return caught.value


@pytest.mark.parametrize(
    ("fault", "transient"),
    [
        (Fault("GET", "/models", status=500), True),
        (Fault("GET", "/models", status=503), True),
        (Fault("GET", "/models", status=429), True),
        (Fault("GET", "/models", status=408), True),
        (Fault("GET", "/models", status=409), True),
        (Fault("GET", "/models"), True),
        (Fault("GET", "/models", delay_seconds=1), True),
        (Fault("GET", "/models", status=400), False),
        (Fault("GET", "/models", status=401), False),
        (Fault("GET", "/models", status=404), False),
        (Fault("GET", "/models", status=429, body=error_body("no credit", code="insufficient_quota")), False),
        (Fault("GET", "/models", status=500, headers={"x-should-retry": "false"}), False),
    ],
    ids=lambda value: f"{value.status}" if isinstance(value, Fault) else None,
)
async def test_transient_failures_are_recognized(training_server: str, fault: Fault, transient: bool) -> None:
    with faulty_proxy(training_server) as proxy:
        assert is_transient(await fail(proxy, fault)) is transient


@pytest.mark.parametrize(
    ("status", "may_have_been"),
    [
        *((status, True) for status in (408, 409, 500, 502, 503)),
        *((status, False) for status in (400, 401, 403, 404, 422, 429, 501, 505)),
        (None, True),
    ],
)
async def test_a_request_may_have_been_done_unless_it_was_refused(
    training_server: str, status: int | None, may_have_been: bool
) -> None:
    """No status: the answer was lost. What may have been done is never asked for again before a search."""
    with faulty_proxy(training_server) as proxy:
        assert may_have_been_done(await fail(proxy, Fault("GET", "/models", status=status))) is may_have_been


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "999999"}, 600.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
async def test_how_long_the_server_asks_to_wait(
    training_server: str, headers: dict[str, str], seconds: float | None
) -> None:
    with faulty_proxy(training_server) as proxy:
        assert retry_after_seconds(await fail(proxy, Fault("GET", "/models", status=429, headers=headers))) == seconds


async def test_a_date_to_wait_for_is_understood(training_server: str) -> None:
    moment = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 30))
    with faulty_proxy(training_server) as proxy:
        error = await fail(proxy, Fault("GET", "/models", status=503, headers={"retry-after": moment}))
    assert 20 < (retry_after_seconds(error) or 0) <= 30


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (401, error_body("Incorrect API key provided: sk-…x."), AuthenticationFailedError, "Set OPENAI_API_KEY"),
        (403, error_body("winding down", code="training_not_available"), TrainingNotAvailableError, "2027-01-06"),
        (429, error_body("no credit", code="insufficient_quota"), QuotaExceededError, "Add credit"),
        (400, error_body("invalid training_file: X", param="training_file"), ProviderError, "field 'training_file'"),
        (404, b"<html>not json</html>", ProviderError, "said no (404) while listing"),
    ],
)
async def test_permanent_failures_say_what_to_do(
    training_server: str, status: int, body: bytes, kind: type[RetuneError], said: str
) -> None:
    with faulty_proxy(training_server) as proxy:
        error = explain(await fail(proxy, Fault("GET", "/models", status=status, body=body)), "listing models")
    assert type(error) is kind
    assert said in str(error)


async def test_unreachable_provider_is_explained(unused_tcp_port: int) -> None:
    async with build_client(ProviderConfig(base_url=f"http://127.0.0.1:{unused_tcp_port}/v1")) as client:
        with pytest.raises(openai.APIConnectionError) as caught:
            async with provider_call("listing models"):
                await client.models.list()
    said = explain(caught.value, "listing models")
    assert isinstance(said, ProviderUnreachableError)
    assert f"http://127.0.0.1:{unused_tcp_port} can't be reached while listing models" in said.message


async def test_a_key_that_the_host_repeats_is_not_passed_on(
    training_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-mine")
    body = error_body("Incorrect API key provided: sk-secret-of-mine.")
    with faulty_proxy(training_server) as proxy:
        monkeypatch.setenv("OPENAI_BASE_URL", proxy.base_url)
        error = explain(await fail(proxy, Fault("GET", "/models", status=401, body=body)), "listing models")
    assert "sk-secret-of-mine" not in str(error)
    assert "Incorrect API key provided: [the API key]." in str(error)
