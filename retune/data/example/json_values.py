"""JSON answers, compared by what they mean and not by how they are written."""

import json
from typing import Any


def parse_object(text: str | None) -> dict[str, Any] | None:
    """Parse a JSON object; None where the text is anything else, NaN and Infinity included."""
    value = parse_value(text)
    return value if isinstance(value, dict) else None


def parse_value(text: str | None) -> Any:
    """Parse JSON; None where the text is null or no JSON, NaN and Infinity included."""
    if text is None:
        return None
    try:
        return json.loads(text, parse_float=_number, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def canonical(value: Any) -> str:
    """One text for equal JSON values: keys sorted, no spaces, 1.0 as 1. True and 1 stay different."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _number(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() else number


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
