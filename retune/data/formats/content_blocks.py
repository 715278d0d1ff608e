"""Parts of a message's content as Anthropic, Amazon Bedrock and Gemini write them, read as the API's.

Anthropic has `{"type": "tool_use", …}` and `{"type": "tool_result", …}`, Bedrock `{"text": …}`, `{"toolUse": …}` and
`{"toolResult": …}`, Gemini `{"text": …}`, `{"functionCall": …}` and `{"functionResponse": …}`.
"""

import json
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from retune.training_lines.keys import JsonObject

_SAYS_NOTHING = {"cache_control", "citations", "annotations", "logprobs"}
_API_TEXT = {"type", "text"}
_JSON_SCHEMA = {"type", "properties", "$ref", "anyOf", "oneOf", "allOf"}
_PYTHON_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "list": "array"}
_TEXT_TYPES = ("text", "input_text", "output_text")


class ContentBlock(NamedTuple):
    """One part of a content.

    Attributes:
        kind: What it is; `part` is one that the API knows, or one that nothing is known about.
        value: Of `text` the text, of `call` the arguments, of `result` what came back, of `part` the part.
        name: Of the function.
        id: Of the call; None where the service gives none.
    """

    kind: Literal["text", "call", "result", "part"]
    value: Any
    name: str | None = None
    id: str | None = None


def read_block(part: object) -> ContentBlock:
    """What a part of a content says."""
    if not isinstance(part, dict):
        return ContentBlock("text", part) if isinstance(part, str) else ContentBlock("part", part)
    for read in (_text, _anthropic, _bedrock, _gemini):
        if (block := read(part)) is not None:
            return block
    return ContentBlock("part", part)


def has_foreign_blocks(content: Any) -> bool:
    """Whether a content is a list with parts that are not written as the API's."""
    return isinstance(content, list) and any(map(_is_foreign, content))


def blocks_text(value: object) -> str | None:
    """The text of a list of blocks, or of an object of `parts`, that are nothing but text; None for anything else."""
    if isinstance(value, dict):
        value = value.get("parts", value.get("content", [value]))
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        return None
    blocks = [read_block(part) for part in value if isinstance(part, dict)]
    are_texts = len(blocks) == len(value) and all(block.kind == "text" for block in blocks)
    return "".join(block.value for block in blocks) if are_texts else None


def api_content(blocks: Iterable[ContentBlock]) -> object:
    """Texts and other parts as the API has them: one text, or a list with parts of other kinds."""
    kept = [block for block in blocks if block.kind in ("text", "part")]
    if all(block.kind == "text" for block in kept):
        return "".join(block.value for block in kept)
    return [{"type": "text", "text": block.value} if block.kind == "text" else block.value for block in kept]


def written(value: object) -> str:
    """What came of a call, or its arguments, as the API has them: a text; anything else as JSON."""
    text = value if isinstance(value, str) else blocks_text(value) if isinstance(value, list) else None
    return json.dumps(value, ensure_ascii=False, default=str) if text is None else text


def api_tools(tools: object) -> object:
    """Declared functions as the API takes them, whoever's they are; what is not known stays as it is.

    Bare functions get the `{"type": "function"}` around them, as LLaMA-Factory's and Anthropic's need it; Gemini's
    lists of declarations and Bedrock's `toolConfig` become lists of tools.
    """
    if isinstance(tools, dict) and isinstance(tools.get("tools"), list):
        tools = tools["tools"]
    if not isinstance(tools, list):
        return tools
    return [read for tool in tools for read in _declared(tool)]


def _declared(tool: object) -> list[object]:
    if not isinstance(tool, dict):
        return [tool]
    declarations = tool.get("functionDeclarations", tool.get("function_declarations"))
    if isinstance(declarations, list):
        return [{"type": "function", "function": _lower_types(each)} for each in declarations]
    if isinstance(spec := tool.get("toolSpec"), dict):
        schema = spec.get("inputSchema")
        tool = {**spec, "input_schema": schema.get("json", schema) if isinstance(schema, dict) else schema}
        del tool["inputSchema"]
    is_function = "input_schema" in tool or tool.get("type", "function") == "function"
    if "name" not in tool or "function" in tool or not is_function:
        return [tool]
    function = {key: value for key, value in tool.items() if key not in ("type", "input_schema", *_SAYS_NOTHING)}
    if "input_schema" in tool:
        function["parameters"] = tool["input_schema"]
    if "parameters" in function:
        function["parameters"] = _schema(function["parameters"])
    return [{"type": "function", "function": function}]


def _schema(parameters: object) -> object:
    """A JSON schema; xlam's parameters stand without the object around them, and have Python's names of types."""
    if not isinstance(parameters, dict) or not parameters or not _JSON_SCHEMA.isdisjoint(parameters):
        return parameters
    if not all(isinstance(each, dict) and isinstance(each.get("type"), str) for each in parameters.values()):
        return parameters
    typed = {
        name: {**each, "type": _PYTHON_TYPES.get(each["type"].split(",")[0].strip(), each["type"])}
        for name, each in parameters.items()
    }
    return {"type": "object", "properties": typed}


def _lower_types(schema: object) -> object:
    """Gemini's schemas name their types in capitals."""
    if isinstance(schema, list):
        return [_lower_types(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: value.lower() if key == "type" and isinstance(value, str) else _lower_types(value)
        for key, value in schema.items()
    }


def _is_foreign(part: Any) -> bool:
    block = read_block(part)
    if block.kind == "text":
        return isinstance(part, str) or part.keys() != _API_TEXT
    return block.value is not part


def _text(part: JsonObject) -> ContentBlock | None:
    is_typed = part.get("type") in _TEXT_TYPES
    others = part.keys() - {*_API_TEXT, *_SAYS_NOTHING}
    is_bare = "type" not in part and not others
    return ContentBlock("text", part["text"]) if (is_typed or is_bare) and isinstance(part.get("text"), str) else None


def _anthropic(part: JsonObject) -> ContentBlock | None:
    if part.get("type") == "tool_use":
        return ContentBlock("call", part.get("input", {}), part.get("name"), part.get("id"))
    if part.get("type") == "tool_result":
        return ContentBlock("result", part.get("content", ""), None, part.get("tool_use_id"))
    source = part.get("source")
    if part.get("type") == "image" and isinstance(source, dict):
        url = source.get("url") or f"data:{source.get('media_type')};base64,{source.get('data')}"
        return ContentBlock("part", {"type": "image_url", "image_url": {"url": url}})
    return None


def _bedrock(part: JsonObject) -> ContentBlock | None:
    used, result = part.get("toolUse"), part.get("toolResult")
    if isinstance(used, dict):
        return ContentBlock("call", used.get("input", {}), used.get("name"), used.get("toolUseId"))
    if not isinstance(result, dict):
        return None
    content = result.get("content", "")
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict) and "json" in content[0]:
        content = content[0]["json"]
    return ContentBlock("result", content, None, result.get("toolUseId"))


def _gemini(part: JsonObject) -> ContentBlock | None:
    called = part.get("functionCall", part.get("function_call"))
    result = part.get("functionResponse", part.get("function_response"))
    if isinstance(called, dict):
        return ContentBlock("call", called.get("args", {}), called.get("name"), called.get("id"))
    if isinstance(result, dict):
        return ContentBlock("result", result.get("response", ""), result.get("name"), result.get("id"))
    return None
