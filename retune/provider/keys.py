"""Which key goes to which address: each only to the one that it was given for, whatever a run's parameters say.

A run's parameters and the events that start runs are not the operator's word: whoever may start a run can write them.
So a key always comes together with its address. OPENAI_API_KEY is for OPENAI_BASE_URL, and without one for OpenAI; a
key in a Secret block is for the address in the same block. Commands that take an address set OPENAI_BASE_URL to it for
as long as they run: there the command line is the user's word.
"""

import ipaddress
import json
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote

from retune.errors import AuthenticationFailedError, UnexpectedAnswerError
from retune.provider.endpoint import DEFAULT_PORTS, OPENAI_URL, is_local, split_address
from retune.training_lines.keys import JsonObject

if TYPE_CHECKING:
    from httpx2 import URL, Request

ADDRESS_VARIABLE, KEY_VARIABLE = "OPENAI_BASE_URL", "OPENAI_API_KEY"
_BLOCK_EXAMPLE = '{"api_key": "...", "base_url": "https://api.openai.com/v1"}'
# What a request to a host needs that was not given the key; nothing in it is a secret.
_KEPT_ELSEWHERE = frozenset({"host", "accept", "accept-encoding", "user-agent", "connection", "range"})

Origin = tuple[str, str, int | None]


def environment_address() -> str:
    """The address that OPENAI_API_KEY is for: OPENAI_BASE_URL, else OpenAI's."""
    return os.environ.get(ADDRESS_VARIABLE) or OPENAI_URL


def covers(given: str, address: str) -> bool:
    """Whether what was given for one address may be used at another: the same origin, at the same path or below it.

    Raises:
        ConfigError: One of them is not an http(s) URL.
    """
    return _origin(given) == _origin(address) and _is_below(_segments(given), _segments(address))


def environment_key(base_url: str) -> str | None:
    """OPENAI_API_KEY, if it was given for this address; None where it is not set.

    Raises:
        AuthenticationFailedError: It was given for another address.
    """
    key = os.environ.get(KEY_VARIABLE)
    if key and not covers(environment_address(), base_url):
        raise _wrong_address(f"{KEY_VARIABLE} is for {_shown_environment_address()}", base_url)
    return key or None


def require_environment_address(base_url: str) -> None:
    """Refuse an address that the environment does not name.

    Raises:
        AuthenticationFailedError: The environment names another one.
    """
    if not covers(environment_address(), base_url):
        raise _wrong_address(f"Runs here may use the provider at {_shown_environment_address()} only", base_url)


def block_key(value: object, block: str, base_url: str) -> str:
    """The key in a Secret block, if it was given for this address.

    Args:
        value: What the block holds: an object with `api_key` and `base_url`, or the same as JSON text.
        block: The block's name.
        base_url: Where the key is to be sent.

    Raises:
        AuthenticationFailedError: The block does not say what its key is for, or says another address.
    """
    fields = _parse_block(value)
    key, given = fields.get("api_key"), fields.get("base_url")
    if not isinstance(key, str) or not key.strip() or not isinstance(given, str):
        raise AuthenticationFailedError(
            f"The Secret block {block!r}, which provider.api_key_block names, must hold a key and the address that it "
            "is for; it was not used.",
            hint=f"Store this in it, as JSON, with your key and address: {_BLOCK_EXAMPLE}",
        )
    if not covers(given, base_url):
        raise AuthenticationFailedError(
            f"The key in the Secret block {block!r} is for {given}, and the provider of this run is {base_url}; "
            "the key was not sent.",
            hint="Set provider.base_url to the address in the block; if the key is for the other address, too, make "
            "another block for it.",
        )
    return key.strip()


def send_only_to(base_url: str, api_key: str) -> Callable[["Request"], Awaitable[None]]:
    """A hook for each request of a client, also for those that follow a redirect.

    The headers that the SDK takes from OPENAI_CUSTOM_HEADERS, which may hold a key, are for the address that the
    environment names, as OPENAI_API_KEY is.

    To another origin than the client's goes no body and no header that may hold a secret. Some hosts answer a request
    for a file's content with a redirect to their storage, which is followed that way.
    """
    own = _origin(base_url)
    foreign = set() if covers(environment_address(), base_url) else _environment_headers()

    async def check(request: "Request") -> None:
        if _origin_of(request.url) == own:
            for name in foreign & set(request.headers):
                del request.headers[name]
            request.headers.setdefault("authorization", f"Bearer {api_key}")
            return
        if request.method not in {"GET", "HEAD"}:
            raise UnexpectedAnswerError(
                f"{base_url} redirects to {request.url.scheme}://{request.url.netloc.decode()}; neither key nor data "
                "was sent there.",
                hint="If that is the provider's address now, name it instead, with --base-url or OPENAI_BASE_URL.",
            )
        for name in [name for name in request.headers if name.lower() not in _KEPT_ELSEWHERE]:
            del request.headers[name]

    return check


def is_sent_in_clear(base_url: str) -> bool:
    """Whether a key on its way there can be read by others: plain HTTP, and not within a machine or private network."""
    parts = split_address(base_url)
    host = parts.hostname or ""
    if parts.scheme == "https" or is_local(base_url) or "." not in host.rstrip("."):
        return False
    try:
        return not ipaddress.ip_address(host).is_private
    except ValueError:
        return True


def _wrong_address(rule: str, base_url: str) -> AuthenticationFailedError:
    return AuthenticationFailedError(
        f"{rule}, and the provider of this run is {base_url}; nothing was sent there.",
        hint=f"If you mean that address, set {ADDRESS_VARIABLE}={base_url} and its key in the environment of the "
        "worker or program that runs this, or name a Secret block with key and address in provider.api_key_block.",
    )


def _shown_environment_address() -> str:
    address = environment_address()
    return f"{address} ({ADDRESS_VARIABLE} names it)" if os.environ.get(ADDRESS_VARIABLE) else f"{address}, by default"


def _environment_headers() -> set[str]:
    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n")
    return {name.strip().lower() for name, colon, _ in (line.partition(":") for line in lines) if colon}


def _parse_block(value: object) -> JsonObject:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def _origin(address: str) -> Origin:
    parts = split_address(address)
    return parts.scheme, (parts.hostname or "").rstrip("."), parts.port or DEFAULT_PORTS[parts.scheme]


def _origin_of(url: "URL") -> Origin:
    # As it is sent: another parser may find another host in the same text.
    return url.scheme, url.raw_host.decode("ascii").lower().rstrip("."), url.port or DEFAULT_PORTS.get(url.scheme)


def _segments(address: str) -> list[str]:
    return [segment for segment in split_address(address).path.split("/") if segment]


def _is_below(given: list[str], path: list[str]) -> bool:
    # What servers and proxies may resolve to another path is never below.
    names = [unquote(segment) for segment in path]
    is_plain = not any(name in {".", ".."} or "/" in name or "\\" in name for name in names)
    return is_plain and path[: len(given)] == given
