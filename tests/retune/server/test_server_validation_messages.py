"""Errors about single fields, in the words and codes that were recorded of the service in 2026."""

from typing import Any

import pytest
from server_process import ServerProcess

MESSAGES = [{"role": "user", "content": "Hello!"}]


def below(name: str, least: str, found: str, number: str = "integer") -> str:
    return f"Invalid '{name}': {number} below minimum value. Expected a value >= {least}, but got {found} instead."


def above(name: str, most: str, found: str, number: str = "integer") -> str:
    return f"Invalid '{name}': {number} above maximum value. Expected a value <= {most}, but got {found} instead."


def wrong_type(name: str, expected: str, found: str) -> str:
    return f"Invalid type for '{name}': expected {expected}, but got {found} instead."


CASES: list[tuple[dict[str, Any], str, str, str]] = [
    ({"n": 0}, "n", "integer_below_min_value", below("n", "1", "0")),
    ({"n": 129}, "n", "integer_above_max_value", above("n", "128", "129")),
    (
        {"max_completion_tokens": 0},
        "max_completion_tokens",
        "integer_below_min_value",
        below("max_completion_tokens", "1", "0"),
    ),
    ({"temperature": 200}, "temperature", "decimal_above_max_value", above("temperature", "2", "200", "decimal")),
    ({"temperature": -2.5}, "temperature", "decimal_below_min_value", below("temperature", "0", "-2.5", "decimal")),
    (
        {"presence_penalty": 3},
        "presence_penalty",
        "decimal_above_max_value",
        above("presence_penalty", "2", "3", "decimal"),
    ),
    ({"n": "2"}, "n", "invalid_type", wrong_type("n", "an integer", "a string")),
    ({"n": True}, "n", "invalid_type", wrong_type("n", "an integer", "a boolean")),
    ({"seed": 1.5}, "seed", "invalid_type", wrong_type("seed", "an integer", "a decimal number")),
    ({"temperature": "hot"}, "temperature", "invalid_type", wrong_type("temperature", "a decimal", "a string")),
    ({"store": "yes"}, "store", "invalid_type", wrong_type("store", "a boolean", "a string")),
    ({"user": {"a": 1}}, "user", "invalid_type", wrong_type("user", "a string", "an object")),
    ({"messages": ["ping"]}, "messages[0]", "invalid_type", wrong_type("messages[0]", "an object", "a string")),
    (
        {"response_format": "json"},
        "response_format",
        "invalid_type",
        wrong_type("response_format", "an object", "a string"),
    ),
    ({"metadata": {"k": 7}}, "metadata.k", "invalid_type", wrong_type("metadata.k", "a string", "an integer")),
    (
        {"messages": []},
        "messages",
        "empty_array",
        "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
    ),
    (
        {"stop": list("abcde")},
        "stop",
        "array_above_max_length",
        (
            "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length 5 "
            "instead."
        ),
    ),
    (
        {"metadata": {str(number): "" for number in range(17)}},
        "metadata",
        "object_above_max_properties",
        (
            "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, but got an "
            "object with 17 properties instead."
        ),
    ),
    (
        {"metadata": {"k": "x" * 600}},
        "metadata.k",
        "string_above_max_length",
        (
            "Invalid 'metadata.k': string too long. Expected a string with maximum length 512, but got a string "
            "with length 600 instead."
        ),
    ),
    (
        {"metadata": {"k" * 70: "v"}},
        f"metadata.{'k' * 70}",
        "property_name_above_max_length",
        (
            f"Invalid property name in 'metadata': '{'k' * 70}' is too long. Expected a string with maximum length "
            "64, but got a string with length 70 instead."
        ),
    ),
    (
        {"response_format": {"type": "bogus"}},
        "response_format.type",
        "invalid_value",
        "Invalid value: 'bogus'. Supported values are: 'text', 'json_object', and 'json_schema'.",
    ),
    (
        {"response_format": {}},
        "response_format.type",
        "missing_required_parameter",
        "Missing required parameter: 'response_format.type'.",
    ),
    ({"messages": None}, "messages", "invalid_type", wrong_type("messages", "an array", "null")),
    (
        {"messages": [{"content": "x"}]},
        "messages[0].role",
        "missing_required_parameter",
        "Missing required parameter: 'messages[0].role'.",
    ),
    ({"zzz_unknown": 1}, "zzz_unknown", "unknown_parameter", "Unknown parameter: 'zzz_unknown'."),
    # The value before the support: what is asked for is offered by no model here.
    ({"logit_bias": {"1": 200}}, "logit_bias.1", "integer_above_max_value", above("logit_bias.1", "100", "200")),
    (
        {"verbosity": "bogus"},
        "verbosity",
        "invalid_value",
        "Invalid value: 'bogus'. Supported values are: 'low', 'medium', and 'high'.",
    ),
]


@pytest.mark.parametrize(("change", "param", "code", "message"), CASES, ids=[f"{case[1]} {case[2]}" for case in CASES])
def test_a_wrong_field_has_the_recorded_error(
    server: ServerProcess, change: dict[str, Any], param: str, code: str, message: str
):
    answer = server.request("POST", "/v1/chat/completions", {"model": "gpt-4o", "messages": MESSAGES, **change})

    assert answer.status == 400
    assert answer.error == {"message": message, "type": "invalid_request_error", "param": param, "code": code}


def test_a_query_has_the_same_words(server: ServerProcess):
    answer = server.request("GET", "/v1/fine_tuning/jobs?limit=0")

    assert (answer.error["code"], answer.error["message"]) == ("integer_below_min_value", below("limit", "1", "0"))


def test_a_long_value_is_shown_by_its_ends(server: ServerProcess):
    body = {"model": "gpt-4o", "messages": MESSAGES, "response_format": {"type": "x" * 100_000}}

    assert len(server.request("POST", "/v1/chat/completions", body).content) < 1000


@pytest.mark.parametrize(
    "path", ["/v1/fine_tuning/jobs", "/v1/fine_tuning/jobs/ftjob-1", "/openai/fine_tuning/jobs/ftjob-1/events"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_fine_tuning_addresses_lose_a_last_slash(server: ServerProcess, method: str, path: str):
    query = "?api-version=1&limit=2"

    answer = server.request(method, f"{path}/{query}", b"{}")

    assert (answer.status, answer.headers["location"]) == (307, path + query)


@pytest.mark.parametrize(
    "path", ["/v1/files/", "/v1/chat/completions/", "/v1/batches/", "/v1/fine_tuning/", "/v1/fine_tuning/nothing/"]
)
def test_other_addresses_with_a_last_slash_are_unknown(server: ServerProcess, path: str):
    answer = server.request("POST", path, b"{}")

    assert (answer.status, answer.error["message"]) == (404, f"Invalid URL (POST {path})")
