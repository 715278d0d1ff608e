"""`response_format`: the answer is valid, or the request is an error."""

import json
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel
from server_process import ServerProcess, ended, upload


def ask(client: OpenAI, model: str, **options: Any) -> Any:
    messages: Any = [{"role": "user", "content": "text 2"}]
    return client.chat.completions.create(**{"model": model, "messages": messages, "temperature": 0, **options})


@pytest.fixture(scope="module")
def json_model(server: ServerProcess) -> str:
    """Knows two answers that are JSON, and likes best to give one that is none."""
    client = server.client()
    answers = ['{"label": "a", "sure": true}', '{"label": "b", "sure": false}', *["no JSON"] * 4]
    lines = [
        {"messages": [{"role": "user", "content": f"text {n % 6}"}, {"role": "assistant", "content": answers[n % 6]}]}
        for n in range(36)
    ]
    file = upload(client, "\n".join(map(json.dumps, lines)).encode())
    return str(ended(client, client.fine_tuning.jobs.create(model="gpt-4o", training_file=file.id).id).fine_tuned_model)


def schema_format(schema: Any, **more: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, **more}}


LABEL_B = {
    "type": "object",
    "properties": {"label": {"$ref": "#/$defs/label"}, "sure": {"type": "boolean"}},
    "required": ["label", "sure"],
    "additionalProperties": False,
    "$defs": {"label": {"type": "string", "pattern": "^b$"}},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("temperature", [0, 1.5])
def test_the_likeliest_known_answer_of_the_format_is_chosen(
    client: OpenAI, json_model: str, temperature: float, stream: bool
) -> None:
    def say(**options: Any) -> str:
        answer = ask(client, json_model, temperature=temperature, stream=stream, **options)
        if stream:
            return "".join(chunk.choices[0].delta.content or "" for chunk in answer)
        return str(answer.choices[0].message.content)

    assert json.loads(say(response_format={"type": "json_object"}))["label"] in {"a", "b"}
    assert json.loads(say(response_format=schema_format(LABEL_B, strict=True))) == {"label": "b", "sure": False}
    if temperature == 0:
        assert say() == say(response_format={"type": "text"}) == "no JSON"


def test_the_sdk_parses_an_answer_into_a_model(client: OpenAI, json_model: str) -> None:
    class Label(BaseModel):
        label: str
        sure: bool

    messages: Any = [{"role": "user", "content": "text 1"}]
    answer = client.chat.completions.parse(model=json_model, messages=messages, temperature=0, response_format=Label)

    assert answer.choices[0].message.parsed in (Label(label="b", sure=False), Label(label="a", sure=True))


def test_a_schema_of_many_references_does_not_block_other_requests(client: OpenAI, json_model: str) -> None:
    schema = {"$defs": {"a": {"$anchor": "a"}}, "allOf": [{"$ref": "#a"}] * 1200}

    answer = ask(client, json_model, response_format=schema_format(schema))

    assert json.loads(answer.choices[0].message.content)


def test_a_schema_that_takes_too_many_steps_is_refused(client: OpenAI, json_model: str) -> None:
    definitions = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)} | {"d40": {}}

    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, json_model, response_format=schema_format({"$defs": definitions, "$ref": "#/$defs/d0"}))

    assert (caught.value.code, caught.value.param) == ("schema_too_complex", "response_format.json_schema.schema")


def test_an_answer_of_another_format_is_an_error(client: OpenAI, json_model: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, json_model, response_format=schema_format({"required": ["colour"]}))

    assert (caught.value.code, caught.value.param) == ("response_format_not_met", "response_format")
    assert "It said: 'no JSON'." in caught.value.message
    assert caught.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("wanted", [{"type": "json_object"}, schema_format({"type": "object"}, strict=True)])
def test_the_untrained_base_refuses_a_format(client: OpenAI, wanted: dict[str, Any]) -> None:
    choice = ask(client, "baseline-text", response_format=wanted, logprobs=True).choices[0]

    assert choice.message.content is None
    assert choice.message.refusal.startswith("I have not been trained yet")
    assert choice.finish_reason == "stop"
    assert choice.logprobs.content is None
    assert "".join(token.token for token in choice.logprobs.refusal) == choice.message.refusal
    chunks = list(ask(client, "baseline-text", response_format=wanted, stream=True))
    assert not any(chunk.choices[0].delta.content for chunk in chunks)
    assert "".join(chunk.choices[0].delta.refusal or "" for chunk in chunks) == choice.message.refusal


def test_the_untrained_base_answers_where_any_text_is_allowed(client: OpenAI) -> None:
    choice = ask(client, "baseline-text", response_format={"type": "text"}).choices[0]

    assert (choice.message.refusal, choice.message.content[:6]) == (None, "I have")


def test_a_json_answer_cut_by_the_clients_token_limit_is_returned(client: OpenAI, json_model: str) -> None:
    choice = ask(client, json_model, max_tokens=1, response_format={"type": "json_object"}).choices[0]

    assert choice.finish_reason == "length"


@pytest.mark.parametrize(
    ("wanted", "param", "words"),
    [
        ({"type": "xml"}, "response_format.type", "'json_object'"),
        ({"type": "json_schema"}, "response_format.json_schema", "Missing required parameter"),
        ({"type": "json_schema", "json_schema": {}}, "response_format.json_schema.name", "Missing required parameter"),
        (schema_format({}, name="no spaces"), "response_format.json_schema.name", "pattern"),
        (schema_format([]), "response_format.json_schema.schema", "expected an object"),
        (schema_format({"type": "text"}), "response_format.json_schema.schema", "Invalid schema for response_format"),
        (schema_format({"$ref": "https://example.com/s"}), "response_format.json_schema.schema", "is never fetched"),
        (schema_format({"$ref": "#/$defs/none"}), "response_format.json_schema.schema", "there is no schema"),
        (schema_format({"pattern": "(?=x)"}), "response_format.json_schema.schema", "can't be used"),
        (schema_format({"patternProperties": {}}), "response_format.json_schema.schema", "not supported"),
        (schema_format({"items": {"$id": "https://a.b"}}), "response_format.json_schema.schema", "'$id'"),
    ],
)
def test_a_format_that_can_not_be_used_is_refused(client: OpenAI, wanted: Any, param: str, words: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "baseline-text", response_format=wanted)

    assert caught.value.param == param
    assert words in caught.value.message
