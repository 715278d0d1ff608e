"""Keys go to the address that they were given for, and to no other; real servers write down what they were sent."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from key_receivers import KeyReceiver, key_receiver

from retune.config import ProviderConfig
from retune.errors import AuthenticationFailedError, RetuneError, UnexpectedAnswerError
from retune.provider.client import build_client
from retune.provider.errors import is_transient, provider_call
from retune.provider.keys import block_key, covers, is_sent_in_clear

KEY = "sk-mine-0123456789"
HOUSE = "https://api.example.com/v1"


@pytest.fixture
def mine() -> Iterator[KeyReceiver]:
    with key_receiver() as receiver:
        yield receiver


@pytest.fixture
def other() -> Iterator[KeyReceiver]:
    with key_receiver() as receiver:
        yield receiver


async def test_a_key_goes_where_the_environment_says(mine: KeyReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", mine.base_url)
    async with build_client(ProviderConfig()) as client:
        await client.models.list()
    assert mine.keys == {f"Bearer {KEY}"}


@pytest.mark.parametrize("named", ["another address", "nothing"])
def test_a_key_goes_nowhere_else(
    mine: KeyReceiver, other: KeyReceiver, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    if named == "another address":
        monkeypatch.setenv("OPENAI_BASE_URL", mine.base_url)
    given = mine.base_url if named == "another address" else "https://api.openai.com/v1"
    with pytest.raises(AuthenticationFailedError, match=f"OPENAI_API_KEY is for {given}.*{other.base_url}") as caught:
        build_client(ProviderConfig(base_url=other.base_url))
    assert f"set OPENAI_BASE_URL={other.base_url}" in str(caught.value.hint)
    # What the hint says works.
    monkeypatch.setenv("OPENAI_BASE_URL", other.base_url)
    build_client(ProviderConfig(base_url=other.base_url))
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "https://api.example.com/v1/",
        "https://API.example.com:443/v1",
        "https://api.example.com./v1/deployments/mine",
    ],
)
def test_key_covers_other_spellings_of_its_address(address: str) -> None:
    assert covers(HOUSE, address)


@pytest.mark.parametrize(
    "address",
    [
        "http://api.example.com/v1",
        "https://api.example.com:8443/v1",
        "https://api.example.com.evil.example/v1",
        "https://evil.example/https://api.example.com/v1",
        "https://api.example.com/v1evil",
        "https://api.example.com/",
        "https://api.example.com/v1/../v2",
        "https://api.example.com/v1/%2e%2e/v2",
        "https://api.example.com/v1/..%2fv2",
        "https://api.example.com/v1/..%5cv2",
    ],
)
def test_key_is_not_sent_to_another_address(address: str) -> None:
    assert not covers(HOUSE, address)


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_whatever_follows_the_host_is_covered_only_below_the_path(text: str) -> None:
    try:
        is_covered = covers(HOUSE, f"https://api.example.com{text}")
    except RetuneError:
        return
    assert not is_covered or text.lstrip(".").startswith((":443/", "/"))


async def test_a_redirect_elsewhere_carries_neither_key_nor_data(
    mine: KeyReceiver, other: KeyReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", mine.base_url)
    # The SDK sends these with every request, and its HTTP client takes them along to where it is redirected.
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"api-key: {KEY}")
    mine.redirect = other.base_url
    async with build_client(ProviderConfig()) as client:
        await client.models.list()
        with pytest.raises(UnexpectedAnswerError, match=f"redirects to {other.base_url[:-3]}; neither key nor data"):
            async with provider_call("creating the job"):
                await client.fine_tuning.jobs.create(model="m", training_file="file-1")
    assert [request[:2] for request in mine.requests] == [("GET", "/v1/models"), ("POST", "/v1/fine_tuning/jobs")]
    assert [request[:2] for request in other.requests] == [("GET", "/v1/models")]
    assert KEY in mine.said
    assert KEY not in other.said


async def test_headers_of_the_environment_are_for_its_address(
    mine: KeyReceiver, other: KeyReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key of its own, from a block, for another address than the environment's."""
    monkeypatch.setenv("OPENAI_BASE_URL", mine.base_url)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"api-key: {KEY}\nAuthorization: Bearer {KEY}")
    for receiver in (mine, other):
        async with build_client(ProviderConfig(base_url=receiver.base_url), "sk-of-a-block") as client:
            await client.models.list()
    assert KEY in mine.said
    assert KEY not in other.said
    assert other.keys == {"Bearer sk-of-a-block"}


def test_a_block_says_what_its_key_is_for() -> None:
    fields = {"api_key": KEY, "base_url": HOUSE}
    assert block_key(fields, "team", HOUSE) == KEY
    assert block_key(json.dumps(fields), "team", f"{HOUSE}/") == KEY
    with pytest.raises(AuthenticationFailedError, match=f"'team' is for {HOUSE}.*https://evil.example/v1"):
        block_key(fields, "team", "https://evil.example/v1")


@pytest.mark.parametrize("value", [KEY, "", None, "[]", {"api_key": KEY}, {"base_url": HOUSE}, {"api_key": 1}])
def test_a_block_without_an_address_is_not_used(value: object) -> None:
    with pytest.raises(AuthenticationFailedError, match="must hold a key and the address") as caught:
        block_key(value, "team", HOUSE)
    assert '"base_url"' in str(caught.value.hint)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "is_clear"),
    [
        ("http://trainer.example.com/v1", True),
        ("http://8.8.8.8/v1", True),
        ("https://trainer.example.com/v1", False),
        ("http://127.0.0.1:8123/v1", False),
        ("http://10.0.0.7:8123/v1", False),
        ("http://fine-tuning-server:8123/v1", False),
    ],
)
def test_addresses_that_send_in_clear_text_are_recognized(address: str, is_clear: bool) -> None:
    assert is_sent_in_clear(address) is is_clear


async def test_what_a_redirect_stopped_is_not_tried_again(
    mine: KeyReceiver, other: KeyReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", mine.base_url)
    mine.redirect = other.base_url
    async with build_client(ProviderConfig()) as client:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever the SDK makes of it
            await client.fine_tuning.jobs.create(model="m", training_file="file-1")
    assert not is_transient(caught.value)
