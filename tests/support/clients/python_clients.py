"""Applications and libraries that talk to OpenAI servers: `python python_clients.py NAME…` prints what each saw.

OPENAI_BASE_URL and OPENAI_API_KEY say where to ask, MODEL names a model that answers QUESTION with a small JSON object.
The last line printed is one JSON object: by name what each function returned, or its traceback. `whole` and `streamed`
are the same answer as text, `structured` is it as values.
"""

import asyncio
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

MODEL = os.environ.get("MODEL", "")
QUESTION = os.environ.get("QUESTION", "")
MESSAGES = [{"role": "user", "content": QUESTION}]
URL, KEY = os.environ.get("OPENAI_BASE_URL", ""), os.environ.get("OPENAI_API_KEY", "")


class Ticket(BaseModel):
    """What the model answers with."""

    city: str
    urgent: bool


def litellm() -> dict[str, Any]:
    from litellm import completion

    asked: dict[str, Any] = {"model": f"openai/{MODEL}", "messages": MESSAGES, "temperature": 0, "api_base": URL}
    chunks = completion(**asked, stream=True)
    return {
        "whole": completion(**asked).choices[0].message.content,
        "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in chunks),
        "structured": json.loads(completion(**asked, response_format=Ticket).choices[0].message.content),
    }


def litellm_fine_tuning() -> dict[str, Any]:
    """The order of LiteLLM's own live tests: the file is deleted while its job runs, and the job cancelled then."""
    import litellm as library

    azure = {"custom_llm_provider": "azure", "api_base": URL.removesuffix("/v1"), "api_version": "2025-04-01-preview"}
    seen: dict[str, Any] = {}
    for name, model, to in (("openai", "gpt-3.5-turbo-0125", {}), ("azure", "gpt-35-turbo-0125", azure)):
        provider: dict[str, Any] = {"custom_llm_provider": "openai", "api_base": URL, "api_key": KEY, **to}
        lines = os.environ["TRAINING_LINES"].encode()
        file = library.create_file(file=("train.jsonl", lines), purpose="fine-tune", **provider)
        job = library.create_fine_tuning_job(
            model=model, training_file=file.id, hyperparameters={"n_epochs": 50}, **provider
        )
        listed = [one.id for one in library.list_fine_tuning_jobs(limit=2, **provider)]
        found = library.retrieve_fine_tuning_job(fine_tuning_job_id=job.id, **provider)
        library.file_delete(file_id=file.id, **provider)
        cancelled = library.cancel_fine_tuning_job(fine_tuning_job_id=job.id, **provider)
        assert (found.id, cancelled.id) == (job.id, job.id)
        seen[name] = {"model": job.model, "is_listed": job.id in listed, "status": cancelled.status}
    return seen


def langchain() -> dict[str, Any]:
    from langchain_openai import ChatOpenAI

    chat = ChatOpenAI(model=MODEL, temperature=0)
    answers = {
        method: chat.with_structured_output(Ticket, method=method).invoke(QUESTION).model_dump()
        for method in ("json_schema", "function_calling")
    }
    assert answers["json_schema"] == answers["function_calling"]
    return {
        "whole": chat.invoke(QUESTION).content,
        "streamed": "".join(chunk.content for chunk in chat.stream(QUESTION)),
        "structured": answers["function_calling"],
    }


def llama_index() -> dict[str, Any]:
    from llama_index.core.llms import ChatMessage
    from llama_index.core.prompts import PromptTemplate
    from llama_index.llms.openai import OpenAI

    chat = OpenAI(model=MODEL, temperature=0, api_base=URL)
    messages = [ChatMessage(role="user", content=QUESTION)]
    return {
        "whole": chat.chat(messages).message.content,
        "streamed": "".join(part.delta or "" for part in chat.stream_chat(messages)),
        "structured": chat.structured_predict(Ticket, PromptTemplate(QUESTION)).model_dump(),
    }


def instructor() -> dict[str, Any]:
    import instructor as library
    from openai import OpenAI

    modes = (library.Mode.TOOLS, library.Mode.JSON_SCHEMA, library.Mode.JSON)
    answers = [
        library.from_openai(OpenAI(), mode=mode)
        .chat.completions.create(model=MODEL, messages=MESSAGES, response_model=Ticket, temperature=0, max_retries=0)
        .model_dump()
        for mode in modes
    ]
    assert answers[0] == answers[1] == answers[2]
    return {"structured": answers[0]}


def pydantic_ai() -> dict[str, Any]:
    from pydantic_ai import Agent, NativeOutput
    from pydantic_ai.models.openai import OpenAIChatModel

    model = OpenAIChatModel(MODEL, settings={"temperature": 0})

    async def streamed() -> str:
        async with Agent(model).run_stream(QUESTION) as result:
            return "".join([text async for text in result.stream_text(delta=True)])

    tool = Agent(model, output_type=Ticket).run_sync(QUESTION).output
    native = Agent(model, output_type=NativeOutput(Ticket)).run_sync(QUESTION).output
    assert tool == native
    whole = Agent(model).run_sync(QUESTION).output
    return {"whole": whole, "streamed": asyncio.run(streamed()), "structured": tool.model_dump()}


