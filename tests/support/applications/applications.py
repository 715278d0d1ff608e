"""Applications and libraries that ask for structured answers, text and calls, each the way its users do.

Runs in an environment of its own (requirements.txt) against the server at OPENAI_BASE_URL, and prints what each got.
"""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import instructor
import openai
from agents import Agent, ModelSettings, Runner, function_tool, set_tracing_disabled
from langchain_openai import ChatOpenAI
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai import OpenAI, OpenAIResponses
from pydantic import BaseModel
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel

LABELS, AGENT, FOLDER = sys.argv[1:]
QUESTION: Any = [{"role": "user", "content": "text 1"}]


class Label(BaseModel):
    """What a text is."""

    label: str
    sure: bool


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"{city}: sunny"


def with_instructor() -> list[Any]:
    modes = ("TOOLS", "TOOLS_STRICT", "FUNCTIONS", "JSON_SCHEMA", "RESPONSES_TOOLS")
    found = []
    for mode in modes:
        client = instructor.from_openai(openai.OpenAI(), mode=getattr(instructor.Mode, mode))
        found.append(
            client.chat.completions.create(model=LABELS, response_model=Label, messages=QUESTION, temperature=0)
        )
    return found


def with_langchain() -> list[Any]:
    model = ChatOpenAI(model=LABELS, temperature=0)
    found = [
        model.with_structured_output(Label, method=m).invoke("text 1") for m in ("function_calling", "json_schema")
    ]
    responses = ChatOpenAI(model=LABELS, temperature=0, use_responses_api=True)
    found.append(responses.with_structured_output(Label).invoke("text 1"))
    pieces = [chunk.text for chunk in responses.stream("text 1")]
    return [*found, json.loads("".join(pieces))]


def with_pydantic_ai() -> list[Any]:
    settings: Any = {"temperature": 0}
    models = (OpenAIChatModel(LABELS, settings=settings), OpenAIResponsesModel(LABELS, settings=settings))
    return [PydanticAgent(model, output_type=Label).run_sync("text 1").output for model in models]


def with_llama_index() -> list[Any]:
    found = []
    for kind in (OpenAI, OpenAIResponses):
        # It looks up the context length of models by their names.
        model = kind(model="gpt-4o-mini", temperature=0)
        object.__setattr__(model, "model", LABELS)
        found.append(model.as_structured_llm(Label).chat([ChatMessage("text 1")]).raw)
    return found


async def with_openai_agents() -> list[Any]:
    set_tracing_disabled(disabled=True)
    settings = ModelSettings(temperature=0)
    labelling = Agent(name="labels", instructions="Label it.", model=LABELS, output_type=Label, model_settings=settings)
    whole = await Runner.run(labelling, "text 1")
    streamed = Runner.run_streamed(labelling, "text 1")
    async for _ in streamed.stream_events():
        pass
    return [whole.final_output, streamed.final_output]


async def calls() -> list[str]:
    """Agents that call a function and tell what it answered, because the model chooses to or is forced to."""
    settings: Any = {"temperature": 0}
    found = []
    for choice in (None, "required"):
        agent = Agent(
            name="weather",
            model=AGENT,
            tools=[function_tool(get_weather)],
            model_settings=ModelSettings(temperature=0, tool_choice=choice),
        )
        found.append((await Runner.run(agent, "weather in Rome?")).final_output)
    for model in (OpenAIChatModel(AGENT, settings=settings), OpenAIResponsesModel(AGENT, settings=settings)):
        pydantic_agent = PydanticAgent(model)
        pydantic_agent.tool_plain(get_weather)
        found.append((await pydantic_agent.run("weather in Rome?")).output)
    return found


def with_llm() -> list[Any]:
    def ask(*options: str) -> Any:
        command = [
            str(Path(sys.executable).with_name("llm")),
            "-m",
            "mine",
            "text 1",
            "-o",
            "temperature",
            "0",
            *options,
        ]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    found = []
    for more in ({}, {"responses": True}):
        model = {"model_id": "mine", "model_name": LABELS, "api_base": str(openai.OpenAI().base_url), **more}
        # YAML is a superset of JSON.
        settings = json.dumps([{**model, "supports_schema": True}])
        (Path(FOLDER) / "extra-openai-models.yaml").write_text(settings)
        found += [ask(), ask("--no-stream"), ask("--schema", "label, sure bool")]
    return found


def plain(value: Any) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else value


SEEN = {
    "instructor": with_instructor(),
    "langchain": with_langchain(),
    "pydantic_ai": with_pydantic_ai(),
    "llama_index": with_llama_index(),
    "openai_agents": asyncio.run(with_openai_agents()),
    "llm": with_llm(),
    "calls": asyncio.run(calls()),
}
sys.stdout.write(json.dumps({name: [plain(value) for value in found] for name, found in SEEN.items()}))
