"""What the bodies of several requests have in common."""

import reprlib
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from retune.server.files import rules

_MAX_FIELDS: Final = 64
_MAX_METADATA_PAIRS: Final = 16


def refuse_many(value: Any, most: int, what: str) -> Any:
    """Refuse a list or an object of too many items before they are looked at: each could be an error of its own.

    Raises:
        PydanticCustomError: `too_long`.
    """
    if isinstance(value, list | dict) and len(value) > most:
        raise PydanticCustomError(
            "too_long",
            "expected at most {max_length} {what}, but got {found}",
            {"max_length": most, "what": what, "found": len(value)},
        )
    return value


def at_most(most: int, what: str) -> BeforeValidator:
    """Have a field hold at most so many items, `what` they are called."""
    return BeforeValidator(lambda value: refuse_many(value, most, what))


def shown(value: Any) -> str:
    """A value as an error names it: its beginning, where it is long."""
    return reprlib.repr(value)


# Where a text has a constraint, pydantic looks into it, and refuses unpaired surrogates.
PlainText: TypeAlias = Annotated[str, Field(max_length=1024)]
Metadata: TypeAlias = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    at_most(_MAX_METADATA_PAIRS, "pairs"),
]
# For objects that are not read as a `RequestModel`, which has the same bound.
FEW_FIELDS: Final = at_most(_MAX_FIELDS, "fields")


class RequestModel(BaseModel):
    """A part of a request: unknown fields are refused, and no type is taken for another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _has_few_fields(cls, value: Any) -> Any:
        return refuse_many(value, _MAX_FIELDS, "fields")


class ExpiresAfter(RequestModel):
    """How long a file is kept, from its creation."""

    anchor: Literal["created_at"]
    seconds: int = Field(ge=rules.SHORTEST_LIFETIME_SECONDS, le=rules.LONGEST_LIFETIME_SECONDS)
