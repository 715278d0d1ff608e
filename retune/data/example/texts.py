"""What a model reads of an example."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from retune.data.example.example import Method, is_completion, message_text, prompt_messages
from retune.data.example.images import image_tokens
from retune.training_lines.keys import INSTRUCTION_ROLES, JsonMapping, JsonObject

_MACHINES = ("tool", "function")
# A role and a content: most messages have nothing else.
_PLAIN_KEYS = 2


@dataclass(slots=True)
class ToolCounts:
    """What the declared tools of an example consist of, beside their texts.

    Attributes:
        functions: How many are declared.
        with_parameters: How many of them have parameters.
        parameters: How many parameters they have, those inside others included.
        choices: For each parameter with an enumeration, what it enumerates.
    """

    functions: int = 0
    with_parameters: int = 0
    parameters: int = 0
    choices: list[list[str]] = field(default_factory=list)


@dataclass(slots=True)
class ExampleTexts:
    """The texts of one example, and what is read of it beside texts.

    Attributes:
        roles: Of all messages; none where it is a prompt and its completion.
        machine: What programs wrote: names, declarations of tools, calls of them and what they answered.
        instructions: Contents of system and developer messages.
        prompt: Contents of the other messages up to the answer.
        answer: Contents of all that comes after.
        names: How many messages have a name.
        tools: What declared tools consist of.
        image_tokens: Tokens of all images.
    """

    roles: list[str]
    machine: list[str] = field(default_factory=list)
    instructions: list[str] = field(default_factory=list)
    prompt: list[str] = field(default_factory=list)
    answer: list[str] = field(default_factory=list)
    names: int = 0
    tools: ToolCounts = field(default_factory=ToolCounts)
    image_tokens: int = 0


def example_texts(body: JsonMapping, method: Method = "supervised") -> ExampleTexts:
    """Take a sound example apart.

    Args:
        body: The example.
        method: What it is to train: an item for reinforcement is all prompt.
    """
    if is_completion(body):
        return ExampleTexts([], prompt=[body["prompt"]], answer=[body["completion"]])
    prompt = prompt_messages(body, method)
    answer = _messages_after(body, len(prompt))
    texts = ExampleTexts([message["role"] for message in (*prompt, *answer)])
    for function in _declared(body):
        texts.machine += _read_function(function, texts.tools)
    for message in prompt:
        _add(texts, message, texts.instructions if message["role"] in INSTRUCTION_ROLES else texts.prompt)
    for message in answer:
        _add(texts, message, texts.answer)
    return texts


def _messages_after(body: JsonMapping, n_prompt: int) -> list[JsonObject]:
    if "messages" in body:
        return list(body["messages"][n_prompt:])
    return [*body["preferred_output"], *body["non_preferred_output"]]


def _add(texts: ExampleTexts, message: JsonMapping, said: list[str]) -> None:
    (texts.machine if message["role"] in _MACHINES else said).append(message_text(message))
    if len(message) == _PLAIN_KEYS and isinstance(message.get("content"), str):
        return
    said += _refusals(message)
    for image in _image_parts(message):
        texts.image_tokens += image_tokens(image["url"], image.get("detail"))
    if message.get("name"):
        texts.names += 1
        texts.machine.append(message["name"])
    for called in (*(call["function"] for call in message.get("tool_calls") or ()), message.get("function_call")):
        if called:
            texts.machine += (called["name"], called["arguments"])


def _parts(message: JsonMapping) -> Sequence[JsonMapping]:
    content = message.get("content")
    return content if isinstance(content, list) else ()


def _image_parts(message: JsonMapping) -> list[JsonMapping]:
    return [part["image_url"] for part in _parts(message) if part["type"] == "image_url"]


def _refusals(message: JsonMapping) -> Iterator[str]:
    yield from (part["refusal"] for part in _parts(message) if part["type"] == "refusal")
    if message.get("refusal"):
        yield message["refusal"]


def _declared(body: JsonMapping) -> Iterator[JsonMapping]:
    # Beside the messages of an item for reinforcement, `functions` may be anything.
    declaring = body if "messages" in body else body["input"]
    for tool in declaring.get("tools") or ():
        yield tool["function"]
    functions = declaring.get("functions")
    if isinstance(functions, list):
        yield from (function for function in functions if isinstance(function, dict) and "name" in function)


def _read_function(function: JsonMapping, counts: ToolCounts) -> Iterator[str]:
    """The lines that a declaration becomes, as OpenAI's cookbook has them ("How to count tokens with tiktoken")."""
    counts.functions += 1
    yield f"{function['name']}:{_description(function)}"
    before = counts.parameters
    yield from _read_parameters(function.get("parameters"), counts)
    counts.with_parameters += counts.parameters > before


def _read_parameters(schema: object, counts: ToolCounts) -> Iterator[str]:
    """Parameters, and those inside them, which the cookbook's rule doesn't know."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    for name, parameter in properties.items() if isinstance(properties, dict) else ():
        if not isinstance(parameter, dict):
            continue
        counts.parameters += 1
        yield f"{name}:{parameter.get('type', '')}:{_description(parameter)}"
        choices = parameter.get("enum")
        if isinstance(choices, list):
            counts.choices.append([str(choice) for choice in choices])
        yield from _read_parameters(parameter, counts)
        yield from _read_parameters(parameter.get("items"), counts)


def _description(described: JsonMapping) -> str:
    description = described.get("description")
    return description.removesuffix(".") if isinstance(description, str) else ""
