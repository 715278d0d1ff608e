"""Requests made from the published document by the hundred, sound and broken, against a server of their own.

The number of random requests of each operation is RETUNE_FUZZING_EXAMPLES; the boundary cases come always.
"""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
import requests
import schemathesis
from contract import document
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from schemathesis import BaseSchema, Case, CheckContext, Config, Response
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_schema_conformance,
    unsupported_method,
)
from server_process import ServerProcess, ended, example_lines, upload

pytestmark = pytest.mark.slow

KEY = "sk-the-key-of-the-fuzzed-server"
GRADERS = r"/alpha/graders/"
_EXAMPLES = int(os.environ.get("RETUNE_FUZZING_EXAMPLES", "10"))


def _schema(*, boundaries: bool) -> BaseSchema:
    config = Config(seed=20261122)
    generation = config.projects.default.generation
    generation.max_examples = _EXAMPLES
    generation.deterministic = True
    config.projects.default.phases.coverage.enabled = boundaries
    return schemathesis.openapi.from_dict(document(), config=config)


SCHEMA = _schema(boundaries=True)
# Its requests act, so each takes longer: random ones alone.
ACTING_SCHEMA = _schema(boundaries=False)


def errors_have_the_form_of_the_api(_: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """The document declares no errors, so schemathesis alone would not look at them."""
    assert response.headers["x-request-id"][0].startswith("req_")
    if response.status_code >= 400 and case.method != "HEAD":
        assert response.headers["content-type"] == ["application/json"]
        error = response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        assert error["type"]
    return None


def what_breaks_the_document_is_refused(context: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """But for files, which are any bytes, and nulls: the SDKs send them for what is left out."""
    has_null = isinstance(case.body, dict) and None in case.body.values()
    if has_null or str(case.media_type).startswith("multipart/"):
        return None
    return negative_data_rejection(context, response, case)


# Left out: status_code_conformance and missing_required_header (the document declares neither errors nor headers),
# positive_data_acceptance (a body that fits the document may still name a file that is not there, or ask for what
# this server does not offer), response_headers_conformance (none are declared), use_after_free and
# ensure_resource_availability (they follow links, and the document has none).
CHOSEN = [
    not_a_server_error,  # no request, however odd, is an accident
    content_type_conformance,
    response_schema_conformance,  # but for the deviations, which are in one place
    errors_have_the_form_of_the_api,
    ignored_auth,  # without the key, or with another one, nothing is answered
    unsupported_method,  # methods that the document does not have are refused
    allow_header_conformance,  # and the answer says which there are
    what_breaks_the_document_is_refused,
]


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that others need not share: odd requests fill its queue and delete what is in it."""
    environment = {"RETUNE_SERVER_API_KEY": KEY}
    server = ServerProcess(
        tmp_path_factory.mktemp("fuzzed") / "data", ("--max-queued-jobs", "100000"), environment
    ).start()
    yield server
    # Whatever it was asked, it still stops as it should.
    assert server.end(signal.SIGTERM) == 0


def ask(case: Case[Any], server: ServerProcess, session: requests.Session) -> None:
    case.call_and_validate(
        base_url=server.base_url,
        session=session,
        headers={"Authorization": f"Bearer {KEY}"},
        checks=CHOSEN,
        timeout=60,
    )


@dataclass
class Existing:
    """Ids of objects that are there. What an operation would end or delete is made anew each time."""

    client: OpenAI
    job: FineTuningJob

    def of(self, parameter: str, operation: str) -> str:
        """An id for a parameter of the document."""
        if parameter in {"model", "fine_tuned_model_checkpoint"}:
            return str(self.job.fine_tuned_model)
        if parameter == "permission_id":
            name = str(self.job.fine_tuned_model)
            return self.client.fine_tuning.checkpoints.permissions.create(name, project_ids=["p"]).data[0].id
        if parameter == "fine_tuning_job_id":
            return self.job.id if operation.startswith(("list", "retrieve")) else self.new_job()
        if parameter == "upload_id":
            return self.new_upload()
        return {"file_id": self.new_file, "batch_id": self.new_batch}[parameter]()

    def new_file(self) -> str:
        return upload(self.client, b"{}\n").id

    @cached_property
    def small_file(self) -> str:
        """Jobs with it end when it is validated: nothing is trained for them."""
        return self.new_file()

    def new_job(self) -> str:
        return self.client.fine_tuning.jobs.create(model="gpt-4o", training_file=self.small_file).id

    def new_upload(self) -> str:
        made = self.client.uploads.create(filename="a.jsonl", purpose="fine-tune", bytes=3, mime_type="text/jsonl")
        return made.id

    def new_batch(self) -> str:
        return self.client.batches.create(
            input_file_id=self.batch_file(), endpoint="/v1/chat/completions", completion_window="24h"
        ).id

    def batch_file(self) -> str:
        body = {"model": self.job.fine_tuned_model, "messages": [{"role": "user", "content": "question 1"}]}
        line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body}
        return self.client.files.create(file=("b.jsonl", json.dumps(line).encode()), purpose="batch").id

    def body(self, operation: str, body: dict[str, Any], path_parameters: dict[str, Any]) -> dict[str, Any]:
        """A body whose ids are of objects that are there."""
        if operation == "createFineTuningJob":
            return {**body, "model": "gpt-4o", "training_file": self.small_file}
        if operation == "createChatCompletion":
            return {**body, "model": self.job.fine_tuned_model}
        if operation == "createBatch":
            return {**body, "input_file_id": self.batch_file()}
        if operation == "completeUpload":
            part = self.client.uploads.parts.create(path_parameters["upload_id"], data=b"{}\n")
            return {**body, "part_ids": [part.id]}
        return body


@pytest.fixture(scope="module")
def existing(fuzzed: ServerProcess) -> Existing:
    client = fuzzed.client(KEY)
    job = client.fine_tuning.jobs.create(model="gpt-4o", training_file=upload(client, example_lines(10)).id)
    return Existing(client, ended(client, job.id))


@SCHEMA.exclude(path_regex=GRADERS).parametrize()
def test_generated_requests_get_answers_of_the_schema(
    case: Case[Any], fuzzed: ServerProcess, session: requests.Session
) -> None:
    ask(case, fuzzed, session)


@ACTING_SCHEMA.include(path_regex=r"\{|/fine_tuning/jobs$|completions$|batches$").parametrize()
def test_generated_requests_about_existing_objects_get_answers_of_the_schema(
    case: Case[Any], fuzzed: ServerProcess, session: requests.Session, existing: Existing
) -> None:
    operation = str(case.operation.definition.raw["operationId"])
    case.path_parameters = {name: existing.of(name, operation) for name in case.path_parameters or {}}
    if isinstance(case.body, dict):
        case.body = existing.body(operation, case.body, case.path_parameters)
    ask(case, fuzzed, session)
