"""Where the provider is, and whether it can have what the run asks for."""

import os
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict

from retune.choices import OWN_SERVER_VARIABLE
from retune.config import ProviderConfig, ProviderKind
from retune.errors import ConfigError

OPENAI_URL = "https://api.openai.com/v1"
LOOPBACK_HOSTS = {"127.0.0.1", "localhost", "::1"}
_OPENAI_DOMAIN = "openai.com"
_AZURE_DOMAINS = ("openai.azure.com", "cognitiveservices.azure.com", "services.ai.azure.com")
DEFAULT_PORTS = {"http": 80, "https": 443}


class Endpoint(BaseModel):
    """Where a provider answers.

    Attributes:
        base_url: Address with its version path, without a trailing slash.
        identity: What stays the same from run to run: `local` for the server of this machine's data directory, which
            `retune run` and `retune up` start, and whose port changes; of any other its host in lower case, and its
            port where that is not the usual one.
        is_local: It answers on this machine, so asking often is polite.
        kind: Whose limits training files must keep.
        chosen_by: What named it, for people to read.
    """

    model_config = ConfigDict(frozen=True)

    base_url: str
    identity: str
    is_local: bool
    kind: ProviderKind
    chosen_by: str

    @property
    def wants_bom(self) -> bool:
        """Whether training files must begin with a byte order mark.

        Azure asks for it: "Training data files must be formatted as JSONL files, encoded in UTF-8 with a byte-order
        mark (BOM). The file must be less than 512 MB in size." (Microsoft Learn, "Customize a model with fine-tuning",
        learn.microsoft.com/azure/ai-services/openai/how-to/fine-tuning, section "Upload your training data".)
        """
        return self.kind == "azure"


def resolve_endpoint(config: ProviderConfig) -> Endpoint | None:
    """Find the provider's address: the configuration's, else OPENAI_BASE_URL, else None.

    An API key alone never chooses OpenAI: training there costs money, so its address has to be named.

    Raises:
        ConfigError: The address is not an http(s) URL, or holds what may be a secret.
    """
    configured = config.base_url
    address = configured or os.environ.get("OPENAI_BASE_URL") or None
    if address is None:
        return None
    parts = split_address(address)
    is_own = config.is_embedded or address.rstrip("/") == os.environ.get(OWN_SERVER_VARIABLE)
    is_embedded = is_own and is_local(address)
    return Endpoint(
        base_url=address.rstrip("/"),
        identity="local" if is_embedded else _host_and_port(parts),
        is_local=is_local(address),
        kind="retune" if is_embedded else provider_kind(address),
        chosen_by="--base-url or the configuration" if configured else "OPENAI_BASE_URL",
    )


def _host_and_port(parts: SplitResult) -> str:
    """One spelling of an address's host and port; another one would make another run, and pay for it again."""
    host = (parts.hostname or "").rstrip(".")
    host = f"[{host}]" if ":" in host else host
    return host if parts.port in (None, DEFAULT_PORTS[parts.scheme]) else f"{host}:{parts.port}"


def split_address(address: str) -> SplitResult:
    """Parse a provider's address.

    Raises:
        ConfigError: It is not an http(s) URL, or it holds what may be a secret.
    """
    if "?" in address or "#" in address:
        raise ConfigError(
            "The provider's address must have no query and no fragment, nothing after ? or #: it is written into "
            "reports.",
            hint="Put the key into OPENAI_API_KEY.",
        )
    parts = _parse_url(address)
    if parts is None:
        # What stands before an @ may be a password.
        found = "" if "@" in address else f", not {address!r}"
        raise ConfigError(
            f"The provider's address must look like {OPENAI_URL}{found}.",
            hint="Check --base-url and OPENAI_BASE_URL.",
        )
    if "@" in parts.netloc:
        raise ConfigError(
            "The provider's address must hold no user name and no password: it is written into reports.",
            hint="Put the key into OPENAI_API_KEY.",
        )
    return parts


def _parse_url(address: str) -> SplitResult | None:
    """Split an http(s) URL; None where it is none."""
    if " " in address or not address.isprintable():
        return None
    try:
        parts = urlsplit(address)
        # Reading the port checks it.
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if is_url else None


def provider_kind(address: str) -> ProviderKind:
    """Tell by its host whose service answers at an address. Retune's own server can't be told by it: that is `other`.

    Azure's hosts: `NAME.openai.azure.com`, `NAME.cognitiveservices.azure.com`, and Foundry's
    `NAME.services.ai.azure.com`.
    """
    host = (urlsplit(address).hostname or "").rstrip(".")
    if _is_within(host, _OPENAI_DOMAIN):
        return "openai"
    return "azure" if any(_is_within(host, domain) for domain in _AZURE_DOMAINS) else "other"


def _is_within(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def is_local(address: str) -> bool:
    """Whether an address is on this machine."""
    return urlsplit(address).hostname in LOOPBACK_HOSTS


def require_endpoint(config: ProviderConfig) -> Endpoint:
    """Like `resolve_endpoint`, where there has to be one.

    Raises:
        ConfigError: No address is given, or it is not a URL.
    """
    endpoint = resolve_endpoint(config)
    if endpoint is None:
        raise ConfigError(
            "No provider is named: neither provider.base_url nor OPENAI_BASE_URL is set.",
            hint=f"Start one with `retune server start` and set OPENAI_BASE_URL to its address, or name {OPENAI_URL}.",
        )
    return endpoint
