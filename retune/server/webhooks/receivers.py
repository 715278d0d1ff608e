"""The receivers of notifications: the operator's URLs and secret, checked before the server starts."""

import base64
import binascii
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from standardwebhooks import Webhook

from retune.errors import ServerError
from retune.server.settings import WEBHOOK_SECRET_VARIABLE, ServerSettings

_SECRET_PREFIX = "whsec_"  # noqa: S105  # what every secret begins with
# Standard Webhooks asks for 192 bits at least.
_MIN_SECRET_BYTES = 24
_HOW_TO_SET_THE_SECRET = (
    f"Set {WEBHOOK_SECRET_VARIABLE}, here and where notifications are verified. This prints a good one: "
    "python3 -c \"import base64, secrets; print('whsec_' + base64.b64encode(secrets.token_bytes(32)).decode())\""
)


@dataclass(frozen=True, slots=True)
class Receiver:
    """One address that is notified of events.

    Attributes:
        url: Where notifications go, without credentials.
        credentials: User and password for HTTP's basic authentication, where the operator's URL has them.
        origin: Scheme, host and port: what logs may say, as the rest of a URL is often a secret.
    """

    url: str
    origin: str
    credentials: tuple[str, str] | None = field(repr=False)


def receivers_of(settings: ServerSettings) -> list[Receiver]:
    """The receivers that an operator named.

    Raises:
        ServerError: A URL is not an HTTP address, or is given twice.
    """
    receivers = [_receiver(url) for url in settings.webhook_urls]
    urls = [receiver.url for receiver in receivers]
    for receiver in receivers:
        if urls.count(receiver.url) > 1:
            raise ServerError(
                f"A webhook URL at {receiver.origin} is given twice.", hint="Give each --webhook-url once."
            )
    return receivers


def signer_of(settings: ServerSettings) -> Webhook:
    """The signer of notifications.

    Raises:
        ServerError: The secret is missing or invalid.
    """
    if settings.webhook_secret is None:
        raise ServerError("Webhook URLs are set, but no secret to sign with.", hint=_HOW_TO_SET_THE_SECRET)
    prefix, found, text = settings.webhook_secret.get_secret_value().partition(_SECRET_PREFIX)
    try:
        secret = base64.b64decode(text, validate=True)
    except binascii.Error:
        secret = b""
    if prefix or not found or len(secret) < _MIN_SECRET_BYTES:
        raise ServerError(
            f"The webhook secret must be '{_SECRET_PREFIX}' and {_MIN_SECRET_BYTES} bytes or more in base64.",
            hint=_HOW_TO_SET_THE_SECRET,
        )
    return Webhook(secret)


def require_secret_for_receivers(settings: ServerSettings) -> None:
    """Refuse settings that name receivers but can't be worked with, before anything is created.

    Raises:
        ServerError: As `receivers_of` and `signer_of`.
    """
    if receivers_of(settings):
        signer_of(settings)


def without_credentials(url: str) -> str:
    """A receiver's URL without the user and password that it may hold: what the database may keep."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _receiver(url: str) -> Receiver:
    try:
        parts = urlsplit(url)
        origin = _origin(parts)
    except ValueError:
        origin = ""
    if not origin:
        # The URL itself is not repeated: it may hold a password.
        raise ServerError(
            "A webhook URL is not an address that accepts POST requests.",
            hint="Give --webhook-url as https://host/path.",
        )
    credentials = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return Receiver(without_credentials(url), origin, credentials)


def _origin(parts: SplitResult) -> str:
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" if parts.port is None else f"{parts.scheme}://{host}:{parts.port}"
