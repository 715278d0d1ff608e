"""Who is told how a run ended: blocks and automations in a real Prefect server, a real mail server, a real receiver."""

import json
import sys
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from aiosmtpd.controller import Controller
from prefect_process import PrefectServer, eventually
from webhook_receiver import Receiver

PAYLOAD = {"title": "gpt-4.1-nano on tickets: 92 %", "message": "line one & more\nline two"}
SECRET = "token-that-nobody-may-see"
_REGISTER = """
import asyncio
from prefect.client.orchestration import get_client
from deployments.notifications import register_notifications

async def main():
    async with get_client() as client:
        print("\\n".join(await register_notifications(client)))

asyncio.run(main())
"""


class Mailbox:
    """Keeps what arrives."""

    def __init__(self) -> None:
        self.mails: list[str] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.mails.append(envelope.content.decode())
        return "250 OK"


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    mailbox = Mailbox()
    controller = Controller(mailbox, hostname="127.0.0.1", port=0)
    controller.start()
    assert controller.server is not None
    yield mailbox, controller.server.sockets[0].getsockname()[1]
    controller.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver().listen()
    yield receiver
    receiver.close()


def register(server: PrefectServer, **variables: str) -> str:
    return server.processes.run(sys.executable, "-P", "-c", _REGISTER, **variables)


def test_a_run_that_succeeded_is_told_by_mail_and_webhook(
    prefect_server: PrefectServer, mailbox: tuple[Mailbox, int], receiver: Receiver
) -> None:
    box, port = mailbox
    addresses = {
        "RETUNE_WEBHOOK_URL": f"{receiver.url}?token={SECRET}",
        "RETUNE_SMTP_URL": f"mailto://127.0.0.1:{port}?from=retune@example.org&to=team@example.org&name={SECRET}",
    }
    said = register(prefect_server, **addresses) + register(prefect_server, **addresses)
    automations = [item for item in prefect_server.find("automations") if " by " in item["name"]]
    assert len(automations) == 4
    assert SECRET not in said + json.dumps(automations)

    run = f"retune.run.{uuid4()}"
    event = {
        "id": str(uuid4()),
        "occurred": "2026-01-01T00:00:00Z",
        "event": "retune.run.succeeded",
        "resource": {"prefect.resource.id": run},
        "payload": PAYLOAD,
    }

    def told() -> bool:
        # The server may take a moment to know its new automations.
        prefect_server.request("POST", "/events", [{**event, "id": str(uuid4())}])
        return bool(box.mails) and bool(receiver.notifications)

    eventually(told, "mail and webhook")
    assert json.loads(receiver.notifications[0][1]) == PAYLOAD
    assert f"Subject: {PAYLOAD['title']}" in box.mails[0]
    assert "line one & more\r\nline two" in box.mails[0]

    assert register(prefect_server).startswith("notification none")
    assert not [item for item in prefect_server.find("automations") if " by " in item["name"]]
