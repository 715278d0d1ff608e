import pytest

from retune.config import ProviderConfig
from retune.errors import AuthenticationFailedError, ConfigError
from retune.provider.client import build_client
from retune.provider.endpoint import require_endpoint, resolve_endpoint


def test_a_key_alone_never_chooses_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-paid")
    assert resolve_endpoint(ProviderConfig()) is None
    with pytest.raises(ConfigError, match="No provider is named"):
        require_endpoint(ProviderConfig())


def test_the_configuration_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://from.environment/v1")
    named = resolve_endpoint(ProviderConfig(base_url="http://localhost:8123/v1/"))
    assert named
    assert (named.base_url, named.identity, named.is_local) == (
        "http://localhost:8123/v1",
        "localhost:8123",
        True,
    )
    found = resolve_endpoint(ProviderConfig())
    assert found
    assert (found.identity, found.is_local, found.chosen_by) == ("from.environment", False, "OPENAI_BASE_URL")


@pytest.mark.parametrize(
    "address",
    [
        "api.openai.com/v1",
        "ftp://host/v1",
        "https://",
        "nonsense",
        "http://127.0.0.1:abc/v1",
        "http://127.0.0.1:70000/v1",
        "http://[::1",
        "http://a host/v1",
        "http://host\n/v1",
    ],
)
def test_an_address_that_is_no_url_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="must look like"):
        resolve_endpoint(ProviderConfig(base_url=address))


@pytest.mark.parametrize(
    "address",
    [
        "https://me:s3cret@host/v1",
        "ftp://me:s3cret@host/v1",
        "https://me:s3cret@host:abc/v1",
        "https://host/v1?api-key=s3cret",
        "https://host/v1#s3cret",
        "host?s3cret",
    ],
)
def test_a_secret_in_the_address_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_endpoint(ProviderConfig(base_url=address))
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"


def test_only_the_own_server_is_the_same_on_every_port(monkeypatch: pytest.MonkeyPatch) -> None:
    def identity(base_url: str, *, is_embedded: bool) -> str:
        return require_endpoint(ProviderConfig(base_url=base_url, is_embedded=is_embedded)).identity

    first, second = "http://127.0.0.1:8001/v1", "http://127.0.0.1:8002/v1"
    assert identity(first, is_embedded=True) == identity(second, is_embedded=True) == "local"
    assert identity(first, is_embedded=False) != identity(second, is_embedded=False)
    assert identity("https://api.openai.com/v1", is_embedded=True) == "api.openai.com"
    monkeypatch.setenv("RETUNE_OWN_SERVER", second)
    assert identity(second, is_embedded=False) == "local"
    assert identity(first, is_embedded=False) != "local"
    monkeypatch.setenv("RETUNE_OWN_SERVER", "https://api.openai.com/v1")
    assert identity("https://api.openai.com/v1", is_embedded=False) == "api.openai.com"


@pytest.mark.parametrize(
    ("base_url", "kind"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://eu.api.openai.com/v1", "openai"),
        ("https://desk.openai.azure.com/openai/v1", "azure"),
        ("https://DESK.cognitiveservices.azure.com/openai/v1", "azure"),
        ("https://desk.services.ai.azure.com/openai/v1", "azure"),
        ("https://openai.azure.com.elsewhere.example/v1", "other"),
        ("https://notopenai.com/v1", "other"),
        ("http://127.0.0.1:8123/v1", "other"),
    ],
)
def test_host_decides_the_providers_limits(base_url: str, kind: str) -> None:
    endpoint = require_endpoint(ProviderConfig(base_url=base_url))
    assert (endpoint.kind, endpoint.wants_bom) == (kind, kind == "azure")


def test_the_embedded_server_is_known_as_our_own() -> None:
    assert require_endpoint(ProviderConfig(base_url="http://127.0.0.1:1/v1", is_embedded=True)).kind == "retune"


@pytest.mark.parametrize(
    "spelling",
    [
        "https://API.OpenAI.com/v1/",
        "https://api.openai.com:443/v1",
        "HTTPS://api.openai.com./v1",
    ],
)
def test_another_spelling_of_an_address_is_no_other_provider(spelling: str) -> None:
    endpoint = require_endpoint(ProviderConfig(base_url=spelling))
    assert (endpoint.identity, endpoint.kind) == ("api.openai.com", "openai")


def test_other_ports_are_other_providers() -> None:
    identities = [
        require_endpoint(ProviderConfig(base_url=address)).identity
        for address in ("http://host:443", "https://host:80", "http://HOST:80", "http://[::1]:8000/v1")
    ]
    assert identities == ["host:443", "host:80", "host", "[::1]:8000"]


def test_a_paid_provider_needs_a_key() -> None:
    with pytest.raises(AuthenticationFailedError, match="OPENAI_API_KEY is not set"):
        build_client(ProviderConfig(base_url="https://api.openai.com/v1"))


async def test_the_sdk_retries_nothing_by_itself() -> None:
    async with build_client(ProviderConfig(base_url="http://127.0.0.1:1/v1")) as client:
        assert client.max_retries == 0
