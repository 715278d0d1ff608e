"""What JSON bodies of requests have in common: how they are parsed, and the types of their fields."""

import reprlib
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final, TypeAlias

from anyio import to_thread
from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from retune.server.errors import ApiError
from retune.server.json_input import MAX_VALUES, TooManyValuesError, parse_json

_MAX_FIELDS: Final = 64
_MAX_METADATA_PAIRS: Final = 16
# With a constraint, pydantic inspects the text and refuses unpaired surrogates.
PlainText: TypeAlias = Annotated[str, Field(max_length=1024)]
MODEL_OVERRIDE: Final = "retune.model_of_path"
# Parsing less takes no longer than handing it to a thread.
_SMALL_BYTES = 16 * 1024


def refuse_many(value: object, most: int, what: str) -> object:
    """Refuse a list or an object of too many items before they are validated: each could be an error of its own.

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


def refuse_many_fields(value: object) -> object:
    """Refuse an object of more fields than any that the API has; raises the error of `refuse_many`."""
    return refuse_many(value, _MAX_FIELDS, "fields")


def at_most(most: int, what: str) -> BeforeValidator:
    """Limit a field to `most` items; `what` names them in the error."""
    return BeforeValidator(lambda value: refuse_many(value, most, what))


def shown(value: Any) -> str:
    """A value as an error quotes it, shortened if it is long."""
    return reprlib.repr(value)


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
    def _has_few_fields(cls, value: object) -> object:
        return refuse_many_fields(value)


class JsonRoute(APIRoute):
    """A route of FastAPI's whose JSON bodies are parsed within bounds, and the larger ones in a thread."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, with a request whose JSON is parsed here."""
        handle = super().get_route_handler()

        async def handle_json(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return handle_json


class _JsonRequest(Request):
    async def json(self) -> object:
        if not hasattr(self, "_json"):
            body = await self.body()
            try:
                self._json = (
                    parse_json(body) if len(body) <= _SMALL_BYTES else await to_thread.run_sync(parse_json, body)
                )
            except TooManyValuesError:
                message = f"The request's body is made of too many JSON values: expected at most {MAX_VALUES}."
                raise ApiError(400, message, code="invalid_value") from None
            model = self.scope.get(MODEL_OVERRIDE)
            if model is not None and isinstance(self._json, dict):
                self._json = {**self._json, "model": model}
        return self._json
