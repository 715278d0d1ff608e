"""Identifiers, in the shapes that the API's own have."""

import random
import re
import secrets
import string

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
# Seeded by the system once for each process: asking the system for every request takes longer than all else of an id.
_request_numbers = random.Random()  # noqa: S311  # see new_request_id
_OUTSIDE_A_NAME = re.compile(r"[^\w.-]")


def _base62(length: int) -> str:
    # One draw for all characters: each draw is a call to the system.
    number, characters = secrets.randbelow(62**length), []
    for _ in range(length):
        number, digit = divmod(number, 62)
        characters.append(_BASE62[digit])
    return "".join(characters)


def new_file_id() -> str:
    """`file-` and 24 base62 characters."""
    return f"file-{_base62(24)}"


def new_job_id() -> str:
    """`ftjob-` and 24 base62 characters."""
    return f"ftjob-{_base62(24)}"


def new_event_id() -> str:
    """`ftevent-` and 24 base62 characters."""
    return f"ftevent-{_base62(24)}"


def new_checkpoint_id() -> str:
    """`ftckpt_` and 24 base62 characters."""
    return f"ftckpt_{_base62(24)}"


def new_upload_id() -> str:
    """`upload_` and 32 hex digits."""
    return f"upload_{secrets.token_hex(16)}"


def new_part_id() -> str:
    """`part_` and 32 hex digits."""
    return f"part_{secrets.token_hex(16)}"


def new_call_id() -> str:
    """`call_` and 24 base62 characters."""
    return f"call_{_base62(24)}"


def new_response_id(prefix: str) -> str:
    """A prefix, such as `resp_`, `msg_` or `fc_`, and 48 hex digits."""
    return f"{prefix}{secrets.token_hex(24)}"


def new_batch_id() -> str:
    """`batch_` and 32 hex digits."""
    return f"batch_{secrets.token_hex(16)}"


def new_batch_request_id() -> str:
    """`batch_req_` and 32 hex digits."""
    return f"batch_req_{secrets.token_hex(16)}"


def new_permission_id() -> str:
    """`cp_` and 24 base62 characters."""
    return f"cp_{_base62(24)}"


def new_key_id() -> str:
    """`key_` and 24 base62 characters."""
    return f"key_{_base62(24)}"


def new_webhook_event_id() -> str:
    """`evt_` and 32 hex digits."""
    return f"evt_{secrets.token_hex(16)}"


def new_completion_id() -> str:
    """`chatcmpl-` and 29 base62 characters."""
    return f"chatcmpl-{_base62(29)}"


def new_legacy_completion_id() -> str:
    """`cmpl-` and 29 base62 characters."""
    return f"cmpl-{_base62(29)}"


def new_request_id() -> str:
    """`req_` and 32 hex digits. It opens nothing, so it need not be hard to guess."""
    return f"req_{_request_numbers.getrandbits(128):032x}"


def new_model_name(base: str, organization: str, suffix: str | None) -> str:
    """`ft:{base}:{organization}:{suffix}:{8 base62}`.

    Characters that would make the name ambiguous or awkward in a URL (colons, slashes, spaces, …) become dashes.
    """
    slug = _OUTSIDE_A_NAME.sub("-", suffix or "")
    return f"ft:{base}:{organization}:{slug}:{_base62(8)}"


def new_checkpoint_model_name(base: str, organization: str, suffix: str | None, step: int) -> str:
    """The name of a checkpoint on the way: as a model's, with `:ckpt-step-{step}`, and a code of its own."""
    return f"{new_model_name(base, organization, suffix)}:ckpt-step-{step}"
