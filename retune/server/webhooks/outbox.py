"""The outbox: notifications are written in the transaction of what they tell of, and delivered afterwards.

Whatever is committed is told of, whatever is rolled back is not, and a killed server forgets neither.
"""

import json
import time
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.orm import Session

from retune.server import ids
from retune.server.storage.tables import WebhookDeliveryRow

GIVE_UP_AFTER_SECONDS: Final = 72 * 3600
_KEPT_SECONDS = 7 * 24 * 3600


def add_event_to_outbox(session: Session, urls: Sequence[str], event_type: str, object_id: str) -> None:
    """Have an event told to every receiver, once this transaction is committed.

    Wake the background work after the commit, and it is told at once.

    Args:
        session: The writing session in which the event happens.
        urls: The receivers: `settings.webhook_urls`.
        event_type: Such as `fine_tuning.job.succeeded`.
        object_id: Id of the job or batch that it happened to.
    """
    event_id = ids.new_webhook_event_id()
    now = int(time.time())
    event = {"id": event_id, "object": "event", "type": event_type, "created_at": now, "data": {"id": object_id}}
    body = json.dumps(event, separators=(",", ":"))
    session.add_all(
        WebhookDeliveryRow(event_id=event_id, url=url, created_at=now, body=body, next_attempt_at=now)
        for url in map(without_credentials, urls)
    )


def outdated(now: int) -> ColumnElement[bool]:
    """Condition on notifications: long delivered or given up, or due to a receiver that is none any more."""
    next_attempt_at = WebhookDeliveryRow.next_attempt_at
    is_over = or_(next_attempt_at.is_(None), next_attempt_at < now - GIVE_UP_AFTER_SECONDS)
    return and_(WebhookDeliveryRow.created_at < now - _KEPT_SECONDS, is_over)


def without_credentials(url: str) -> str:
    """A receiver's URL without the user and password that it may hold: what the database may keep."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