def openai_agents() -> dict[str, Any]:
    from agents import Agent, ModelSettings, Runner, set_tracing_disabled

    set_tracing_disabled(True)
    settings = ModelSettings(temperature=0)
    agent = Agent(name="clerk", model=MODEL, model_settings=settings)
    typed = Agent(name="clerk", model=MODEL, model_settings=settings, output_type=Ticket)

    async def streamed() -> str:
        result = Runner.run_streamed(agent, QUESTION)
        raw = [event.data async for event in result.stream_events() if event.type == "raw_response_event"]
        return "".join(event.delta for event in raw if event.type == "response.output_text.delta")

    whole = Runner.run_sync(agent, QUESTION).final_output
    structured = Runner.run_sync(typed, QUESTION).final_output.model_dump()
    return {"whole": whole, "streamed": asyncio.run(streamed()), "structured": structured}


def dspy() -> dict[str, Any]:
    import dspy as library

    model = library.LM(f"openai/{MODEL}", api_base=URL, temperature=0, cache=False)
    return {"whole": model(QUESTION)[0]}


def haystack() -> dict[str, Any]:
    from haystack.components.generators.chat import OpenAIChatGenerator
    from haystack.dataclasses import ChatMessage

    chat = OpenAIChatGenerator(model=MODEL, generation_kwargs={"temperature": 0})
    pieces: list[str] = []
    messages = [ChatMessage.from_user(QUESTION)]
    chat.run(messages, streaming_callback=lambda chunk: pieces.append(chunk.content))
    return {"whole": chat.run(messages)["replies"][0].text, "streamed": "".join(pieces)}


def autogen() -> dict[str, Any]:
    from autogen_core.models import ModelInfo, UserMessage
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    info = ModelInfo(vision=False, function_calling=True, json_output=True, family="unknown", structured_output=True)
    chat = OpenAIChatCompletionClient(model=MODEL, base_url=URL, model_info=info, temperature=0)
    messages = [UserMessage(content=QUESTION, source="user")]

    async def ask() -> dict[str, Any]:
        streamed = [part async for part in chat.create_stream(messages) if isinstance(part, str)]
        typed = await chat.create(messages, json_output=Ticket)
        whole = (await chat.create(messages)).content
        return {"whole": whole, "streamed": "".join(streamed), "structured": json.loads(str(typed.content))}

    return asyncio.run(ask())


def smolagents() -> dict[str, Any]:
    from smolagents import OpenAIModel

    model = OpenAIModel(model_id=MODEL, api_base=URL, api_key=KEY, temperature=0)
    messages = [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]
    streamed = "".join(part.content or "" for part in model.generate_stream(messages))
    return {"whole": model.generate(messages).content, "streamed": streamed}


def magentic() -> dict[str, Any]:
    from magentic import OpenaiChatModel, UserMessage
    from magentic.streaming import StreamedStr

    model = OpenaiChatModel(MODEL, temperature=0)
    whole = str(model.complete([UserMessage(QUESTION)], output_types=[str]).content)
    streamed = "".join(model.complete([UserMessage(QUESTION)], output_types=[StreamedStr]).content)
    typed = model.complete([UserMessage(QUESTION)], output_types=[Ticket]).content
    return {"whole": whole, "streamed": streamed, "structured": typed.model_dump()}


def aisuite() -> dict[str, Any]:
    from aisuite import Client

    client = Client({"openai": {"base_url": URL, "api_key": KEY}})
    asked = client.chat.completions.create(model=f"openai:{MODEL}", messages=MESSAGES, temperature=0)
    return {"whole": asked.choices[0].message.content}


def mirascope() -> dict[str, Any]:
    from mirascope import llm

    llm.register_provider("openai", scope="openai/", base_url=URL, api_key=KEY)
    model = llm.model(f"openai/{MODEL}:completions", temperature=0)
    typed = model.call(QUESTION, format=Ticket).parse()
    return {"whole": model.call(QUESTION).text(), "structured": typed.model_dump()}


def llm() -> dict[str, Any]:
    from llm.default_plugins.openai_models import Chat, Responses

    answers = []
    for kind in (Chat, Responses):
        model = kind("tickets", model_name=MODEL, api_base=URL, supports_schema=True)
        model.key = KEY
        whole = model.prompt(QUESTION, temperature=0, stream=False).text()
        streamed = "".join(model.prompt(QUESTION, temperature=0))
        typed = json.loads(model.prompt(QUESTION, temperature=0, schema=Ticket).text())
        answers.append({"whole": whole, "streamed": streamed, "structured": typed})
    assert answers[0] == answers[1]
    return answers[0]


CLIENTS: dict[str, Callable[[], dict[str, Any]]] = {
    function.__name__: function
    for function in (
        litellm, litellm_fine_tuning, langchain, llama_index, instructor, pydantic_ai, openai_agents, dspy, haystack,
        autogen, smolagents, magentic, aisuite, mirascope, llm,
    )
}  # fmt: skip


def seen_by(name: str) -> dict[str, Any]:
    try:
        return CLIENTS[name]()
    except Exception:  # noqa: BLE001  # one client's failure is not another's
        return {"failure": traceback.format_exc()}


if __name__ == "__main__":
    print(json.dumps({name: seen_by(name) for name in sys.argv[1:]}))
