"""What the server says, held against the published schema and against recorded exchanges with the real service."""

import copy
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from openapi_schema_validator import OAS31Validator
from server_process import ServerProcess, ended, upload

CONTRACT = Path(__file__).parents[4] / "shared" / "contract"

pytestmark = pytest.mark.skipif(not CONTRACT.is_dir(), reason="the contract is not beside this checkout")

# Where the real service departs from its own schema, and this server with it: nulls for what is not known, `{}` for
# no error, and the purpose `evals`.
DEVIATIONS: dict[str, dict[str, Any]] = {
    "OpenAIFile": {"expires_at": {"type": ["integer", "null"]}, "status_details": {"type": ["string", "null"]}},
    "FineTuningJob": {"error": {"anyOf": [{"$ref": "#/components/schemas/JobError"}, {"maxProperties": 0}]}},
    "ListFilesResponse": {"first_id": {"type": ["string", "null"]}, "last_id": {"type": ["string", "null"]}},
}


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    text = (CONTRACT / "openapi-subset.yaml").read_text()
    found: dict[str, Any] = yaml.safe_load(text)["components"]["schemas"]
    found["JobError"] = copy.deepcopy(found["FineTuningJob"]["properties"]["error"])
    for name, properties in DEVIATIONS.items():
        found[name]["properties"].update(properties)
    return found


@pytest.fixture
def conforms(server: ServerProcess, schemas: dict[str, Any]):
    def check(name: str, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        answer = server.request(method, path, body)
        assert answer.status == status
        validate(schemas, name, answer.json)
        return answer.json

    return check


def validate(schemas: dict[str, Any], name: str, value: Any) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
    problems = [f"{error.json_path}: {error.message}" for error in OAS31Validator(schema).iter_errors(value)]
    assert problems == []


def test_the_deviations_are_what_they_are(schemas: dict[str, Any]):
    original = yaml.safe_load((CONTRACT / "openapi-subset.yaml").read_text())["components"]["schemas"]
    for name, properties in DEVIATIONS.items():
        assert set(properties) <= set(original[name]["properties"])


def test_every_answer_about_files_conforms(conforms, server: ServerProcess, schemas, succeeded: FineTuningJob):
    conforms("ListFilesResponse", "GET", "/v1/files")
    conforms("ListFilesResponse", "GET", "/v1/files?purpose=vision")
    for file_id in (succeeded.training_file, *succeeded.result_files):
        conforms("OpenAIFile", "GET", f"/v1/files/{file_id}")
    form = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n--b\r\n'
    form += b'Content-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello\r\n--b--\r\n'
    made = server.request("POST", "/v1/files", form, {"Content-Type": "multipart/form-data; boundary=b"})
    validate(schemas, "OpenAIFile", made.json)
    conforms("DeleteFileResponse", "DELETE", f"/v1/files/{made.json['id']}")
    conforms("ErrorResponse", "GET", f"/v1/files/{made.json['id']}", status=404)


def test_every_answer_about_jobs_conforms(conforms, client: OpenAI, succeeded: FineTuningJob):
    made = conforms(
        "FineTuningJob",
        "POST",
        "/v1/fine_tuning/jobs",
        {
            "model": "gpt-4o",
            "training_file": succeeded.training_file,
            "validation_file": None,
            "suffix": None,
            "seed": None,
            "metadata": None,
            "integrations": [{"type": "wandb", "wandb": {"project": "p"}}],
        },
    )
    cancelled = conforms("FineTuningJob", "POST", f"/v1/fine_tuning/jobs/{made['id']}/cancel", b"")
    assert cancelled["status"] == "cancelled"
    bad = upload(client, b"{}\n")
    failed = conforms("FineTuningJob", "POST", "/v1/fine_tuning/jobs", {"model": "gpt-4o", "training_file": bad.id})
    ended(client, failed["id"])
    for job_id in (succeeded.id, made["id"], failed["id"]):
        job = conforms("FineTuningJob", "GET", f"/v1/fine_tuning/jobs/{job_id}")
        validate_keys(job)
        conforms("ListFineTuningJobEventsResponse", "GET", f"/v1/fine_tuning/jobs/{job_id}/events?limit=1000")
        conforms("ListFineTuningJobCheckpointsResponse", "GET", f"/v1/fine_tuning/jobs/{job_id}/checkpoints")
    conforms("ListPaginatedFineTuningJobsResponse", "GET", "/v1/fine_tuning/jobs?limit=100")
    conforms("ErrorResponse", "POST", "/v1/fine_tuning/jobs", {}, status=400)


def validate_keys(job: dict[str, Any]) -> None:
    real_extras = {"user_provided_suffix", "usage_metrics", "shared_with_openai"}
    assert real_extras <= set(job)


def test_every_answer_about_models_conforms(conforms, succeeded: FineTuningJob):
    conforms("ListModelsResponse", "GET", "/v1/models")
    conforms("Model", "GET", "/v1/models/gpt-4o")
    conforms("Model", "GET", f"/v1/models/{succeeded.fine_tuned_model}")
    conforms("ErrorResponse", "DELETE", "/v1/models/gpt-4o", status=403)


def test_every_answer_of_chat_conforms(conforms, server: ServerProcess, schemas, succeeded: FineTuningJob):
    body = {"model": succeeded.fine_tuned_model, "messages": [{"role": "user", "content": "question 1"}], "n": 2}
    conforms("CreateChatCompletionResponse", "POST", "/v1/chat/completions", body)
    stream = {**body, "stream": True, "stream_options": {"include_usage": True}}
    text = server.request("POST", "/v1/chat/completions", stream).content.decode()
    for event in text.split("\n\n")[:-2]:
        validate(schemas, "CreateChatCompletionStreamResponse", json.loads(event.removeprefix("data: ")))


def recorded() -> list[Any]:
    """The recorded exchanges that this slice of the API can repeat: errors, which depend on no stored object."""
    if not CONTRACT.is_dir():
        return []
    lines = (CONTRACT / "recorded-exchanges.jsonl").read_text().splitlines()
    exchanges = [json.loads(line) for line in lines]
    return [pytest.param(e, id=f"{e['method']} {e['path']} {e['recorded_at']}") for e in exchanges if repeatable(e)]


def repeatable(exchange: dict[str, Any]) -> bool:
    old_text = exchange["response_body"] and "That model does not exist" in str(exchange["response_body"])
    before_chat_existed = exchange["status"] == 404 and exchange["path"] == "/v1/chat/completions"
    own_tests = exchange["status"] in {401, 429}
    return exchange["status"] >= 300 and not (old_text or before_chat_existed or own_tests)


@pytest.mark.parametrize("exchange", recorded())
def test_recorded_failures_repeat_word_by_word(server: ServerProcess, exchange: dict[str, Any]):
    body = exchange.get("request_body")

    answer = server.request(exchange["method"], exchange["path"], body.encode() if body else None)

    assert answer.status == exchange["status"]
    if answer.status == 307:
        assert urlsplit(answer.headers["location"]).path == urlsplit(exchange["response_headers"]["location"]).path
    else:
        assert answer.json == exchange["response_body"]


def test_the_recorded_failures_are_not_few():
    assert len(recorded()) >= 9


def test_headers_are_those_of_the_record(server: ServerProcess):
    first = json.loads((CONTRACT / "recorded-exchanges.jsonl").read_text().splitlines()[0])
    headers = server.request("GET", "/v1/models").headers
    assert set(first["response_headers"]) <= set(headers)
    assert re.fullmatch(r"\d+", headers["openai-processing-ms"])
