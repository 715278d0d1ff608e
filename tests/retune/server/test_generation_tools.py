"""Functions that a request requires a model to call, and those that a model learned to call."""

import json
from typing import Any

import openai
import pytest
from openai import OpenAI
from tool_examples import LABEL, ORDER, WEATHER, call, function, tools

NAMED: Any = {"type": "function", "function": {"name": "get_weather"}}


def ask(client: OpenAI, model: str, text: str = "text 3", **options: Any) -> Any:
    messages: Any = [{"role": "user", "content": text}]
    return client.chat.completions.create(**{"model": model, "messages": messages, "temperature": 0, **options})


def arguments_of(choice: Any) -> list[tuple[str, Any]]:
    assert choice.message.content is None
    return [(one.function.name, json.loads(one.function.arguments)) for one in choice.message.tool_calls]


@pytest.mark.parametrize("strict", [True, False])
def test_a_named_function(client: OpenAI, labels: str, strict: bool) -> None:
    choice: Any = {"type": "function", "function": {"name": "Label"}}

    answer = ask(client, labels, "text 1", tools=tools(LABEL, strict=strict), tool_choice=choice, n=2)

    first, second = answer.choices
    assert arguments_of(first) == arguments_of(second) == [("Label", {"label": "b", "sure": False})]
    assert first.finish_reason == "stop"
    assert first.message.tool_calls[0].id.startswith("call_")
    assert first.message.tool_calls[0].id != second.message.tool_calls[0].id
    assert answer.usage.completion_tokens > 0


def test_a_required_call_is_of_the_first_function_whose_schema_fits(client: OpenAI, labels: str) -> None:
    answer = ask(client, labels, "text 2", tools=tools(LABEL, WEATHER), tool_choice="required")
    assert arguments_of(answer.choices[0]) == [("get_weather", {"city": "Rome"})]
    assert answer.choices[0].finish_reason == "tool_calls"

    allowed: Any = {"mode": "required", "tools": [{"type": "function", "function": {"name": "Label"}}]}
    choice: Any = {"type": "allowed_tools", "allowed_tools": allowed}
    answer = ask(client, labels, "text 2", tools=tools(LABEL, WEATHER), tool_choice=choice)
    assert arguments_of(answer.choices[0])[0][0] == "Label"


def test_a_legacy_function_call(client: OpenAI, labels: str) -> None:
    options: Any = {"functions": [LABEL], "function_call": {"name": "Label"}}
    choice = ask(client, labels, "text 1", **options).choices[0]
    assert (choice.message.content, choice.message.tool_calls, choice.finish_reason) == (None, None, "stop")
    assert json.loads(choice.message.function_call.arguments) == {"label": "b", "sure": False}

    deltas = [chunk.choices[0].delta for chunk in ask(client, labels, "text 1", stream=True, **options)]
    pieces = [delta.function_call for delta in deltas if delta.function_call]
    assert (pieces[0].name, pieces[0].arguments) == ("Label", "")
    assert "".join(piece.arguments for piece in pieces) == choice.message.function_call.arguments


@pytest.mark.parametrize("choice", [NAMED, "required"])
def test_streamed_tool_call_equals_the_whole_one(client: OpenAI, agent: str, choice: Any) -> None:
    whole = ask(client, agent, "weather in Oslo?", tools=tools(WEATHER), tool_choice=choice).choices[0]
    chunks = list(
        ask(client, agent, "weather in Oslo?", tools=tools(WEATHER), tool_choice=choice, stream=True, logprobs=True)
    )

    first, *rest = [chunk.choices[0].delta.tool_calls[0] for chunk in chunks if chunk.choices[0].delta.tool_calls]
    assert (first.index, first.type, first.function.name, first.function.arguments) == (
        *(0, "function", "get_weather", ""),
    )
    assert first.id.startswith("call_")
    assert [(piece.id, piece.function.name) for piece in rest] == [(None, None)] * len(rest)
    assert "".join(piece.function.arguments for piece in rest) == whole.message.tool_calls[0].function.arguments
    assert len(rest) > 1
    assert chunks[0].choices[0].delta.content is None
    assert chunks[-1].choices[0].finish_reason == whole.finish_reason
    assert all(chunk.choices[0].logprobs is None for chunk in chunks)


