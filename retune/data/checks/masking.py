"""Showing texts of the data without the secrets in them: messages go into reports and logs."""

from retune.data.checks.secret_patterns import find_secrets
from retune.data.quoting import shown

# Much more than is shown, so that what is shown of a secret can be told to be one.
_LOOKED_AT = 2_000


def shown_masked(text: str) -> str:
    """A text, short enough for a message, with the kind of each secret in its place: "my key is [api_key]"."""
    start = text[:_LOOKED_AT]
    for kind, secret in find_secrets(start):
        start = start.replace(secret, f"[{kind}]")
    return shown(start)
