"""The outbox: notifications are written in the transaction of what they report, and delivered afterwards.

Whatever is committed is reported, whatever is rolled back is not, and a killed server forgets neither.

As with OpenAI, any 2xx is a delivery; everything else, a redirect or silence included, is retried with growing pauses
for 72 hours. Delivery is at least once, with the same `webhook-id` each time.
"""

import json
import logging
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from retune.server import ids
from retune.server.settings import ServerSettings
from retune.server.storage.column_types import storable
from retune.server.storage.database import Database, DatabaseUnavailableError
from retune.server.storage.tables import WebhookDeliveryRow
from retune.server.webhooks.receivers import Receiver, receivers_of, signer_of, without_credentials
from retune.server.work_queue import POLL_SECONDS

if TYPE_CHECKING:
    from retune.server.webhooks.sending import Refusal, WebhookSender

GIVE_UP_AFTER_SECONDS: Final = 72 * 3600
_KEPT_SECONDS = 7 * 24 * 3600
_log = logging.getLogger(__name__)
_LONGEST_PAUSE_SECONDS = 4 * 3600
_PAUSE_AFTER_ERROR_SECONDS = 5.0
_LAST_ANSWER_SECONDS = 2.0


def add_event_to_outbox(session: Session, urls: Sequence[str], event_type: str, object_id: str) -> None:
    """Send an event to every receiver, once this transaction is committed.

    Wake the background work after the commit to send it at once.

    Args:
        session: The writing session in which the event happens.
        urls: The receivers: `settings.webhook_urls`.
        event_type: Such as `fine_tuning.job.succeeded`.
        object_id: Id of the job or batch that it happened to.
    """
    event_id = ids.new_id("evt_")
    now = int(time.time())
    event = {"id": event_id, "object": "event", "type": event_type, "created_at": now, "data": {"id": object_id}}
    body = json.dumps(event, separators=(",", ":"))
    session.add_all(
        WebhookDeliveryRow(event_id=event_id, url=url, created_at=now, body=body, next_attempt_at=now)
        for url in map(without_credentials, urls)
    )


def outdated(now: int) -> ColumnElement[bool]:
    """Condition on notifications: long delivered or given up, or due to a receiver that was removed."""
    next_attempt_at = WebhookDeliveryRow.next_attempt_at
    is_over = or_(next_attempt_at.is_(None), next_attempt_at < now - GIVE_UP_AFTER_SECONDS)
    return and_(WebhookDeliveryRow.created_at < now - _KEPT_SECONDS, is_over)


class WebhookDelivery:
    """One thread per receiver, so that a slow one does not delay the others. See `BackgroundWork`.

    Args:
        database: Where the outbox is.
        settings: With the receivers and the secret.

    Raises:
        ServerError: A receiver's URL is not an HTTP address, or there is no valid secret.
    """

    def __init__(self, database: Database, settings: ServerSettings) -> None:
        self._database = database
        self._receivers = receivers_of(settings)
        self._signer = signer_of(settings) if self._receivers else None
        self._threads: list[threading.Thread] = []
        self._news = threading.Condition()
        self._stopping = threading.Event()
        self._recording = threading.Lock()
        self._is_closed = False

    def start(self) -> None:
        """Start delivering, beginning with what an earlier server left in the outbox."""
        if self._signer is None:
            return
        from retune.server.webhooks.sending import WebhookSender  # noqa: PLC0415 - httpx takes 0.2 s; few servers notify

        sender = WebhookSender(self._signer)
        for receiver in self._receivers:
            # A daemon, as it may wait for an answer that never comes.
            thread = threading.Thread(target=self._serve, args=(receiver, sender), name="webhooks", daemon=True)
            self._threads.append(thread)
            thread.start()

    def wake(self) -> None:
        """Check the outbox now."""
        with self._news:
            self._news.notify_all()

    def is_alive(self) -> bool:
        """Whether all threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Stop delivering. An attempt that is not answered soon does not count, and is made again later."""
        self._stopping.set()
        self.wake()
        patience_ends = time.monotonic() + _LAST_ANSWER_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, patience_ends - time.monotonic()))
        with self._recording:
            self._is_closed = True

    def _serve(self, receiver: Receiver, sender: "WebhookSender") -> None:
        while not self._stopping.is_set():
            try:
                delivery = self._next_due(receiver)
                if delivery:
                    self._record(receiver, delivery, sender.send(receiver, delivery))
                else:
                    self._wait_for_news()
            except Exception as error:  # noqa: BLE001  # a full disk, a database that is away: the outbox waits
                is_foreseen = isinstance(error, DatabaseUnavailableError)
                _log.warning("Notifications for %s are delayed: %s", receiver.origin, error, exc_info=not is_foreseen)
                self._stopping.wait(_PAUSE_AFTER_ERROR_SECONDS)

    def _wait_for_news(self) -> None:
        with self._news:
            if not self._stopping.is_set():
                self._news.wait(POLL_SECONDS)

    def _next_due(self, receiver: Receiver) -> WebhookDeliveryRow | None:
        due = select(WebhookDeliveryRow).where(
            WebhookDeliveryRow.url == receiver.url, WebhookDeliveryRow.next_attempt_at <= int(time.time())
        )
        with self._database.read() as session:
            order = (WebhookDeliveryRow.next_attempt_at, WebhookDeliveryRow.position)
            return session.scalar(due.order_by(*order).limit(1))

    def _record(self, receiver: Receiver, delivery: WebhookDeliveryRow, refusal: "Refusal | None") -> None:
        now = int(time.time())
        # The database may belong to the next server once `stop` has returned.
        with self._recording:
            if self._is_closed:
                return
            with self._database.write() as session:
                row = session.get_one(WebhookDeliveryRow, delivery.position)
                row.attempts += 1
                row.last_error = storable(refusal.reason) if refusal else None
                row.delivered_at = None if refusal else now
                row.next_attempt_at = _next_attempt(row, refusal, now) if refusal else None
        if refusal:
            _log_refusal(receiver, row, refusal)


def _next_attempt(row: WebhookDeliveryRow, refusal: "Refusal", now: int) -> int | None:
    """When to try again: after 1, 2, 4, … seconds, up to four hours; None if never."""
    at = now + min(1 << min(row.attempts - 1, 30), _LONGEST_PAUSE_SECONDS)
    return None if refusal.is_final or at > row.created_at + GIVE_UP_AFTER_SECONDS else at


def _log_refusal(receiver: Receiver, row: WebhookDeliveryRow, refusal: "Refusal") -> None:
    what = f"Notification {row.event_id} was not accepted by {receiver.origin} ({refusal.reason})"
    if row.next_attempt_at is None:
        _log.error("%s; that was attempt %d, the last one", what, row.attempts)
    else:
        _log.warning("%s; attempt %d follows in %d s", what, row.attempts + 1, row.next_attempt_at - int(time.time()))