def test_a_model_calls_what_it_learned_to_call(client: OpenAI, agent: str) -> None:
    def choose(text: str, **options: Any) -> Any:
        return ask(client, agent, text, tools=tools(WEATHER, ORDER), **options).choices[0]

    asked_for_weather = choose("weather in Lima?")
    assert arguments_of(asked_for_weather) == [("get_weather", {"city": "Lima"})]
    assert asked_for_weather.finish_reason == "tool_calls"
    assert choose("good morning").message.content == "Hello."
    both = choose("order 1 and Oslo, please, both")
    assert arguments_of(both) == [("get_weather", {"city": "Oslo"}), ("find_order", {"number": 1})]
    one = choose("order 1 and Oslo, please, both", parallel_tool_calls=False)
    assert len(one.message.tool_calls or ()) < 2
    # It may call nothing that the request does not have.
    assert ask(client, agent, "order 2", tools=tools(WEATHER)).choices[0].message.tool_calls != [("find_order", {})]
    assert "<tool_call>" not in ask(client, agent, "order 2").choices[0].message.content


def test_the_result_of_a_call_is_answered(client: OpenAI, agent: str) -> None:
    question: Any = {"role": "user", "content": "weather in Rome?"}
    called = ask(client, agent, question["content"], tools=tools(WEATHER), tool_choice=NAMED).choices[0].message
    result: Any = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": "Rome: sunny"}

    answer = client.chat.completions.create(
        model=agent, messages=[question, called, result], tools=tools(WEATHER, ORDER), temperature=0
    )

    assert answer.choices[0].message.content == "It is sunny in Rome."


def test_a_call_cut_by_the_clients_token_limit_is_returned(client: OpenAI, agent: str) -> None:
    for limit in range(1, 30):
        choice = ask(client, agent, "weather in Rome?", tools=tools(WEATHER), tool_choice=NAMED, max_tokens=limit)
        cut = choice.choices[0].message.tool_calls[0].function
        assert cut.name == "get_weather"
        assert '{"city": "Rome"}'.startswith(cut.arguments)
        if choice.choices[0].finish_reason == "stop":
            break
    assert (limit > 3, cut.arguments) == (True, '{"city": "Rome"}')


def test_an_answer_without_a_required_call_is_an_error(client: OpenAI, labels: str) -> None:
    for model in (labels, "baseline-text"):
        with pytest.raises(openai.BadRequestError) as caught:
            ask(client, model, tools=tools(ORDER), tool_choice="required")
        assert (caught.value.code, caught.value.param) == ("tool_call_not_met", "tool_choice")
        assert "fine-tune the model on examples with such tool calls" in caught.value.message


def test_free_choice_needs_a_model_that_learned_calls(client: OpenAI, labels: str) -> None:
    with pytest.raises(openai.BadRequestError, match="has not learned to choose between text and calls") as caught:
        ask(client, labels, tools=tools(LABEL))
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "tools")
    assert ask(client, labels, tools=tools(LABEL), tool_choice="none").choices[0].message.content == "no JSON"


MANY = tools(*(function(f"f{n}", a={"pattern": f"^{n}$"}) for n in range(21)))


@pytest.mark.parametrize(
    ("options", "param", "words"),
    [
        ({"tools": tools(LABEL), "tool_choice": "always"}, "tool_choice", "Supported values are: 'none', 'auto'"),
        ({"tools": tools(LABEL), "tool_choice": {"type": "function"}}, "tool_choice", "expected 'none', 'auto'"),
        ({"tools": tools(LABEL), "tool_choice": NAMED}, "tool_choice", "no function named get_weather was specified"),
        ({"tools": tools(LABEL), "tool_choice": {"type": "allowed_tools"}}, "tool_choice", "'allowed_tools' with"),
        ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "tools[0].type", "'custom' are not supported"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "Missing required parameter"),
        ({"tools": tools({"name": "no spaces"})}, "tools[0].function.name", "pattern"),
        (
            {"tools": tools(LABEL, {**WEATHER, "parameters": {"type": "text"}}), "tool_choice": "required"},
            "tools[1].function.parameters",
            "Invalid schema for function 'get_weather'",
        ),
        ({"tools": MANY, "tool_choice": "required"}, "tools[20].function.parameters", "there are 21 patterns"),
        ({"functions": [LABEL], "function_call": {"name": "x"}}, "function_call", "no function named x"),
        ({"functions": [LABEL], "tools": tools(LABEL)}, "functions", "together with 'tools'"),
        ({"messages": [{"role": "user", "content": "a", "tool_calls": [1]}]}, "messages[0].tool_calls", "no calls"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]},
            "messages[0].tool_calls[0]",
            "the type 'function'",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [call("f", {})]}, {"role": "user", "content": "a"}]},
            "messages[0].role",
            "did not have response messages: call_0",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id", "Missing required"),
    ],
)
def test_invalid_tools_are_refused(client: OpenAI, options: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "baseline-text", **options)

    assert caught.value.param == param
    assert words in caught.value.message
