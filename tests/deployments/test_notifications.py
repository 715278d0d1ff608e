"""What is sent when runs end, by a real Prefect server to a mail server and a webhook of this machine."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from notice_receivers import Mailbox, Webhook, mail_server, webhook_server
from prefect.client.orchestration import get_client
from prefect_process import PrefectServer
from waiting import wait_for

from deployments.notifications import register_notifications
from retune.errors import ConfigError
from retune.results.run_message import RunNotice

# Of apprise, when it looks for its plugins.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

VARIABLES = ("RETUNE_SLACK_WEBHOOK_URL", "RETUNE_SMTP_URL", "RETUNE_WEBHOOK_URL")
NEWS = ("approval needed", "base model ends soon", "failed or over budget", "lost", "retrained")


@pytest.fixture(autouse=True)
def no_channels(prefect_client_settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def register() -> list[str]:
    async def with_a_client() -> list[str]:
        async with get_client() as client:
            return await register_notifications(client)

    return asyncio.run(with_a_client())


def automations(server: PrefectServer) -> dict[str, dict[str, Any]]:
    found = [item for item in server.find("automations") if item["name"].endswith(NEWS)]
    by_name = {item["name"]: item for item in found}
    assert len(by_name) == len(found), "no automation is there twice"
    return by_name


def tell(server: PrefectServer, notice: RunNotice) -> None:
    event = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": f"retune.run.{notice.outcome}",
        "resource": {"prefect.resource.id": f"retune.run.{uuid4()}", "prefect.resource.name": "a run"},
        "payload": {**notice.model_dump(mode="json"), "title": notice.title, "message": notice.message},
    }
    server.request("POST", "/events", [event])


def set_state(server: PrefectServer, flow_run_id: str, kind: str, name: str) -> None:
    body = {"state": {"type": kind, "name": name}, "force": True}
    server.request("POST", f"/flow_runs/{flow_run_id}/set_state", body)


def start_retrain_run(server: PrefectServer, name: str) -> str:
    flow = server.request("POST", "/flows/", {"name": "retrain"})
    state = {"type": "RUNNING", "name": "Running"}
    return str(server.request("POST", "/flow_runs/", {"flow_id": flow["id"], "name": name, "state": state})["id"])


def received(webhook: Webhook, mailbox: Mailbox, title: str) -> tuple[dict[str, Any], str]:
    def look() -> tuple[dict[str, Any], str] | None:
        posted = [body for body in webhook.bodies if body["title"] == title]
        mailed = [mail.get_content() for mail in mailbox.messages if mail["subject"] == title]
        assert len(posted) < 2, "it is told once"
        assert len(mailed) < 2, "it is told once"
        return (posted[0], mailed[0].replace("\r\n", "\n").strip()) if posted and mailed else None

    return wait_for(look, f"{title!r} by mail and webhook")


@pytest.mark.slow
def test_notifications_are_sent_without_showing_addresses(
    prefect_server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = ("a-path-nobody-knows", "a-signature")
    with mail_server() as mailbox, webhook_server() as webhook:
        monkeypatch.setenv("RETUNE_WEBHOOK_URL", f"{webhook.url}/{secrets[0]}?sig={secrets[1]}&format=x%2By")
        monkeypatch.setenv("RETUNE_SMTP_URL", mailbox.url)
        lines = register()
        assert register() == lines
        assert sorted(automations(prefect_server)) == sorted(
            f"retune - {channel}: {news}" for channel in ("e-mail", "webhook") for news in NEWS
        )

        notice = RunNotice(
            outcome="succeeded", model="baseline-text", data="<!channel> {{ 7 * 7 }}", exact_match=0.75, n_test=40
        )
        tell(prefect_server, notice)
        posted, mailed = received(webhook, mailbox, notice.title)
        assert posted["path"] == f"/{secrets[0]}?sig={secrets[1]}&format=x%2By"
        assert posted["message"] == mailed == notice.message

        refused = RunNotice(outcome="over-budget", model="gpt-4.1", data="tickets", error="It would cost $40.00.")
        tell(prefect_server, refused)
        assert received(webhook, mailbox, refused.title)[1] == refused.message

        waiting = RunNotice(outcome="approval-needed", model="gpt-4.1", data="<!here>", error="It would cost $40.00.")
        tell(prefect_server, waiting)
        assert received(webhook, mailbox, "gpt-4.1 on ‹!here›: waits for your approval")[1] == waiting.message

        ending = RunNotice(
            outcome="ends-soon",
            model="gpt-4.1",
            data="tickets",
            days_left=38,
            error="gpt-4.1: no new jobs from 2027-01-06 (in 38 days).",
            advice="Train on Retune's own server.",
        )
        tell(prefect_server, ending)
        text = received(webhook, mailbox, "gpt-4.1 on tickets: the base model ends in 38 days")[1]
        assert text == ending.message
        assert "Train on Retune's own server." in text

        # A receiver that fails is where an address would come into the log.
        webhook.status = 500
        failed = RunNotice(outcome="failed", model="gpt-4.1", data="tickets", error="The file was refused.")
        tell(prefect_server, failed)
        received(webhook, mailbox, failed.title)
        wait_for(lambda: prefect_server.events("prefect.automation.action.failed"), "the failure to be recorded")

    told = json.dumps(
        [
            prefect_server.find("automations"),
            prefect_server.find("block_documents"),
            prefect_server.events("prefect."),
            prefect_server.events("retune."),
            lines,
        ]
    )
    for secret in secrets:
        assert secret not in told
        assert secret not in prefect_server.processes.logs()


@pytest.mark.slow
def test_crash_is_announced_only_if_the_run_is_not_rescheduled(
    prefect_server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhook_server() as webhook:
        monkeypatch.setenv("RETUNE_WEBHOOK_URL", webhook.url)
        register()
        shortest = 10  # seconds; the shortest that Prefect takes
        lost = automations(prefect_server)["retune - webhook: lost"]
        fields = {key: lost[key] for key in ("name", "description", "enabled", "actions")}
        trigger = {**lost["trigger"], "within": shortest}
        prefect_server.request("PUT", f"/automations/{lost['id']}", {**fields, "trigger": trigger})

        mended, gone = (start_retrain_run(prefect_server, name) for name in ("mended", "gone"))
        for run in (mended, gone):
            # The worker tells of a crash twice.
            set_state(prefect_server, run, "CRASHED", "Crashed")
            set_state(prefect_server, run, "CRASHED", "Crashed")
        set_state(prefect_server, mended, "SCHEDULED", "AwaitingRetry")
        wait_for(lambda: webhook.bodies, "the lost run")

        assert [body["title"] for body in webhook.bodies] == ["gone: its process was lost"]


@pytest.mark.slow
def test_a_channel_that_is_gone_keeps_its_block_and_nothing_else(
    prefect_server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETUNE_SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/T12345678/B12345678/" + "x" * 24)
    register()
    made = automations(prefect_server)["retune - Slack: retrained"]
    prefect_server.request("PATCH", f"/automations/{made['id']}", {"enabled": False})
    register()
    assert automations(prefect_server)["retune - Slack: retrained"]["enabled"] is False
    assert automations(prefect_server)["retune - Slack: retrained"]["id"] == made["id"]

    monkeypatch.delenv("RETUNE_SLACK_WEBHOOK_URL")
    lines = register()

    assert "notification Slack: off; its automations were removed (set RETUNE_SLACK_WEBHOOK_URL)" in lines
    assert automations(prefect_server) == {}
    assert "retune-slack" in {block["name"] for block in prefect_server.find("block_documents")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "address"),
    [
        ("RETUNE_SLACK_WEBHOOK_URL", "https://example.com/services/T12345678/B12345678/a-secret"),
        ("RETUNE_SLACK_WEBHOOK_URL", "https://hooks.slack.com/a-secret"),
        ("RETUNE_SMTP_URL", "smtp://someone:a-secret@example.com"),
        ("RETUNE_SMTP_URL", "mailtos://"),
        ("RETUNE_WEBHOOK_URL", "ftp://example.com/a-secret"),
        ("RETUNE_WEBHOOK_URL", "https://"),
    ],
)
def test_invalid_webhook_url_is_refused_and_not_repeated(
    variable: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, address)

    with pytest.raises(ConfigError) as refused:
        register()

    assert variable in str(refused.value)
    assert "a-secret" not in str(refused.value)
