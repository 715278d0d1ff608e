"""The Responses API: whole, streamed, structured, with calls, in batches and at Azure's path."""

import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, AzureOpenAI, OpenAI
from pydantic import BaseModel
from server_process import ServerProcess
from tool_examples import LABEL, ORDER, WEATHER
from waiting import wait_for

NAMED: Any = {"type": "function", "name": "get_weather"}


class Label(BaseModel):
    label: str
    sure: bool


def tools(*functions: dict[str, Any]) -> list[Any]:
    return [{"type": "function", "strict": True, **one} for one in functions]


@pytest.fixture
def strict(server: ServerProcess) -> OpenAI:
    """A client that takes nothing that departs from its types, which are made from the published document."""
    return OpenAI(base_url=server.base_url, api_key="any", max_retries=0, _strict_response_validation=True)


def ask(client: OpenAI, model: str, given: Any = "text 1", **options: Any) -> Any:
    return client.responses.create(**{"model": model, "input": given, "temperature": 0, **options})


def test_response_has_the_fields_of_the_api(strict: OpenAI, labels: str) -> None:
    response = ask(strict, labels, metadata={"a": "b"}, instructions="Be brief.", user="me")

    assert json.loads(response.output_text) == {"label": "b", "sure": False}
    assert (response.status, response.store, response.error, response.previous_response_id) == (
        *("completed", False, None, None),
    )
    assert (response.metadata, response.instructions, response.temperature) == ({"a": "b"}, "Be brief.", 0)
    usage = response.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens > usage.output_tokens > 0


def test_the_input_may_be_a_list_of_items(strict: OpenAI, labels: str) -> None:
    parts = [{"type": "input_text", "text": "text 1"}]
    first = ask(strict, labels, [{"role": "user", "content": parts}])

    history = [
        {"role": "user", "content": "text 0"},
        *first.output,
        {"type": "message", "role": "user", "content": parts},
    ]
    assert ask(strict, labels, history).output_text


def test_the_events_of_a_stream(strict: OpenAI, labels: str, server: ServerProcess) -> None:
    events = list(ask(strict, labels, stream=True))

    kinds = [event.type for event in events]
    deltas = kinds.count("response.output_text.delta")
    assert kinds == [
        *("response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"),
        *["response.output_text.delta"] * deltas,
        *("response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed"),
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == events[-1].response.output_text == ask(strict, labels).output_text
    assert deltas > 1
    assert events[0].response.output == []
    assert len({getattr(event, "item_id", None) for event in events} - {None}) == 1
    body = {"model": labels, "input": "text 1", "stream": True}
    wire = server.request("POST", "/v1/responses", body).content.decode().split("\n\n")
    assert wire[0].startswith('event: response.created\ndata: {"type":"response.created"')
    assert wire[-1] == ""


async def test_the_sdk_parses_answers(strict: OpenAI, labels: str, server: ServerProcess) -> None:
    wanted: Any = {"model": labels, "input": "text 1", "text_format": Label, "temperature": 0}
    assert strict.responses.parse(**wanted).output_parsed == Label(label="b", sure=False)
    with strict.responses.stream(**wanted) as stream:
        assert stream.get_final_response().output_parsed == Label(label="b", sure=False)
    async with AsyncOpenAI(base_url=server.base_url, api_key="any") as client:
        assert (await client.responses.parse(**wanted)).output_parsed == Label(label="b", sure=False)
        async with client.responses.stream(**wanted) as events:
            assert (await events.get_final_response()).output_parsed == Label(label="b", sure=False)


def test_a_function_is_called_and_its_result_answered(strict: OpenAI, agent: str) -> None:
    question = {"role": "user", "content": "weather in Oslo?"}
    for choice in (NAMED, "required", "auto"):
        response = ask(strict, agent, [question], tools=tools(WEATHER), tool_choice=choice)
        (call,) = response.output
        assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "get_weather", {"city": "Oslo"})
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "Oslo: sunny"}

    assert ask(strict, agent, [question, call, output], tools=tools(WEATHER)).output_text == "It is sunny in Oslo."
    with strict.responses.stream(
        model=agent, input="order 1 and Oslo, please, both", tools=tools(WEATHER, ORDER), temperature=0
    ) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert [(one.name, one.parsed_arguments) for one in final.output if one.type == "function_call"] == [
        *[("get_weather", {"city": "Oslo"}), ("find_order", {"number": 1})],
    ]
    assert kinds.count("response.function_call_arguments.done") == 2


