"""Examples with tool calls, and the models that learned them."""

import json
from typing import Any

from openai import OpenAI
from server_process import ended, upload


def function(name: str, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"name": name, "description": "Tests call it.", "parameters": schema}


def tools(*functions: dict[str, Any], **more: Any) -> list[Any]:
    return [{"type": "function", "function": {**one, **more}} for one in functions]


def call(name: str, arguments: dict[str, Any], number: int = 0) -> dict[str, Any]:
    called = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": f"call_{number}", "type": "function", "function": called}


TEXT: dict[str, Any] = {"type": "string"}
LABEL = function("Label", label=TEXT, sure={"type": "boolean"})
WEATHER = function("get_weather", city=TEXT)
ORDER = function("find_order", number={"type": "integer"})
CITIES = ("Rome", "Oslo", "Lima")


def train(client: OpenAI, examples: list[dict[str, Any]]) -> str:
    file = upload(client, "\n".join(map(json.dumps, examples)).encode())
    job = ended(client, client.fine_tuning.jobs.create(model="gpt-4o", training_file=file.id).id)
    assert job.status == "succeeded", job.error
    return str(job.fine_tuned_model)


def asked(text: str, *others: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}, *others]}


def train_labels(client: OpenAI) -> str:
    """Knows answers that are JSON, and learned no calls; what it likes best is no JSON."""
    answers = ['{"label": "a", "sure": true}', '{"label": "b", "sure": false}', '{"city": "Rome"}', *["no JSON"] * 3]
    lines = [asked(f"text {n % 6}", {"role": "assistant", "content": answers[n % 6]}) for n in range(36)]
    return train(client, lines)


def train_agent(client: OpenAI) -> str:
    """Learned when to call one function, or two at once, and when to answer in text, before a call or without."""
    declared = tools(WEATHER, ORDER)
    lines = []
    for n in range(36):
        city, number = CITIES[n % 3], n % 3
        calls = [call("get_weather", {"city": city})]
        result = {"role": "tool", "tool_call_id": "call_0", "content": f"{city}: sunny"}
        said = {"role": "assistant", "content": f"It is sunny in {city}."}
        both = [call("get_weather", {"city": city}), call("find_order", {"number": number}, 1)]
        lines += [
            asked(f"weather in {city}?", {"role": "assistant", "content": None, "tool_calls": calls}, result, said),
            asked(f"order {number}", {"role": "assistant", "tool_calls": [call("find_order", {"number": number})]}),
            asked("good morning", {"role": "assistant", "content": "Hello."}),
            asked(f"tell me about {city}", {"role": "assistant", "content": "One moment.", "tool_calls": calls}),
            asked(f"order {number} and {city}, please, both", {"role": "assistant", "tool_calls": both}),
        ]
    return train(client, [{**line, "tools": declared} for line in lines])
