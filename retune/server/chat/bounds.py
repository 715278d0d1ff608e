"""Bounds on what requests hold, met before each item is looked at: a problem with each would be kept until the last."""

from typing import Any, Final

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

MAX_MESSAGES: Final = 2048
MAX_TOOLS: Final = 128
MAX_METADATA: Final = 16
_MAX_FIELDS = 64


def at_most(count: int, what: str) -> BeforeValidator:
    """Refuse a list or an object with more items than `count`, without a look at them."""

    def check(value: Any) -> Any:
        if isinstance(value, list | dict) and len(value) > count:
            context = {"what": what, "count": count, "found": len(value)}
            raise PydanticCustomError("too_long", "expected at most {count} {what}, but got {found}", context)
        return value

    return BeforeValidator(check)


FEW_FIELDS: Final = at_most(_MAX_FIELDS, "fields")
