from example_stores import chat, make_store

from retune.config import SplitConfig
from retune.data.checks.masking import shown_masked
from retune.data.comparison.duplicates import check_duplicates
from retune.data.comparison.subject import Subject

KEY = "sk-proj-" + "aB3dE6gH1jK4mN7pQ0sT5vW8yZ2cF9xR" * 2


def test_secrets_are_not_shown():
    assert shown_masked(f"use {KEY} now") == '"use [api_key] now"'
    assert shown_masked("write to kim.lee@acme.org, kim.lee@acme.org") == '"write to [email_address], [email_address]"'
    assert shown_masked("x" * 40 + " " + KEY * 100) == f'"{"x" * 40} [api_key]"'


def test_other_texts_are_shown_as_they_are():
    assert shown_masked('a "b"\n') == r'"a \"b\"\n"'
    assert shown_masked("y" * 5_000) == f'"{"y" * 58}…'


def test_a_conflict_shows_no_secrets(tmp_path):
    store = make_store(tmp_path, [chat("What is the key?", KEY), chat("What is the key?", "I can't say.")])
    (problem,) = check_duplicates(Subject.of(store, SplitConfig(), "gpt-4.1-mini-2025-04-14"))
    assert problem.message == 'asks the same as row 2, but answers "I can\'t say." and not "[api_key]".'
