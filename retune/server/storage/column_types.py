"""Column types that mean the same on every database."""

import json
from typing import Any

from sqlalchemy import JSON, BigInteger, Dialect, Integer, String, TypeDecorator
from sqlalchemy.exc import DontWrapMixin

from retune.server.errors import ApiError

# SQLite's INTEGER has 64 bits, and its other integers can't number rows.
WholeNumber = BigInteger().with_variant(Integer(), "sqlite")


class UnstorableTextError(ApiError, DontWrapMixin):
    """A text contains what PostgreSQL or UTF-8 can't represent; SQLite refuses it too, so that data stays portable."""

    def __init__(self) -> None:
        super().__init__(
            400,
            "A text of the request has a NUL character or an unpaired surrogate, which can't be stored. Leave it out.",
            code="invalid_value",
        )


class Text(TypeDecorator[str]):
    """Any text that both databases and UTF-8 can hold.

    Raises:
        UnstorableTextError: On binding a text with a NUL or an unpaired surrogate.
    """

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # the base's signature
        """Refuse what can't be stored."""
        if value is not None:
            _refuse_unstorable(value)
        return value


class Json(TypeDecorator[Any]):
    """A JSON value, with SQL's NULL for None, so that "is there one" is an ordinary question.

    Raises:
        UnstorableTextError: On binding a text with an unpaired surrogate: no answer could hold it.
    """

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: object, dialect: Dialect) -> object:  # the base's signature
        """Refuse what can't be stored."""
        _refuse_unstorable(json.dumps(value, ensure_ascii=False))
        return value


def storable(text: str) -> str:
    """A text with replacement characters for what can't be stored: for texts that no client can change."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _refuse_unstorable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnstorableTextError from None
    if "\0" in text:
        raise UnstorableTextError
