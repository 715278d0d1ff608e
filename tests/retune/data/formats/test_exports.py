"""Exports of annotation and support programs, and ToolACE: refused with a hint, and following the hint leads on."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from retune.cli.app import app
from retune.errors import SourceError

LABELS = ("lost_card", "fees")
TEXTS = [f"I lost my card number {number}." for number in range(30)]


def argilla_2(text: str, label: str) -> dict[str, Any]:
    response = {"value": label, "user_id": "u1", "status": "submitted"}
    suggestion = {"label": {"value": "fees", "score": 0.5}}
    return {"id": text, "fields": {"text": text}, "suggestions": suggestion, "responses": {"label": [response]}}


def argilla_1(text: str, label: str) -> dict[str, Any]:
    responses = [{"user_id": "u1", "values": {"topic": {"value": label}}, "status": "submitted"}]
    return {"id": text, "fields": {"text": text}, "responses": responses, "suggestions": [], "metadata": {}}


def label_studio(text: str, label: str) -> dict[str, Any]:
    result = {"id": "r", "type": "choices", "value": {"choices": [label]}, "from_name": "topic", "to_name": "text"}
    annotations = [{"id": 1, "completed_by": 1, "result": [result], "was_cancelled": False}]
    return {"id": 7, "data": {"text": text}, "annotations": annotations, "predictions": [], "project": 1}


def refusal(path: Path) -> SourceError:
    error = CliRunner().invoke(app, ["check", str(path)]).exception
    assert isinstance(error, SourceError)
    return error


def checked(path: Path, *flags: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["check", str(path), "--json", *flags])
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


@pytest.mark.parametrize("record", [argilla_2, argilla_1, label_studio])
def test_the_hint_names_flags_that_read_the_first_annotators_answers(tmp_path: Path, record: Any) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps([record(text, LABELS[number % 2]) for number, text in enumerate(TEXTS)]))
    flags = re.search(r"said: (--user-column .*)\.$", refusal(path).hint or "")
    assert flags is not None
    document = checked(path, *shlex.split(flags[1]))
    assert document["n_examples"] == len(TEXTS)
    assert document["labels"]["counts"] == dict.fromkeys(LABELS, 15)


def test_of_several_questions_all_are_named(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    records = [argilla_2(text, "fees") for text in TEXTS]
    for record in records:
        record["responses"]["comment"] = [{"value": "none", "user_id": "u1"}]
    path.write_text(json.dumps(records))
    assert "there are fields.text and responses.label.0.value, responses.comment.0.value." in str(refusal(path).hint)


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
@pytest.mark.parametrize("is_list", [True, False])
def test_the_command_for_intercom_gives_rows_that_are_read(tmp_path: Path, is_list: bool) -> None:
    def part(kind: str, body: str | None) -> dict[str, Any]:
        return {"part_type": "comment", "body": body, "author": {"type": kind, "id": "1"}}

    conversations = [
        {
            "id": str(number),
            "source": part("user", f"<p>{text}</p>"),
            "conversation_parts": {"conversation_parts": [part("bot", None), part("admin", "<p>So <b>sorry</b>.</p>")]},
        }
        for number, text in enumerate(TEXTS)
    ]
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps(conversations if is_list else {"type": "list", "conversations": conversations}))
    command = str(refusal(path).hint).partition("of HTML: ")[2]
    subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, check=True)
    assert checked(tmp_path / "messages.jsonl")["n_examples"] == len(TEXTS)
    assert "<" not in (tmp_path / "messages.jsonl").read_text()


def test_calls_in_text_are_an_error_whose_command_makes_them_text_to_learn(tmp_path: Path) -> None:
    rows = [
        {
            "system": 'Call as [func(params)]. Functions: [{"name": "get_weather"}]',
            "conversations": [
                {"from": "user", "value": f"How is {text}?"},
                {"from": "assistant", "value": f'[get_weather(city="{text}")]'},
                {"from": "tool", "value": '[{"name": "get_weather", "results": {"from": "tool"}}]'},
                {"from": "assistant", "value": "Fine."},
            ],
        }
        for text in TEXTS
    ]
    path = tmp_path / "FILE.json"
    path.write_text(json.dumps(rows))
    result = CliRunner().invoke(app, ["check", str(path), "--json"])
    groups = {group["kind"]: group for group in json.loads(result.stdout)["groups"]}
    assert groups["call_in_text"]["count"] == len(TEXTS)
    assert "message 4 (tool) answers a call that message 3 has as text" in groups["call_in_text"]["first"][0]["message"]
    command = groups["call_in_text"]["hint"].partition("results: ")[2]
    subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, check=True)
    assert checked(tmp_path / "NEW.json")["n_examples"] == len(TEXTS)
    assert '{\\"from\\": \\"tool\\"}' in (tmp_path / "NEW.json").read_text()
