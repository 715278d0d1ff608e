"""Hashes that compare examples and drive the stable split."""

import re
from collections.abc import Sequence
from copy import deepcopy

from xxhash import xxh3_64_intdigest

from retune.data.example.example import Method, canonical_json, expected_answer, is_completion, prompt_messages
from retune.data.example.fixes import fix_example
from retune.training_lines.keys import INSTRUCTION_ROLES, JsonMapping, JsonObject

WINDOWS_LINE_END = r"\r+\n"
_PLAIN_MESSAGE = {"role", "content"}
_find_windows_line_ends = re.compile(WINDOWS_LINE_END)


def prompt_hash(messages: Sequence[JsonMapping], seed: int) -> int:
    """The keyed XXH3 hash of messages as they are, 64 bits.

    Messages of a role and a text alone go in as they are; any other as canonical JSON.

    Args:
        messages: A conversation, or a part of it.
        seed: The split's seed.
    """
    so_far = seed
    for message in messages:
        content = message.get("content")
        if message.keys() == _PLAIN_MESSAGE and isinstance(content, str):
            so_far = xxh3_64_intdigest(content.encode(errors="surrogatepass"), role_key(message["role"], so_far))
        else:
            so_far = xxh3_64_intdigest(canonical_json(message), role_key("json", so_far))
    return so_far


def role_key(role: str, so_far: int) -> int:
    """The key that a message's content is hashed with: it depends on who says it, and on all messages before.

    Args:
        role: Who says it.
        so_far: Hash of the messages before; of the first message, the seed.
    """
    return xxh3_64_intdigest(role.encode(errors="surrogatepass"), so_far)


def text_hash(text: str | None) -> int:
    """XXH3 of a text, 64 bits; 0 for None."""
    return 0 if text is None else xxh3_64_intdigest(text.encode(errors="surrogatepass"))


def hash_example(body: JsonMapping, method: Method, seed: int) -> tuple[int, int, int, int]:
    """Hash what a sound example asks, under which instructions, what it answers, and what else is in it.

    Where the stable split puts an example depends on what is asked alone: not on the system prompt, which may change
    from one training to the next, nor on white space that `retune check --fix` takes away. Where there are only
    instructions, they are what is asked.

    Returns:
        The columns `prompt`, `instructions`, `answer` and `rest`; two examples are the same, in every byte of their
        texts, where all four are.
    """
    messages = prompt_messages(body, method)
    instructions = [message for message in messages if message.get("role") in INSTRUCTION_ROLES]
    asked = [message for message in messages if message.get("role") not in INSTRUCTION_ROLES]
    if not asked:
        instructions, asked = [], instructions
    if is_completion(body) and not body["prompt"].strip():
        # Nothing is asked, and by nothing all would be alike.
        asked = [{"role": "assistant", "content": body["completion"]}]
    fixed = [_fix(message) for message in asked]
    answer = None if method == "reinforcement" else expected_answer(body)
    is_plain = (
        method == "supervised"
        and len(body) == 1
        and len(body["messages"]) == len(messages) + 1
        and body["messages"][-1].keys() == _PLAIN_MESSAGE
        and isinstance(body["messages"][-1]["content"], str)
        and messages == [*instructions, *asked]
    )
    trimmed_away = prompt_hash(asked, seed) if fixed != asked else 0
    rest = trimmed_away if is_plain else xxh3_64_intdigest(canonical_json(body))
    return prompt_hash(fixed, seed), instructions_hash(instructions, seed), text_hash(answer), rest


def instructions_hash(messages: Sequence[JsonMapping], seed: int) -> int:
    """The hash of system and developer messages; 0 for none."""
    return prompt_hash(messages, seed) if messages else 0


def normalized_text(text: str) -> str:
    """The text as `retune check --fix` would leave it; the same object where it has nothing to do."""
    plain = _find_windows_line_ends.sub("\n", text) if "\r" in text else text
    return plain.strip()


def _fix(message: JsonObject) -> JsonObject:
    """The message as `retune check --fix` would leave it."""
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": normalized_text(content)}
    fixed = deepcopy(message)
    fix_example({"messages": [fixed]})
    return fixed
