"""JSON bodies: parsed within limits, and validated with the service's messages and codes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from server_process import Answer, ServerProcess

from retune.server.batches.requests import CreateBatchRequest
from retune.server.errors import ApiError
from retune.server.jobs.permissions import CreatePermissionsRequest
from retune.server.jobs.requests import CreateJobRequest
from retune.server.json_input import MAX_VALUES, TooManyValuesError, has_more_values, parse_json
from retune.server.uploads.store import CompleteUploadRequest, CreateUploadRequest

TEXTS = st.text(st.sampled_from('ab"\\,[{:é\n'), max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=20,
)


def n_signs(value: Any) -> int:
    """Commas and opening brackets outside of strings."""
    if not isinstance(value, list | dict):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(0, len(value) - 1) + sum(map(n_signs, inner))


@given(VALUES, st.integers(1, 7), st.booleans())
def test_values_are_counted_outside_strings_at_any_piece_size(value: Any, piece_bytes: int, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert parse_json(text) == value
    assert not has_more_values(text, n_signs(value), piece_bytes=piece_bytes)
    if n_signs(value):
        assert has_more_values(text, n_signs(value) - 1, piece_bytes=piece_bytes)


def test_a_text_of_too_many_values_is_not_parsed() -> None:
    separators = b"," * MAX_VALUES
    assert parse_json(b'["' + separators + b'"]') == [separators.decode()]
    with pytest.raises(TooManyValuesError):
        parse_json(b"[" + b"1," * MAX_VALUES + b"1]")


@pytest.mark.parametrize("text", [b"", b"[", b"nul", b'"\\', b"\xff", "[1]".encode("utf-16")])
def test_what_is_not_json_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


def test_a_byte_order_mark_is_ignored() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


MANY = 20_000
JOB = {"model": "baseline-text", "training_file": "file-1"}
SUPERVISED = {"type": "supervised"}
BATCH = {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
UPLOAD = {"bytes": 1, "filename": "a", "mime_type": "a/b", "purpose": "user_data"}
FIELDS = {f"field {number}": 1 for number in range(MANY)}


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (CreateJobRequest, {**JOB, **FIELDS}),
        (CreateJobRequest, {**JOB, "metadata": FIELDS}),
        (CreateJobRequest, {**JOB, "integrations": [1] * MANY}),
        (CreateJobRequest, {**JOB, "integrations": [{"type": "wandb", "wandb": {"project": "p", "tags": [1] * MANY}}]}),
        (CreateJobRequest, {**JOB, "hyperparameters": FIELDS}),
        (CreateJobRequest, {**JOB, "hyperparameters": {"n_epochs": [1] * MANY}}),
        (CreateJobRequest, {**JOB, "method": {"type": [1] * MANY}}),
        (CreateBatchRequest, {**BATCH, **FIELDS}),
        (CreateBatchRequest, {**BATCH, "metadata": FIELDS}),
        (CreateBatchRequest, {**BATCH, "endpoint": [1] * MANY}),
        (CreateUploadRequest, {**UPLOAD, **FIELDS}),
        (CreateUploadRequest, {**UPLOAD, "expires_after": FIELDS}),
        (CompleteUploadRequest, {"part_ids": [1] * MANY}),
        (CompleteUploadRequest, {"part_ids": [1] * 10_000}),
        (CompleteUploadRequest, {"part_ids": ["part_1"] * MANY}),
        (CreatePermissionsRequest, {"project_ids": [1] * 1000}),
        (CreatePermissionsRequest, {"project_ids": [1] * MANY}),
    ],
)
def test_a_wrong_request_is_refused_at_its_first_item(model: type[BaseModel], body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(body)

    problems = caught.value.errors(include_input=False)
    assert len(problems) <= 2
    assert all(len(problem["msg"]) < 500 for problem in problems)


def post(server: ServerProcess, path: str, body: dict[str, Any]) -> Answer:
    return server.request("POST", path, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/uploads", {**UPLOAD, "purpose": "\ud800"}, "purpose"),
        ("/v1/uploads", {**UPLOAD, "filename": "\ud800"}, "filename"),
        ("/v1/uploads/upload_1/complete", {"part_ids": ["\ud800"]}, "part_ids[0]"),
        (
            "/v1/fine_tuning/jobs",
            {**JOB, "integrations": [{"type": "wandb", "wandb": {"project": "\ud800"}}]},
            "integrations[0].wandb.project",
        ),
        ("/v1/fine_tuning/jobs", {**JOB, "validation_file": "\ud800"}, "validation_file"),
        ("/v1/fine_tuning/jobs", {**JOB, "metadata": {"a": "\ud800"}}, "metadata.a"),
        (
            "/v1/fine_tuning/jobs",
            {**JOB, "method": {"type": "supervised", "dpo": {"\ud800": "\udcff"}}},
            "training_file",
        ),
        ("/v1/fine_tuning/jobs", {**JOB, "method": {"type": "\ud800"}}, "method.type"),
        ("/v1/fine_tuning/jobs", {**JOB, "\ud800": 1}, None),
        ("/v1/batches", {**BATCH, "endpoint": "\ud800"}, "endpoint"),
        ("/v1/batches", {**BATCH, "input_file_id": "\ud800"}, "input_file_id"),
        ("/v1/fine_tuning/checkpoints/a/permissions", {"project_ids": ["\ud800"]}, "project_ids[0]"),
        ("/v1/chat/completions", {"model": "m", "messages": [{"role": "\ud800", "content": "a"}]}, "messages[0].role"),
    ],
)
def test_an_unpaired_surrogate_is_refused_where_it_is(
    server: ServerProcess, path: str, body: dict[str, Any], param: str | None
) -> None:
    answer = post(server, path, body)

    assert (answer.status, answer.error["param"]) == (400, param)
    assert "JSON object" not in answer.error["message"]


def test_any_error_can_be_encoded() -> None:
    error = ApiError(400, "found \ud800", param="\udcff").response()

    assert json.loads(bytes(error.body))["error"]["message"] == "found ?"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {
                "hyperparameters": {"n_epochs": 1},
                "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
            },
            "Invalid request: 'hyperparameters' and 'method.supervised.hyperparameters' differ; give the latter alone.",
        ),
        ({"": 1}, "Unknown parameter: ''."),
        (FIELDS, f"Invalid request: expected at most 64 fields, but got {MANY + 2}."),
    ],
)
def test_errors_of_the_whole_body_are_reported(server: ServerProcess, more: dict[str, Any], words: str) -> None:
    answer = post(server, "/v1/fine_tuning/jobs", {**JOB, **more})

    assert (answer.status, answer.error["message"]) == (400, words)


def test_a_long_value_is_not_sent_back(server: ServerProcess) -> None:
    answer = post(server, "/v1/fine_tuning/jobs", {**JOB, "hyperparameters": {"n_epochs": "x" * 100_000}})

    assert answer.error["param"] == "hyperparameters.n_epochs"
    assert len(answer.content) < 1000


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
) -> None:
    answer = server.request("POST", "/v1/chat/completions", {"model": "gpt-4o", "messages": MESSAGES, **change})

    assert answer.status == 400
    assert answer.error == {"message": message, "type": "invalid_request_error", "param": param, "code": code}


def test_errors_in_a_query_have_the_same_messages(server: ServerProcess) -> None:
    answer = server.request("GET", "/v1/fine_tuning/jobs?limit=0")

    assert (answer.error["code"], answer.error["message"]) == ("integer_below_min_value", below("limit", "1", "0"))


def test_a_long_value_is_shortened_in_the_middle(server: ServerProcess) -> None:
    body = {"model": "gpt-4o", "messages": MESSAGES, "response_format": {"type": "x" * 100_000}}

    assert len(server.request("POST", "/v1/chat/completions", body).content) < 1000


@pytest.mark.parametrize(
    "path", ["/v1/fine_tuning/jobs", "/v1/fine_tuning/jobs/ftjob-1", "/openai/fine_tuning/jobs/ftjob-1/events"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_fine_tuning_addresses_with_a_trailing_slash_redirect(server: ServerProcess, method: str, path: str) -> None:
    query = "?api-version=1&limit=2"

    answer = server.request(method, f"{path}/{query}", b"{}")

    assert (answer.status, answer.headers["location"]) == (307, path + query)


@pytest.mark.parametrize(
    "path", ["/v1/files/", "/v1/chat/completions/", "/v1/batches/", "/v1/fine_tuning/", "/v1/fine_tuning/nothing/"]
)
def test_other_addresses_with_a_trailing_slash_are_unknown(server: ServerProcess, path: str) -> None:
    answer = server.request("POST", path, b"{}")

    assert (answer.status, answer.error["message"]) == (404, f"Invalid URL (POST {path})")