def test_log_probabilities_are_of_the_text_without_the_call(strict: OpenAI, agent: str) -> None:
    options: Any = {"tools": tools(WEATHER), "include": ["message.output_text.logprobs"]}
    message, call = ask(strict, agent, "tell me about Rome", **options).output
    events = list(ask(strict, agent, "tell me about Rome", stream=True, **options))

    assert (message.content[0].text, json.loads(call.arguments)) == ("One moment.", {"city": "Rome"})
    told = [token.token for token in message.content[0].logprobs]
    assert "tool_call" not in "".join(told)
    assert "".join(told).startswith("One moment.")
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert [token.token for delta in deltas for token in delta.logprobs] == told


def test_only_allowed_functions_are_called(strict: OpenAI, labels: str) -> None:
    allowed = [{"type": "function", "name": "Label"}]
    choice: Any = {"type": "allowed_tools", "mode": "required", "tools": allowed}

    (call,) = ask(strict, labels, "text 2", tools=tools(WEATHER, LABEL), tool_choice=choice).output

    assert call.name == "Label"


def test_an_answer_cut_by_the_clients_token_limit_is_incomplete(strict: OpenAI, labels: str) -> None:
    options: Any = {"max_output_tokens": 2, "include": ["message.output_text.logprobs"], "top_logprobs": 2}
    response = ask(strict, labels, **options)
    events = list(ask(strict, labels, stream=True, **options))

    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.output[0].status == "incomplete"
    (part,) = response.output[0].content
    assert "".join(token.token for token in part.logprobs) == part.text
    assert [len(token.top_logprobs) for token in part.logprobs] == [2] * len(part.logprobs)
    assert events[-1].type == "response.incomplete"


def test_an_answer_of_another_format_is_a_400(strict: OpenAI, labels: str) -> None:
    wanted: Any = {"format": {"type": "json_schema", "name": "a", "schema": {"required": ["colour"]}}}
    with pytest.raises(openai.BadRequestError) as caught:
        ask(strict, labels, text=wanted)
    assert (caught.value.code, caught.value.param) == ("response_format_not_met", "text.format")
    with pytest.raises(openai.BadRequestError) as caught:
        ask(strict, labels, tools=tools(ORDER), tool_choice="required")
    assert (caught.value.code, caught.value.param) == ("tool_call_not_met", "tool_choice")


def test_the_untrained_base_refuses(strict: OpenAI) -> None:
    wanted: Any = {"text": {"format": {"type": "json_object"}}}
    (part,) = ask(strict, "baseline-text", **wanted).output[0].content
    events = list(ask(strict, "baseline-text", stream=True, **wanted))

    assert part.refusal.startswith("I have not been trained yet")
    assert "".join(event.delta for event in events if event.type == "response.refusal.delta") == part.refusal


def test_azures_clients_use_responses(server: ServerProcess, labels: str) -> None:
    address = server.base_url.removesuffix("/v1")
    azure = AzureOpenAI(azure_endpoint=address, api_key="any", api_version="2025-04-01-preview", max_retries=0)

    assert ask(azure, labels).output_text
    assert ask(OpenAI(base_url=f"{address}/openai/v1", api_key="any"), labels).output_text


