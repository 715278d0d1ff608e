"""Notifications: who is told how runs ended, and which of them wait for an approval.

| variable | what it holds |
|---|---|
| RETUNE_SLACK_WEBHOOK_URL | a Slack incoming webhook |
| RETUNE_WEBHOOK_URL | any address that takes a POST of `{"title": …, "message": …}` |
| RETUNE_SMTP_URL | a mail server and who gets the mail, as apprise takes it: `mailtos://user:password@host?to=…` |

Prefect's server sends. The blocks are Prefect's own, so that it needs nothing of Retune installed.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prefect.automations import AutomationCore, EventTrigger, Posture
from prefect.blocks.core import Block
from prefect.blocks.notifications import AppriseNotificationBlock, CustomWebhookNotificationBlock, SlackWebhook
from prefect.client.orchestration import PrefectClient
from prefect.events.actions import SendNotification
from pydantic import SecretStr, ValidationError

from retune.errors import ConfigError

_ENDS = {"retune.run.succeeded", "retune.run.failed", "retune.run.over-budget"}
_WAITS = {"prefect.flow-run.Suspended"}


@dataclass(frozen=True, slots=True)
class Channel:
    """A way to tell people.

    Attributes:
        name: What the block and the automations are called by.
        variable: The environment variable that holds the secret address.
        build: Makes the block from the address.
    """

    name: str
    variable: str
    build: Callable[[str], Block]


def _slack(address: str) -> Block:
    return SlackWebhook(url=SecretStr(address))


def _webhook(address: str) -> Block:
    # The address is a secret too, and the block's own field for it is none.
    return CustomWebhookNotificationBlock(
        name="retune",
        url="{{address}}",
        json_data={"title": "{{subject}}", "message": "{{body}}"},
        secrets={"address": address},
    )


def _mail(address: str) -> Block:
    # Apprise would send HTML, in which the message's lines run together.
    if "format=" not in address:
        address += ("&" if "?" in address else "?") + "format=text"
    return AppriseNotificationBlock(url=SecretStr(address))


CHANNELS = (
    Channel("slack", "RETUNE_SLACK_WEBHOOK_URL", _slack),
    Channel("webhook", "RETUNE_WEBHOOK_URL", _webhook),
    Channel("mail", "RETUNE_SMTP_URL", _mail),
)


async def register_notifications(client: PrefectClient) -> list[str]:
    """Make a block and automations for each channel that has an address; take the automations of the others away.

    Returns:
        A line for each channel that is told, or one that says that there is none.

    Raises:
        ConfigError: An address can't be used.
    """
    lines = []
    for channel in CHANNELS:
        address = os.environ.get(channel.variable)
        if address:
            block_id = await _save(client, channel, address)
            for automation in _automations(channel, block_id):
                await _bring_up_to_date(client, automation)
            lines.append(f"notification {channel.name}: runs that succeeded, failed, are over budget, want an approval")
        else:
            await _remove(client, channel)
    return lines or [f"notification none; set {', '.join(channel.variable for channel in CHANNELS)}"]


async def _save(client: PrefectClient, channel: Channel, address: str) -> Any:
    try:
        block = channel.build(address)
    except (ValidationError, ValueError, KeyError):
        # What they say may hold the address.
        raise ConfigError(
            f"{channel.variable} is not an address that Prefect's notification block for {channel.name} takes.",
            hint="A mail server is mailtos://user:password@host?to=person@host; the others are https://… addresses.",
        ) from None
    return await block.save(f"retune-{channel.name}", overwrite=True, client=client)  # type: ignore[misc]


def _automations(channel: Channel, block_id: Any) -> list[AutomationCore]:
    ended = SendNotification(
        block_document_id=block_id, subject="{{ event.payload.title }}", body="{{ event.payload.message }}"
    )
    waits = SendNotification(
        block_document_id=block_id,
        subject="Approval needed: {{ flow_run.name }}",
        body="The run {{ flow_run.name }} waits for your approval. Resume or cancel it here:\n{{ flow_run|ui_url }}",
    )
    of_retrain: Any = {"prefect.resource.role": "flow", "prefect.resource.name": "retrain"}
    return [
        AutomationCore(
            name=_ended_name(channel),
            description="Tells how retrain runs ended.",
            trigger=EventTrigger(posture=Posture.Reactive, expect=_ENDS, threshold=1, within=timedelta(0)),
            actions=[ended],
        ),
        AutomationCore(
            name=_waits_name(channel),
            description="Tells of retrain runs that wait for an approval.",
            trigger=EventTrigger(
                posture=Posture.Reactive,
                expect=_WAITS,
                match_related=of_retrain,
                threshold=1,
                within=timedelta(0),
            ),
            actions=[waits],
        ),
    ]


def _ended_name(channel: Channel) -> str:
    return f"retune - tell how runs ended by {channel.name}"


def _waits_name(channel: Channel) -> str:
    return f"retune - ask for approval by {channel.name}"


async def _bring_up_to_date(client: PrefectClient, automation: AutomationCore) -> None:
    known = await client.read_automations_by_name(automation.name)
    if known:
        # Whether it is enabled is for people to say.
        await client.update_automation(known[0].id, automation.model_copy(update={"enabled": known[0].enabled}))
    else:
        await client.create_automation(automation)


async def _remove(client: PrefectClient, channel: Channel) -> None:
    for name in (_ended_name(channel), _waits_name(channel)):
        for automation in await client.read_automations_by_name(name):
            await client.delete_automation(automation.id)
