"""What is wrong with an item for reinforcement fine-tuning."""

from collections.abc import Iterator, Mapping
from typing import Any

from retune.config import ProviderKind
from retune.data.checks.messages import check_messages
from retune.data.checks.tool_calls import check_tools
from retune.data.sources.blocks import Finding
from retune.redaction.masking import shown

RESERVED_KEYS = ("messages", "tools")


def check_reinforcement(body: Mapping[str, Any], provider: ProviderKind) -> Iterator[Finding]:
    """Check one line of a reinforcement file: a conversation, and beside it whatever its grader needs.

    Rules of the guide and of the published schema: `messages` and `tools` are the only reserved keys, and the last
    message is the user's, because the answer is sampled.
    """
    # Other keys are the grader's, whatever they are called.
    yield from check_tools({key: body[key] for key in RESERVED_KEYS if key in body})
    messages = body.get("messages")
    yield from check_messages(messages, body, provider)
    last = messages[-1] if isinstance(messages, list) and messages else None
    if isinstance(last, dict) and last.get("role") != "user":
        text = f"the last message is of the role {shown(last.get('role'))}; expected user, for the answer is sampled."
        yield Finding("prompt_ends_with_answer", text)
    if body.keys() <= set(RESERVED_KEYS):
        yield Finding("missing_grader_fields", "nothing beside the messages; a grader has only the answer to go by.")
