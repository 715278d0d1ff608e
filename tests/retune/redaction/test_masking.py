import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from example_stores import chat, make_store
from hypothesis import given, settings
from hypothesis import strategies as st

from retune.config import SplitConfig
from retune.data.checks.structure import check_structure
from retune.data.dataset_checks.check import check_store
from retune.data.text.jsonl import parse_line
from retune.redaction.masking import masked, shown, shown_part

KEY = "sk-proj-" + "aB3dE6gH1jK4mN7pQ0sT5vW8yZ2cF9xR" * 2
PRIVATE_KEY = (
    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,BFCD\n\n"
    + "MIIEpAIBAAKCAQEA0Z3VS5JJcds3xfn/ygWyF8PbnGy0AHB7\n" * 25
    + "-----END RSA PRIVATE KEY-----"
)
SECRETS = [
    KEY,
    "AKIAQ3EGRT5WZ7PLM2XV",
    "ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
    PRIVATE_KEY,
    "4242 4242 4242 4242",
    "xoxb-123456789012-123456789012-abcdefABCDEFabcdefABCDEF",
    "password: hunter2x9",
    "alice@corp.io",
    "sk-ant-api03-" + "x9Y8z7W6" * 12 + "AA",
    "AIzaSyA1234567890kbcTefQhiXklZnopVrstuv",
    "postgresql://retune:qW3rt7zU1op@db.internal:5432/tickets",
    "Authorization: Basic cmV0dW5lOnMzY3IzdFBhc3N3b3Jk",
]
# What no message may hold: of each secret a piece from its middle or its end.
ENDS = (
    *("sT5vW8yZ", "RT5WZ7PLM2", "L2m3N4o5P6", "ygWyF8PbnGy0", "4242 4242", "abcdefABCDEFabc", "unter2x9", "ice@corp"),
    *("x9Y8z7W6x9", "bcTefQhi", "qW3rt7z", "mV0dW5lOnM"),
)


def test_secrets_are_not_shown() -> None:
    assert shown(f"use {KEY} now") == '"use [api_key] now"'
    assert shown("write to kim.lee@acme.org, kim.lee@acme.org") == '"write to [email_address], [email_address]"'
    assert shown("x" * 40 + " " + KEY * 100) == f'"{"x" * 40} [api_key]"'
    assert shown({"password": "hunter2x9", "to": [f"a\n{KEY}"]}) == '{"password": "[api_key]", "to": ["a\\n[api_key]"]}'


def test_other_texts_are_shown_as_they_are() -> None:
    assert shown('a "b"\n') == r'"a \"b\"\n"'
    assert shown("y" * 5_000) == f'"{"y" * 58}…'
    assert shown("Q \ud83d") == r'"Q \ud83d"'


@settings(deadline=None)
@given(
    st.sampled_from(SECRETS),
    st.sampled_from(["", "so ", "so\n", "x" * 300 + " ", "a b " * 3_000]),
    st.sampled_from(["", " it is", "\n", " z" * 3_000]),
    st.data(),
)
def test_a_secret_that_is_cut_through_is_masked(secret: str, before: str, after: str, data: st.DataObject) -> None:
    text = before + secret + after
    begin = data.draw(st.integers(max(0, len(before) - 20), len(before) + len(secret)))
    end = data.draw(st.integers(begin, min(len(text), begin + 200)))
    assert not [piece for piece in ENDS if piece in masked(text, begin, end) or piece in shown_part(text, begin, end)]


@given(st.text(st.characters(categories=["L", "Zs", "Po"], exclude_characters="@:=")), st.integers(0), st.integers(0))
def test_text_without_secrets_is_cut_unchanged(text: str, begin: int, end: int) -> None:
    assert masked(text, min(begin, len(text)), end) == text[min(begin, len(text)) : end]


def broken_bodies(secret: str) -> Iterator[dict[str, Any]]:
    """Bodies with the secret in every place where a value may be wrong."""
    user, assistant = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}
    for wrong in (secret, {secret: secret}, [secret], {"type": secret}, {"role": secret, "content": secret}):
        yield {"messages": wrong}
        yield {"messages": [wrong, assistant]}
        for key in (
            "role",
            "content",
            "name",
            "weight",
            "tool_calls",
            "tool_call_id",
            "function_call",
            "refusal",
            secret,
        ):
            yield {"messages": [{**user, key: wrong}, {**assistant, key: wrong}]}
            yield {
                "messages": [user, {**assistant, key: [wrong]}, {"role": "tool", "content": "x", "tool_call_id": wrong}]
            }
        for key in ("tools", "functions", "parallel_tool_calls", secret):
            yield {"messages": [user, assistant], key: wrong}
            yield {"messages": [user, assistant], key: [wrong]}
        yield {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": wrong, "detail": wrong}}]}
            ]
        }
        yield {"input": wrong, "preferred_output": wrong, "non_preferred_output": wrong, secret: wrong}
        same = [{"role": "assistant", "content": wrong}]
        yield {"input": {"messages": [user], secret: 1}, "preferred_output": same, "non_preferred_output": same}


def calls(name: str, id_: str, arguments: str) -> dict[str, Any]:
    call = {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}
    return {
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "tool_calls": [call, call]},
            {"role": "user", "content": "so"},
        ]
    }


@pytest.mark.parametrize("secret", SECRETS, ids=range(len(SECRETS)))
def test_no_finding_of_a_single_example_shows_a_secret(secret: str) -> None:
    bodies = [
        *broken_bodies(secret),
        *(calls(*order) for order in ((secret, "c", "{}"), ("f", secret, "{}"), ("f", "c", secret))),
    ]
    findings = [
        finding
        for body in bodies
        for method in ("supervised", "dpo", "reinforcement")
        for provider in ("openai", "azure", "retune")
        for finding in check_structure(body, method, provider)
    ]
    lines = [f"{secret}", f"[{json.dumps(secret)}]", f'{{"a": "{secret}"', f'{{"a": {secret}}}', f'{{"a": 1}} {secret}']
    findings += [finding for line in lines if not isinstance(finding := parse_line(line.encode()), dict)]
    assert len({finding.kind for finding in findings}) > 15
    assert not [finding for finding in findings if any(piece in finding.message for piece in ENDS)]


def test_no_problem_of_stored_examples_shows_a_secret(tmp_path: Path) -> None:
    bodies = [chat(f"question {number}", f"answer {number}") for number in range(60)]
    for secret in SECRETS:
        bodies += [
            chat(secret, secret),
            chat(secret, f"not {secret}"),
            chat(f" {secret}", f"{secret} "),
            chat(f"\u200b{secret}", f"{secret}\ufffd"),
            chat(f"{secret}{'.' * 8}\u200b", f"{'.' * 8}\ufffd\n{secret}"),
            chat(f"please tell me now what this may be: {secret}", "x"),
            chat(f"please tell me now what this may be? {secret}", "x"),
        ]
    split = SplitConfig()
    store = make_store(tmp_path / "store", bodies, split=split)
    report = check_store(store, split, model="gpt-4.1-mini-2025-04-14", n_epochs="auto", path=tmp_path / "checks.json")
    written = report.problems_file.read_text(encoding="utf-8")
    assert {
        "private_key",
        "api_key",
        "stray_whitespace",
        "odd_characters",
        "conflicting_answers",
    } <= report.counts.keys()
    problems = json.loads(written)["problems"]
    assert not [problem for problem in problems if any(piece in problem["message"] for piece in ENDS)]
