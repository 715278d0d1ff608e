"""The judge of all these tests: what it holds against the published document, and where it lets the server depart.

Every answer that a test of this folder gets is judged (see `conftest.py`); here it is shown that the judge judges.
"""

import copy
import json
from typing import Any

import pytest
from contract import JUDGE, Judge, document, operation_of, operations, problems_of, published
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from server_process import ServerProcess, ended, upload

FILE = {
    "id": "file-1",
    "object": "file",
    "bytes": 1,
    "created_at": 1,
    "filename": "a",
    "purpose": "fine-tune",
    "status": "processed",
}
ERROR = {"message": "m", "type": "t", "param": None, "code": None}


def complaints(method: str, path: str, status: int, body: Any, kind: str = "application/json") -> list[str]:
    judge = Judge()
    judge.see(method, path, status, kind, body if isinstance(body, bytes) else json.dumps(body).encode())
    return judge.take_complaints()


def test_a_valid_answer_has_no_problem() -> None:
    assert complaints("GET", "/v1/files/file-1", 200, FILE) == []
    assert complaints("GET", "/v1/files/file-1?x=y", 200, {**FILE, "expires_at": None}, "application/json") == []
    assert complaints("GET", "/openai/v1/files/file-1", 404, {"error": ERROR}) == []


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (200, {**FILE, "bytes": "1"}, "application/json", "$.bytes"),
        (200, {**FILE, "purpose": "other"}, "application/json", "$.purpose"),
        (200, {"id": "file-1"}, "application/json", "required"),
        (200, FILE, "text/plain", "content type"),
        (404, {"error": ERROR}, "text/plain", "content type"),
        (404, {"detail": "Not Found"}, "application/json", "'error' is a required property"),
        (404, {"error": {"message": "m", "type": "t"}}, "application/json", "required"),
        (404, {"error": {**ERROR, "detail": "d"}}, "application/json", "four keys"),
    ],
)
def test_an_invalid_answer_has_a_problem(status: int, body: Any, kind: str, words: str) -> None:
    assert words in "\n".join(complaints("GET", "/v1/files/file-1", status, body, kind))


def test_streams_are_judged_event_by_event() -> None:
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}
    sound = b"data: %s\n\ndata: [DONE]\n\n" % json.dumps(chunk).encode()
    broken = b"data: %s\n\n" % json.dumps({**chunk, "created": "now"}).encode()

    assert complaints("POST", "/v1/chat/completions", 200, sound, "text/event-stream; charset=utf-8") == []
    assert "$.created" in complaints("POST", "/v1/chat/completions", 200, sound + broken, "text/event-stream")[0]


def test_answers_to_the_sdk_are_judged(client: OpenAI, succeeded: FineTuningJob) -> None:
    JUDGE.answered.clear()
    client.files.retrieve(succeeded.training_file)
    client.files.content(succeeded.training_file).read()
    stream = client.chat.completions.create(
        model=str(succeeded.fine_tuned_model), messages=[{"role": "user", "content": "question 1"}], stream=True
    )
    assert list(stream)

    assert JUDGE.answered == {"retrieveFile", "downloadFile", "createChatCompletion"}


def test_every_operation_is_found_by_its_path() -> None:
    assert len(operations()) == 30
    for path, item in published()["paths"].items():
        for method, operation in item.items():
            concrete = path.replace("{model}", "ft:a:b::c").replace("{", "").replace("}", "")
            found = operation_of(method.upper(), f"/v1{concrete}?limit=1")
            assert found
            assert found.name == operation["operationId"]
    assert operation_of("PUT", "/v1/files") is None
    found = operation_of("POST", "/openai/deployments/m/chat/completions?api-version=1")
    assert found
    assert found.name == "createChatCompletion"


