import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from server_process import Answer, ServerProcess

from retune.server.batches.requests import CreateBatchRequest
from retune.server.errors import ApiError
from retune.server.jobs.permissions import CreatePermissionsRequest
from retune.server.jobs.requests import CreateJobRequest
from retune.server.uploads.store import CompleteUploadRequest, CreateUploadRequest

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
def test_a_wrong_request_is_refused_at_its_first_item(model: type[BaseModel], body: dict[str, Any]):
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
):
    answer = post(server, path, body)

    assert (answer.status, answer.error["param"]) == (400, param)
    assert "JSON object" not in answer.error["message"]


def test_any_error_can_be_told():
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
def test_what_is_wrong_with_the_whole_is_told(server: ServerProcess, more: dict[str, Any], words: str):
    answer = post(server, "/v1/fine_tuning/jobs", {**JOB, **more})

    assert (answer.status, answer.error["message"]) == (400, words)


def test_a_long_value_is_not_sent_back(server: ServerProcess):
    answer = post(server, "/v1/fine_tuning/jobs", {**JOB, "hyperparameters": {"n_epochs": "x" * 100_000}})

    assert answer.error["param"] == "hyperparameters.n_epochs"
    assert len(answer.content) < 1000