def test_a_batch_of_responses(client: OpenAI, labels: str) -> None:
    head = {"method": "POST", "url": "/v1/responses"}
    bodies = [{"model": labels, "input": "text 1", "temperature": 0}, {"model": labels, "input": "a", "store": True}]
    lines = [json.dumps({"custom_id": str(n), **head, "body": body}) for n, body in enumerate(bodies)]
    file = client.files.create(file=("b.jsonl", "\n".join(lines).encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/responses", completion_window="24h")

    done = wait_for(lambda: (b := client.batches.retrieve(batch.id)).status == "completed" and b, "the batch")

    assert done.output_file_id
    assert done.error_file_id
    assert done.usage
    answer = json.loads(client.files.content(done.output_file_id).text)["response"]["body"]
    assert (answer["object"], answer["status"]) == ("response", "completed")
    assert done.usage.input_tokens == answer["usage"]["input_tokens"]
    assert '"param":"store"' in client.files.content(done.error_file_id).text.replace(" ", "")


@pytest.mark.parametrize(
    ("options", "status", "param", "words"),
    [
        ({"store": True}, 400, "store", "keeps no responses"),
        ({"previous_response_id": "resp_1"}, 400, "previous_response_id", "send the whole conversation"),
        ({"conversation": "conv_1"}, 400, "conversation", "send the whole conversation"),
        ({"background": True}, 400, "background", "not supported"),
        ({"prompt": {"id": "pmpt_1"}}, 400, "prompt", "not supported"),
        ({"reasoning": {"effort": "high"}}, 400, "reasoning.effort", "without reasoning"),
        ({"text": {"verbosity": "low"}}, 400, "text.verbosity", "not supported"),
        ({"text": {"format": {"type": "json_schema", "name": "a"}}}, 400, "text.format.schema", "Missing required"),
        ({"tools": [{"type": "web_search"}]}, 400, "tools[0]", "'web_search' are not supported"),
        ({"tools": tools(LABEL)}, 400, "tools", "has not learned to choose"),
        ({"tool_choice": "required"}, 400, "tool_choice", "only allowed when 'tools' are specified"),
        ({"include": ["everything"]}, 400, "include[0]", "message.output_text.logprobs"),
        ({"extra_body": {"seed": 1}}, 400, "seed", "seed"),
        ({"given": None}, 400, "input", "Missing required parameter: 'input'."),
        ({"given": []}, 400, "input", "a list of 1 to 2048 items"),
        ({"given": ["a"]}, 400, "input[0]", "expected an object"),
        ({"given": [{"role": "judge", "content": "a"}]}, 400, "input[0].role", "Supported values are: 'user'"),
        (
            {"given": [{"role": "user", "content": [{"type": "input_image"}]}]},
            400,
            "input[0].content[0].type",
            "input_i",
        ),
        ({"given": [{"type": "reasoning", "id": "rs_1"}]}, 400, "input[0].type", "'reasoning' are not supported"),
        ({"given": [{"type": "item_reference", "id": "msg_1"}]}, 404, "input", "Item with id 'msg_1' not found"),
        (
            {"given": [{"type": "function_call_output", "call_id": "c", "output": "x"}]},
            *(400, "input", "No tool call found for function call output with call_id c."),
        ),
        (
            {"given": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]},
            *(400, "input", "No tool output found for function call c."),
        ),
    ],
)
def test_what_is_not_offered_is_refused(
    client: OpenAI, options: dict[str, Any], status: int, param: str, words: str
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, "baseline-text", **options)

    assert (caught.value.status_code, caught.value.param) == (status, param)
    assert words in caught.value.message


def test_any_text_comes_back(server: ServerProcess) -> None:
    body = {"model": "baseline-text", "input": "\ud800", "instructions": "\ud800", "tools": [], "user": "\ud800"}
    for stream in (False, True):
        assert server.request("POST", "/v1/responses", {**body, "stream": stream}).status == 200
    odd = {"type": "function", "name": "f", "parameters": {"const": float("nan")}}
    plain = {"type": "function", "name": "plain"}
    for choice in ("none", plain):
        asked = {**body, "tools": [plain, odd], "tool_choice": choice}
        answer = server.request("POST", "/v1/responses", asked)
        assert (answer.status, answer.error["param"]) == (400, "tools[1].parameters")