@pytest.mark.parametrize(
    ("schema", "change"),
    [
        ("OpenAIFile", {"expires_at": None}),
        ("OpenAIFile", {"status_details": None}),
        ("OpenAIFile", {"purpose": "evals"}),
        ("ListFilesResponse", {"first_id": None, "last_id": None}),
        ("ListBatchesResponse", {"first_id": None, "last_id": None}),
        ("Batch", {"errors": None}),
        ("Batch", {"output_file_id": None, "completed_at": None}),
        ("FineTuningJobEvent", {"data": None}),
        ("FineTuningJob", {"status": "paused"}),
        ("FineTuningJob", {"hyperparameters": None}),
    ],
)
def test_deviations_are_invalid_in_the_document_and_accepted_by_the_judge(schema: str, change: dict[str, Any]) -> None:
    """The published document refuses it, and the one that judges takes it."""
    properties = published()["components"]["schemas"][schema]["properties"]
    patched = document()["components"]["schemas"][schema]["properties"]
    for name, value in change.items():
        assert problems_of(copy.deepcopy(properties[name]), value)
        assert problems_of(patched[name], value) == []


def test_jobs_have_the_fields_that_only_the_real_service_shows(client: OpenAI, server: ServerProcess) -> None:
    bad = upload(client, b"{}\n")
    job = ended(client, client.fine_tuning.jobs.create(model="gpt-4o", training_file=bad.id).id)

    shown = server.request("GET", f"/v1/fine_tuning/jobs/{job.id}").json

    assert {"user_provided_suffix", "usage_metrics", "shared_with_openai"} <= set(shown)
    assert shown["error"]["code"]


anything = st.text(st.characters(exclude_categories=()), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=5,
)
FIELDS = [
    *("messages", "temperature", "n", "seed", "stop", "stream", "stream_options", "max_tokens", "logprobs"),
    *("top_logprobs", "response_format", "tools", "metadata", "user", "logit_bias", "prompt", "echo", "best_of"),
    *("tool_choice", "functions", "function_call", "parallel_tool_calls"),
]
requests = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["trained", "baseline-text", "babbage-002"]) | anything,
        "messages": st.lists(
            st.fixed_dictionaries({"role": st.just("user") | anything, "content": anything | json_values}), max_size=2
        ),
        "prompt": anything | st.lists(anything, max_size=2),
    },
    optional={
        "stop": anything | st.lists(anything, max_size=2),
        "response_format": st.just({"type": "json_object"})
        | st.fixed_dictionaries(
            {
                "type": st.just("json_schema"),
                "json_schema": st.fixed_dictionaries(
                    {
                        "name": st.just("answer") | anything,
                        "schema": st.dictionaries(st.sampled_from(["type", "pattern", "enum", "$ref"]), json_values),
                    }
                ),
            }
        ),
        "user": anything,
        "tools": st.lists(
            st.fixed_dictionaries(
                {
                    "type": st.just("function"),
                    "function": st.fixed_dictionaries(
                        {"name": st.just("f"), "parameters": st.dictionaries(st.sampled_from(["type"]), json_values)}
                    ),
                }
            ),
            max_size=2,
        ),
        "tool_choice": st.sampled_from(["auto", "required", {"type": "function", "function": {"name": "f"}}])
        | json_values,
    },
) | st.dictionaries(st.sampled_from(FIELDS) | anything, json_values, max_size=4)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(["/v1/chat/completions", "/v1/completions"]), requests, st.booleans())
def test_no_text_that_json_can_carry_is_an_error_of_the_server(
    server: ServerProcess, succeeded: FineTuningJob, path: str, body: dict[str, Any], stream: bool
) -> None:
    if body.get("model") == "trained":
        body = {**body, "model": succeeded.fine_tuned_model, "max_tokens": 20}
    if path == "/v1/completions":
        body = {key: value for key, value in body.items() if key != "messages"}
    elif body.get("messages"):
        body = {key: value for key, value in body.items() if key != "prompt"}

    answer = server.request("POST", path, {**body, "stream": stream})

    assert answer.status < 500, answer.content
    if answer.status >= 400:
        assert answer.error["message"]
