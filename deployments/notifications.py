"""Notifications by Slack, e-mail and webhook: a Prefect block for each channel, and automations that send by it.

| variable | channel |
|---|---|
| RETUNE_SLACK_WEBHOOK_URL | Slack: an incoming webhook, https://hooks.slack.com/services/... |
| RETUNE_SMTP_URL | e-mail, as apprise takes it: mailtos://user:password@example.com?to=team@example.com |
| RETUNE_WEBHOOK_URL | any http(s) address: gets {"title": ..., "message": ..., "type": "info", ...} by POST |

Prefect's server sends, so it is the server that must reach these addresses. It needs nothing but Prefect for that.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from apprise import Apprise
from prefect.automations import AutomationCore, EventTrigger, Posture
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.notifications import SlackWebhook
from prefect.client.orchestration import PrefectClient
from prefect.events.actions import SendNotification
from prefect.events.schemas.events import ResourceSpecification
from pydantic import SecretStr

from deployments.automations import put_automation
from retune.errors import ConfigError

# Longer than the automations take to resume a run on a slow server.
_NOT_TAKEN_UP_WITHIN = timedelta(minutes=2)
# A run's name has the data's in it; the texts of `retune.results.run_message` are made harmless already.
_RUN_OF = (
    "{% set run = (flow_run.name or 'A retrain run')|replace('<', '‹')|replace('>', '›')|replace('*', '∗')"
    "|replace('`', '')|replace('@', '＠') %}"
)
# Without PREFECT_UI_URL the server may not know where people see it.
_LINK = "{% if flow_run|ui_url %}\nRun: {{ flow_run|ui_url }}{% endif %}"


@dataclass(frozen=True, slots=True)
class _Channel:
    name: str
    variable: str
    block_name: str
    make_block: Callable[[str], NotificationBlock]


@dataclass(frozen=True, slots=True)
class _News:
    name: str
    description: str
    trigger: EventTrigger
    subject: str
    body: str


async def register_notifications(client: PrefectClient) -> list[str]:
    """Make block and automations of each channel whose variable is set; remove the automations of the others.

    A channel's block stays, since people may use it in automations of their own.

    Returns:
        A line for each channel.

    Raises:
        ConfigError: A variable does not hold an address of its channel. The message does not repeat it: it is a secret.
    """
    blocks = {
        channel.name: channel.make_block(address) if (address := _address(os.environ, channel.variable)) else None
        for channel in _CHANNELS
    }
    return [await _register(client, channel, blocks[channel.name]) for channel in _CHANNELS]


async def _register(client: PrefectClient, channel: _Channel, block: NotificationBlock | None) -> str:
    if block is None:
        removed = [await _remove(client, _automation_name(channel, news)) for news in _NEWS]
        gone = "; its automations were removed" if any(removed) else ""
        return f"notification {channel.name}: off{gone} (set {channel.variable})"
    block_id = await block.asave(channel.block_name, overwrite=True, client=client)
    for news in _NEWS:
        action = SendNotification(block_document_id=block_id, subject=news.subject, body=news.body)
        automation = AutomationCore(
            name=_automation_name(channel, news),
            description=news.description,
            trigger=news.trigger,
            actions=[action],
        )
        await put_automation(client, automation)
    return f"notification {channel.name}, by the block {block.get_block_type_slug()}/{channel.block_name}"


async def _remove(client: PrefectClient, name: str) -> bool:
    known = await client.read_automations_by_name(name)
    for automation in known:
        await client.delete_automation(automation.id)
    return bool(known)


def _automation_name(channel: _Channel, news: _News) -> str:
    return f"retune - {channel.name}: {news.name}"


def _address(environment: Mapping[str, str], variable: str) -> str:
    return environment.get(variable, "").strip()


def _slack(address: str) -> NotificationBlock:
    host = urlsplit(address).hostname
    if host not in {"hooks.slack.com", "hooks.slack-gov.com"} or not Apprise().add(address.replace("-gov", "")):
        raise ConfigError(
            "RETUNE_SLACK_WEBHOOK_URL is not the address of a Slack webhook.",
            hint="Expected https://hooks.slack.com/services/T.../B.../...; other receivers: RETUNE_WEBHOOK_URL.",
        )
    return SlackWebhook(url=SecretStr(address))


def _email(address: str) -> NotificationBlock:
    # As HTML, apprise's default, the lines of a plain text run into one another, and text of the data is markup.
    if "format=" not in urlsplit(address).query:
        address += ("&" if "?" in address else "?") + "format=text"
    if urlsplit(address).scheme not in {"mailto", "mailtos"} or not Apprise().add(address):
        raise ConfigError(
            "RETUNE_SMTP_URL is not an address that mail can be sent by.",
            hint="Expected mailtos://user:password@example.com?smtp=smtp.example.com&to=team@example.com; "
            "letters such as @ or / in the password are written as %40 or %2F.",
        )
    return _by_apprise(address)


def _webhook(address: str) -> NotificationBlock:
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(
            "RETUNE_WEBHOOK_URL is not the address of a webhook.",
            hint="Expected one that begins with https:// or http://.",
        )
    # What is the receiver's own is told from apprise's settings by a dash.
    query = "&".join(f"-{item}" for item in parts.query.split("&") if item)
    return _by_apprise(parts._replace(scheme=parts.scheme.replace("http", "json"), query=query, fragment="").geturl())


def _by_apprise(address: str) -> NotificationBlock:
    # Among Prefect's own blocks this is the one that hands any apprise address on. A block type of ours would have to
    # be installed wherever Prefect's server runs; and the one for webhooks writes the address, with the secret that is
    # in it, into the server's log when the receiver answers with an error.
    return SlackWebhook(url=SecretStr(address))


def _of_runs(*outcomes: str) -> EventTrigger:
    return EventTrigger(
        expect={f"retune.run.{outcome}" for outcome in outcomes},
        match=ResourceSpecification({"prefect.resource.id": "retune.run.*"}),
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )


def _of_states(posture: Posture, within: timedelta, *, after: set[str], expect: set[str]) -> EventTrigger:
    return EventTrigger(
        posture=posture,
        after=after,
        expect=expect,
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        match_related=ResourceSpecification({"prefect.resource.role": "flow", "prefect.resource.name": "retrain"}),
        for_each={"prefect.resource.id"},
        threshold=1,
        within=within,
    )


_CHANNELS = (
    _Channel("Slack", "RETUNE_SLACK_WEBHOOK_URL", "retune-slack", _slack),
    _Channel("e-mail", "RETUNE_SMTP_URL", "retune-email", _email),
    _Channel("webhook", "RETUNE_WEBHOOK_URL", "retune-webhook", _webhook),
)
_BEGINNINGS = ("Scheduled", "AwaitingRetry", "Pending", "Running", "Retrying")
_NEWS = (
    _News(
        "base model ends soon",
        "Warns each time that a retraining runs on a base model that its provider ends within 60 days.",
        _of_runs("ends-soon"),
        "{{ event.payload.title }}",
        "{{ event.payload.message }}",
    ),
    _News(
        "retrained",
        "Reports every retrained model: its scores, how long the training took, and what it cost.",
        _of_runs("succeeded"),
        "{{ event.payload.title }}",
        "{{ event.payload.message }}",
    ),
    _News(
        "failed or over budget",
        "Reports every retraining that failed or would have cost too much, and why.",
        _of_runs("failed", "over-budget"),
        "{{ event.payload.title }}",
        "{{ event.payload.message }}",
    ),
    _News(
        "lost",
        "Reports a retrain run whose process was lost and that was not resumed within two minutes.",
        # A crash that the automations recover from is followed by another state before that.
        _of_states(
            Posture.Proactive,
            _NOT_TAKEN_UP_WITHIN,
            after={"prefect.flow-run.Crashed"},
            expect={f"prefect.flow-run.{state}" for state in (*_BEGINNINGS, "Completed", "Unchanged", "Failed")}
            | {"prefect.flow-run.Cancelled", "prefect.flow-run.Cancelling"},
        ),
        _RUN_OF + "{{ run }}: its process was lost",
        _RUN_OF + "The process of {{ run }} was lost, and it was not resumed within two minutes.\n"
        "Its job may still be training. Retry the run in Prefect: it resumes where it stopped." + _LINK,
    ),
    _News(
        "approval needed",
        "Reports every retraining that waits for approval, and what it would cost.",
        _of_runs("approval-needed"),
        "{{ event.payload.title }}",
        "{{ event.payload.message }}",
    ),
)
