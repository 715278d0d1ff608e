"""What Retune's own server refuses in a training file, reported before the upload: the server's rules."""

from collections.abc import Iterator

from retune.config import ProviderKind
from retune.data.problems.problems import Finding
from retune.redaction.masking import masked
from retune.training_lines.keys import MAX_LINE_BYTES, MAX_LINE_VALUES, JsonMapping
from retune.training_lines.problems import chat_problems, completion_problems


def check_server_limits(body: JsonMapping, *, completes_prompts: bool = False) -> Iterator[Finding]:
    """Find what other providers take and this server doesn't, in an example that has no other errors.

    Args:
        body: The example.
        completes_prompts: It is a prompt and its completion.
    """
    for problem in completion_problems(body) if completes_prompts else chat_problems(body):
        yield Finding("unsupported_by_server", f"the server trains on text and calls alone; {masked(str(problem))}.")


def check_line_size(line: bytes, body: JsonMapping, provider: ProviderKind) -> Finding | None:
    """Whether the server does not read a line, for its length or its number of JSON values.

    Args:
        line: The example as it is written.
        body: The example.
        provider: Others have limits of their own.
    """
    if provider != "retune" or len(line) <= MAX_LINE_VALUES:
        return None
    if len(line) > MAX_LINE_BYTES:
        text = f"the line has {len(line):,} bytes; the server reads at most {MAX_LINE_BYTES:,} of one."
    elif (count := _count_values(body)) > MAX_LINE_VALUES:
        text = f"the line is made of {count:,} JSON values; the server reads at most {MAX_LINE_VALUES:,} of one."
    else:
        return None
    return Finding("unsupported_by_server", text)


def _count_values(value: object) -> int:
    """Values as the server counts them: by the signs before each, which are brackets and commas."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return 0
    return max(len(value), 1) + sum(map(_count_values, value))
