import json
import subprocess
import sys
from importlib import resources

import pytest

from retune.data.tokens import auto_n_epochs, count_tokens, encoding_for, estimate_cost


def chat(question, answer):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


# "Hello world" is two tokens, every role and digit is one; an example costs one more, a message three more.
SHORT = chat("Hello world", "1")
SHORT_TOKENS = 1 + (3 + 1 + 2) + (3 + 1 + 1)


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-3.5-turbo-0125", "cl100k_base"),
        ("gpt-35-turbo", "cl100k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-0613", "cl100k_base"),
        ("gpt-4-turbo-2024-04-09", "cl100k_base"),
        ("ft:gpt-3.5-turbo-0613:acme::abc123", "cl100k_base"),
        ("davinci-002", "cl100k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("gpt-4.1-nano-2025-04-14", "o200k_base"),
        ("ft:gpt-4o-2024-08-06:acme:bot:abc123", "o200k_base"),
        ("o4-mini", "o200k_base"),
        ("baseline-text", "o200k_base"),
    ],
)
def test_the_model_decides_the_tokenizer(model, encoding):
    assert encoding_for(model) == encoding


@pytest.mark.parametrize("model", ["gpt-3.5-turbo", "gpt-4o"])
def test_count_follows_the_billing_rule(model):
    longer = chat("Hello world" * 4, "1")
    facts = count_tokens([SHORT, longer], model)
    assert (facts.minimum, facts.maximum) == (SHORT_TOKENS, SHORT_TOKENS + 6)
    assert facts.total == 2 * SHORT_TOKENS + 6
    assert facts.median == SHORT_TOKENS + 3
    assert facts.encoding == encoding_for(model)


@pytest.mark.parametrize(
    ("text", "cl100k_base", "o200k_base"),
    # From OpenAI's cookbook, "How to count tokens with tiktoken".
    [("antidisestablishmentarianism", 6, 6), ("2 + 2 = 4", 7, 7), ("お誕生日おめでとう", 9, 8)],
)
def test_counts_are_those_of_tiktoken(text, cl100k_base, o200k_base):
    overhead = 1 + (3 + 1) + (3 + 1 + 1)
    assert count_tokens([chat(text, "1")], "gpt-4").total == cl100k_base + overhead
    assert count_tokens([chat(text, "1")], "gpt-4o").total == o200k_base + overhead


def test_no_examples_have_no_tokens():
    assert count_tokens([], "gpt-4o").model_dump() == {
        "total": 0,
        "minimum": 0,
        "median": 0,
        "maximum": 0,
        "encoding": "o200k_base",
    }


def test_very_long_texts_and_broken_characters_are_counted():
    assert count_tokens([chat("Hello world " * 200_000, "1")], "gpt-4o").total > 400_000
    assert count_tokens([chat("a\ud800b", "<|endoftext|>")], "gpt-4o").total > SHORT_TOKENS


def test_only_text_is_counted():
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Hello world"}, {"type": "image_url", "image_url": {}}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
    ]
    assert count_tokens([{"messages": messages}], "gpt-4o").total == SHORT_TOKENS - 1


@pytest.mark.parametrize(
    ("model", "cost"),
    [
        ("gpt-4o-mini-2024-07-18", 6.0),
        ("ft:gpt-4.1-mini-2025-04-14:acme::abc123", 10.0),
        ("babbage-002", 0.8),
        ("baseline-text", None),
        ("o4-mini-2025-04-16", None),
    ],
)
def test_cost_is_price_by_tokens_by_epochs(model, cost):
    assert estimate_cost(model, 500_000, 4) == (None if cost is None else pytest.approx(cost))


def test_prices_say_where_they_are_from():
    prices = json.loads(resources.files("retune.data").joinpath("prices.json").read_text(encoding="utf-8"))
    assert prices["source"].startswith("https://developers.openai.com/")
    assert {"as_of", "checked"} < prices.keys()


@pytest.mark.parametrize(
    ("n_examples", "epochs"),
    [(0, 25), (1, 25), (4, 25), (10, 10), (33, 3), (34, 3), (100, 3), (101, 3), (8333, 3), (8334, 2), (30_000, 1)],
)
def test_auto_epochs_are_those_of_real_jobs(n_examples, epochs):
    assert auto_n_epochs(n_examples) == epochs


def test_counting_needs_no_network_and_no_tuning_of_warnings():
    script = "from retune.data.tokens import count_tokens; print(count_tokens([], 'gpt-4').encoding)"
    command = [sys.executable, "-W", "error", "-c", script]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "cl100k_base\n"
