import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from retune.data.cost.tokens import encoding_for, example_overhead_tokens, summarize_tokens, token_counter
from retune.data.example.example import Method
from retune.data.example.texts import example_texts
from retune.data.ingest.analyze_texts import known_words
from retune.data.text.words import cut_words


def chat(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def count(body: dict[str, Any], encoding: str = "o200k_base", method: Method = "supervised") -> int:
    """All tokens of one example, put together as the preparation does."""
    counter = token_counter(encoding)
    texts = example_texts(body, method)
    written = [*texts.machine, *texts.instructions, *texts.prompt, *texts.answer]
    words = cut_words(pa.array([text.encode(errors="replace").decode() for text in written], pa.string()))
    return example_overhead_tokens(texts, counter) + int(
        words.sum_over_texts(known_words(encoding).look_up(words)[0]).sum()
    )


# "Hello world" is two tokens, every role and digit is one; an example costs one more, a message three more.
SHORT = chat("Hello world", "1")
SHORT_TOKENS = 1 + (3 + 1 + 2) + (3 + 1 + 1)

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "Get the current weather in a given location",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
                "unit": {
                    "type": "string",
                    "description": "The unit of temperature to return",
                    "enum": ["celsius", "fahrenheit"],
                },
            },
            "required": ["location"],
        },
    },
}


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-3.5-turbo-0125", "cl100k_base"),
        ("gpt-35-turbo", "cl100k_base"),
        ("gpt-35-turbo-0125.ft-abc", "cl100k_base"),
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
def test_the_model_decides_the_tokenizer(model: str, encoding: str) -> None:
    assert encoding_for(model) == encoding


@pytest.mark.parametrize("encoding", ["cl100k_base", "o200k_base"])
def test_count_follows_the_billing_rule(encoding: str) -> None:
    assert count(SHORT, encoding) == SHORT_TOKENS
    assert count(chat("Hello world" * 4, "1"), encoding) == SHORT_TOKENS + 6


@pytest.mark.parametrize(
    ("text", "cl100k_base", "o200k_base"),
    # From OpenAI's cookbook, "How to count tokens with tiktoken".
    [("antidisestablishmentarianism", 6, 6), ("2 + 2 = 4", 7, 7), ("お誕生日おめでとう", 9, 8)],
)
def test_counts_are_those_of_tiktoken(text: str, cl100k_base: int, o200k_base: int) -> None:
    overhead = 1 + (3 + 1) + (3 + 1 + 1)
    assert count(chat(text, "1"), "cl100k_base") == cl100k_base + overhead
    assert count(chat(text, "1"), "o200k_base") == o200k_base + overhead


@pytest.mark.parametrize(("encoding", "published"), [("cl100k_base", 105), ("o200k_base", 101)])
def test_tools_count_as_the_api_counted_the_cookbooks_example(encoding: str, published: int) -> None:
    messages = [
        {"role": "system", "content": "You are a helpful assistant that can answer to questions about the weather."},
        {"role": "user", "content": "What's the weather like in San Francisco?"},
    ]
    # A request is primed with 3 tokens for its answer; a training example has 1 in their place.
    assert count({"messages": messages, "tools": [WEATHER]}, encoding) == published - 3 + 1
    assert count({"messages": messages, "functions": [WEATHER["function"]]}, encoding) == published - 3 + 1


def test_tools_without_parameters_and_with_nested_ones() -> None:
    bare = {"type": "function", "function": {"name": "f"}}
    # "f:" is two tokens.
    assert count({**SHORT, "tools": [bare]}) == SHORT_TOKENS + 7 + 2 + 12
    inner = {"type": "object", "properties": {"a": {"type": "string"}}}
    nested = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"b": inner}}}}
    listed = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"b": {"items": inner}}}}}
    counter = token_counter("o200k_base")
    lines = counter.count("f:") + counter.count("b:object:") + counter.count("a:string:")
    assert count({**SHORT, "tools": [nested]}) == SHORT_TOKENS + 7 + 3 + 2 * 3 + lines + 12
    assert example_texts({**SHORT, "tools": [listed]}).machine == ["f:", "b::", "a:string:"]


def test_names_calls_and_refusals_count() -> None:
    named = {"messages": [{"role": "user", "name": "Kim", "content": "Hello world"}, SHORT["messages"][1]]}
    assert count(named) == SHORT_TOKENS + 1 + 1
    call = {"id": "1", "type": "function", "function": {"name": "get_current_weather", "arguments": '{"a": 1}'}}
    calling = {"role": "assistant", "tool_calls": [call]}
    counter = token_counter("o200k_base")
    tokens = counter.count("get_current_weather") + counter.count('{"a": 1}')
    assert count({"messages": [SHORT["messages"][0], calling]}) == SHORT_TOKENS - 1 + tokens
    old = {"role": "assistant", "content": None, "function_call": call["function"]}
    assert count({"messages": [SHORT["messages"][0], old]}) == SHORT_TOKENS - 1 + tokens
    refusing = {"role": "assistant", "refusal": "Hello world"}
    assert count({"messages": [SHORT["messages"][0], refusing]}) == SHORT_TOKENS + 1


def test_images_count_beside_the_text() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}
    question = {"role": "user", "content": [{"type": "text", "text": "Hello world"}, image, image]}
    assert count({"messages": [question, SHORT["messages"][1]]}) == SHORT_TOKENS + 2 * 85


def test_pairs_count_both_answers_and_items_all_messages() -> None:
    user, assistant = SHORT["messages"]
    pair = {"input": {"messages": [user]}, "preferred_output": [assistant], "non_preferred_output": [assistant]}
    assert count(pair, method="dpo") == SHORT_TOKENS + (3 + 1 + 1)
    item = {"messages": [user, assistant, user], "reference_answer": "not read by the model", "input": 7}
    assert count(item, method="reinforcement") == SHORT_TOKENS + (3 + 1 + 2)


def test_very_long_texts_and_broken_characters_are_counted() -> None:
    assert count(chat("Hello world " * 200_000, "1")) > 400_000
    assert count(chat("a\ud800b", "<|endoftext|>")) > SHORT_TOKENS


def test_token_counts_are_summarized() -> None:
    facts = summarize_tokens(np.array([3, 1, 2, 10], np.uint32), "o200k_base", is_estimate=True)
    assert facts.model_dump() == {
        "total": 16,
        "minimum": 1,
        "median": 2.5,
        "p95": 10,
        "maximum": 10,
        "encoding": "o200k_base",
        "is_estimate": True,
    }
    nothing = summarize_tokens(np.zeros(0, np.uint32), "o200k_base")
    assert (nothing.total, nothing.maximum, nothing.is_estimate) == (0, 0, False)


def test_counting_needs_no_network_and_no_tuning_of_warnings() -> None:
    script = (
        "from retune.data.cost.tokens import token_counter; print(token_counter('o200k_base').count('Hello world'))"
    )
    command = [sys.executable, "-W", "error", "-c", script]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "2\n"
