"""Permissions of checkpoints, and the graders that the server refuses."""

from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types import FileObject
from openai.types.fine_tuning import FineTuningJob
from server_process import ServerProcess, ended


@pytest.fixture
def checkpoint(client: OpenAI, succeeded: FineTuningJob) -> str:
    """A checkpoint on the way, whose name holds colons."""
    return client.fine_tuning.jobs.checkpoints.list(succeeded.id).data[1].fine_tuned_model_checkpoint


def test_permissions_are_created_listed_and_deleted(client: OpenAI, checkpoint: str) -> None:
    permissions = client.fine_tuning.checkpoints.permissions

    made = permissions.create(checkpoint, project_ids=["proj_a", "proj_b", "proj_a"]).data

    assert [item.project_id for item in made] == ["proj_a", "proj_b"]
    assert {item.object for item in made} == {"checkpoint.permission"}
    assert all(item.id.startswith("cp_") for item in made)
    again = permissions.create(checkpoint, project_ids=["proj_b", "proj_c"]).data
    assert again[0] == made[1]
    everyone = [item.model_dump() for item in (*made, again[1])]

    def listed(**options: Any) -> list[dict[str, Any]]:
        return [item.model_dump() for item in permissions.list(checkpoint, **options)]

    assert listed() == everyone[::-1]
    assert listed(order="ascending", limit=1) == everyone
    assert listed(limit=2) == everyone[::-1]
    assert listed(project_id="proj_c") == everyone[2:]
    assert listed(project_id="proj_z") == []
    page = permissions.list(checkpoint, limit=2)
    assert (page.has_more, page.last_id) == (True, made[1].id)
    with pytest.deprecated_call():
        retrieved = permissions.retrieve(checkpoint)
    assert [item.id for item in retrieved.data] == [item["id"] for item in everyone[::-1]]

    deleted = permissions.delete(made[0].id, fine_tuned_model_checkpoint=checkpoint)

    assert deleted.model_dump() == {"id": made[0].id, "object": "checkpoint.permission", "deleted": True}
    assert listed() == everyone[:0:-1]
    with pytest.raises(openai.NotFoundError) as caught:
        permissions.delete(made[0].id, fine_tuned_model_checkpoint=checkpoint)
    assert caught.value.code == "permission_not_found"


def test_a_permission_belongs_to_its_checkpoint(client: OpenAI, checkpoint: str, succeeded: FineTuningJob) -> None:
    permissions = client.fine_tuning.checkpoints.permissions
    assert succeeded.fine_tuned_model
    made = permissions.create(succeeded.fine_tuned_model, project_ids=["proj_a"]).data[0]

    for call in (
        lambda: permissions.delete(made.id, fine_tuned_model_checkpoint=checkpoint),
        lambda: permissions.list("ft:unknown"),
        lambda: permissions.create("ft:unknown", project_ids=["proj_a"]),
        lambda: permissions.list("gpt-4o"),
    ):
        with pytest.raises(openai.NotFoundError):
            call()
    with pytest.raises(openai.BadRequestError) as caught:
        permissions.list(checkpoint, after=made.id)
    assert caught.value.param == "after"
    assert [item.id for item in permissions.list(succeeded.fine_tuned_model)] == [made.id]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "project_ids"),
        ({"project_ids": "proj_a"}, "project_ids"),
        ({"project_ids": [""]}, "project_ids[0]"),
        ({"project_ids": ["a"], "role": "x"}, "role"),
    ],
)
def test_a_wrong_request_for_permissions_names_its_field(
    server: ServerProcess, checkpoint: str, body: Any, param: str
) -> None:
    answer = server.request("POST", f"/v1/fine_tuning/checkpoints/{checkpoint}/permissions", body)

    assert (answer.status, answer.error["param"]) == (400, param)


def test_permissions_are_deleted_with_their_model(client: OpenAI, training_file: FileObject) -> None:
    job = client.fine_tuning.jobs.create(
        model="gpt-4o", training_file=training_file.id, hyperparameters={"n_epochs": 2}
    )
    name = ended(client, job.id).fine_tuned_model
    assert name
    permissions = client.fine_tuning.checkpoints.permissions
    permissions.create(name, project_ids=["proj_a"])

    assert client.models.delete(name).deleted

    with pytest.raises(openai.NotFoundError):
        permissions.list(name)
    kept = client.fine_tuning.jobs.checkpoints.list(job.id).data
    assert kept[0].fine_tuned_model_checkpoint == name
    other = kept[1].fine_tuned_model_checkpoint
    assert client.models.retrieve(other).id == other
    assert client.chat.completions.create(model=other, messages=[{"role": "user", "content": "question 3"}]).choices


def test_graders_are_refused(client: OpenAI) -> None:
    grader: Any = {
        "type": "string_check",
        "name": "same",
        "input": "{{sample.output_text}}",
        "reference": "{{item.answer}}",
        "operation": "eq",
    }
    graders = client.fine_tuning.alpha.graders
    for call in (lambda: graders.run(grader=grader, model_sample="x"), lambda: graders.validate(grader=grader)):
        with pytest.raises(openai.BadRequestError) as caught:
            call()
        assert (caught.value.code, caught.value.param) == ("unsupported_value", "grader")
        assert "reinforcement fine-tuning" in caught.value.message
