"""One attempt to deliver one notification over HTTP."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import httpx
from standardwebhooks import Webhook

from retune.server.storage.tables import WebhookDeliveryRow
from retune.server.webhooks.receivers import Receiver

_TIMEOUT_SECONDS = 10.0
_GONE = 410


@dataclass(frozen=True, slots=True)
class Refusal:
    """A notification was not accepted.

    Attributes:
        reason: What came instead of a 2xx.
        is_final: The receiver wants no further attempt.
    """

    reason: str
    is_final: bool = False


class WebhookSender:
    """Posts notifications, signed as Standard Webhooks specifies. Safe to use from several threads at once."""

    def __init__(self, signer: Webhook) -> None:
        # At its usual level it would log every URL, and those may hold secrets.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._signer = signer
        self._client = httpx.Client(
            timeout=_TIMEOUT_SECONDS,
            follow_redirects=False,
            # A connection kept from the last notification would be long dead.
            limits=httpx.Limits(max_keepalive_connections=0),
            headers={"user-agent": f"retune/{version('retune')}"},
        )

    def send(self, receiver: Receiver, delivery: WebhookDeliveryRow) -> Refusal | None:
        """Make one attempt to deliver; None if it was delivered."""
        try:
            # The answer's body is of no interest, and may be endless.
            with self._client.stream(
                "POST",
                receiver.url,
                content=delivery.body.encode(),
                headers=self._headers(delivery),
                auth=receiver.credentials,
            ) as response:
                status = response.status_code
        except httpx.TransportError as error:
            return Refusal(f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001  # whatever is wrong with one receiver, its turn comes again
            return Refusal(type(error).__name__)
        return None if 200 <= status < 300 else Refusal(f"HTTP status {status}", is_final=status == _GONE)

    def _headers(self, delivery: WebhookDeliveryRow) -> dict[str, str]:
        now = datetime.now(UTC)
        return {
            "content-type": "application/json",
            "webhook-id": delivery.event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(delivery.event_id, now, delivery.body),
        }
