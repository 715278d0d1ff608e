"""One training example, and what the rest of the library asks of it."""

import json
from dataclasses import dataclass
from typing import Literal, NamedTuple

from retune.data.problems.problems import Finding
from retune.errors import DataError
from retune.training_lines.keys import COMPLETION_KEYS, JsonMapping, JsonObject

Method = Literal["supervised", "dpo", "reinforcement"]
"""The fine-tuning API's own names of its methods; each has its own kind of training file."""


class SplitKeys(NamedTuple):
    """Values of the columns that a split goes by; None where no such column was named.

    Attributes:
        group: Rows that share it stay together.
        stratum: The mixture of these is the same in every split.
        side: train, validation or test, as the source says it.
    """

    group: str | None = None
    stratum: str | None = None
    declared_split: str | None = None


NO_KEYS = SplitKeys()
"""Of examples whose split goes by no column."""


@dataclass(frozen=True, slots=True)
class Example:
    """One example.

    Attributes:
        body: The JSON object of one line of a training file: `{"messages": [...]}`, or a prompt and its completion.
            Empty where the row could not be made into one.
        number: The row or line that it came from.
        findings: Why it could not.
        keys: What a split goes by, where it goes by columns.
        other_keys: Keys of the row that the first rows lacked and that are not part of the example.
        late: The row, where it has such keys.
    """

    body: JsonObject
    number: int = 0
    findings: tuple[Finding, ...] = ()
    keys: SplitKeys = NO_KEYS
    other_keys: tuple[str, ...] = ()
    late: JsonMapping | None = None


def prompt_messages(body: JsonMapping, method: Method = "supervised") -> list[JsonObject]:
    """What a model is shown to get the answer.

    For supervised examples everything before the last assistant message; for preference pairs the input; for
    reinforcement examples, which have no answer, the whole conversation.

    Raises:
        DataError: There are no messages.
    """
    # An item for reinforcement may have any key beside its messages, "input" too.
    if "messages" not in body and "input" in body:
        return list(body["input"]["messages"])
    messages = body.get("messages")
    if is_completion(body):
        return [{"role": "user", "content": body["prompt"]}]
    if not isinstance(messages, list):
        raise DataError("An example has no messages.", hint="Check the examples first: the checks name every one.")
    last = None if method == "reinforcement" else last_assistant(messages)
    return messages if last is None else messages[:last]


def expected_answer(body: JsonMapping) -> str:
    """What the last assistant message says, or the preferred answer; empty where it only calls tools.

    Raises:
        DataError: No message is the assistant's.
    """
    if is_completion(body):
        return str(body["completion"])
    messages = body["messages"] if "messages" in body else body["preferred_output"]
    last = last_assistant(messages)
    if last is None:
        raise DataError(
            "An example has no assistant message, so there is no answer to learn.",
            hint="Check the examples first: the checks name every one of them.",
        )
    return message_text(messages[last])


def is_completion(body: JsonMapping) -> bool:
    """Whether an example is a prompt and its completion; beside messages, such keys may be anything."""
    return "messages" not in body and body.keys() >= set(COMPLETION_KEYS)


def as_completion(body: JsonObject) -> JsonObject:
    """A prompt and its completion, of a conversation that is one question and one answer; else the example as it is.

    No text of the user's is an empty prompt: such models can be trained on completions alone.
    """
    messages = body.get("messages")
    if len(body) != 1 or not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        return body
    if [message.get("role") for message in messages] != ["user", "assistant"]:
        return body
    asked, answered = messages
    if asked.keys() | answered.keys() != {"role", "content"}:
        return body
    prompt = asked.get("content")
    return {"prompt": "" if prompt is None else prompt, "completion": answered.get("content")}


def last_assistant(messages: list[JsonObject]) -> int | None:
    """Index of the last message of the assistant's; None if there is none."""
    return next((index for index in reversed(range(len(messages))) if messages[index].get("role") == "assistant"), None)


def message_text(message: JsonMapping) -> str:
    """The words of a message: its content, or the text parts of it put together."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def canonical_json(value: object) -> bytes:
    """The same bytes for equal values, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode("ascii")
