"""Identifiers in the same shapes as those of OpenAI's API."""

import random
import re
import secrets
import string
from typing import Final

_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_HEX: Final = "0123456789abcdef"
# By prefix: which characters follow it, and how many.
_SHAPES: Final = {
    "batch_": (_HEX, 32),
    "batch_req_": (_HEX, 32),
    "call_": (_BASE62, 24),
    "chatcmpl-": (_BASE62, 29),
    "cmpl-": (_BASE62, 29),
    "cp_": (_BASE62, 24),  # a checkpoint permission
    "evt_": (_HEX, 32),  # a notification
    "fc_": (_HEX, 48),  # a function call of a response
    "file-": (_BASE62, 24),
    "ftckpt_": (_BASE62, 24),
    "ftevent-": (_BASE62, 24),
    "ftjob-": (_BASE62, 24),
    "key_": (_BASE62, 24),
    "msg_": (_HEX, 48),
    "part_": (_HEX, 32),
    "resp_": (_HEX, 48),
    "upload_": (_HEX, 32),
}
# Seeded by the system once for each process: asking the system for every request takes longer than all else of an id.
_request_numbers = random.Random()  # noqa: S311  # see new_request_id
_OUTSIDE_A_NAME = re.compile(r"[^\w.-]")


def new_id(prefix: str) -> str:
    """A new identifier: a prefix of the table above, and as many random characters as the API's own ids of it have.

    Raises:
        KeyError: The prefix is not in the table.
    """
    alphabet, length = _SHAPES[prefix]
    return prefix + _random_text(alphabet, length)


def new_request_id() -> str:
    """`req_` and 32 hex digits. It opens nothing, so it need not be hard to guess."""
    return f"req_{_request_numbers.getrandbits(128):032x}"


def new_model_name(base: str, organization: str, suffix: str | None) -> str:
    """`ft:{base}:{organization}:{suffix}:{8 base62}`.

    Characters that would make the name ambiguous or awkward in a URL (colons, slashes, spaces, …) become dashes.
    """
    slug = _OUTSIDE_A_NAME.sub("-", suffix or "")
    return f"ft:{base}:{organization}:{slug}:{_random_text(_BASE62, 8)}"


def new_checkpoint_model_name(base: str, organization: str, suffix: str | None, step: int) -> str:
    """The name of a checkpoint on the way: as a model's, with `:ckpt-step-{step}`, and a code of its own."""
    return f"{new_model_name(base, organization, suffix)}:ckpt-step-{step}"


def _random_text(alphabet: str, length: int) -> str:
    # One draw for all characters: each draw is a call to the system.
    base = len(alphabet)
    number, characters = secrets.randbelow(base**length), []
    for _ in range(length):
        number, digit = divmod(number, base)
        characters.append(alphabet[digit])
    return "".join(characters)
