"""Routes that read their JSON bodies without holding up other requests."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from anyio import to_thread
from fastapi import Request, Response
from fastapi.routing import APIRoute

from retune.server.errors import ApiError
from retune.server.json_text import MAX_VALUES, TooManyValuesError, parse_json

MODEL_OF_ADDRESS: Final = "retune.model_of_address"
# Parsing less takes no longer than handing it to a thread.
_SMALL_BYTES = 16 * 1024


class JsonRoute(APIRoute):
    """A route of FastAPI's whose JSON bodies are parsed within bounds, and the larger ones in a thread."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request."""
        handle = super().get_route_handler()

        async def handle_json(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return handle_json


class _JsonRequest(Request):
    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            body = await self.body()
            try:
                self._json = (
                    parse_json(body) if len(body) <= _SMALL_BYTES else await to_thread.run_sync(parse_json, body)
                )
            except TooManyValuesError:
                message = f"The request's body is made of too many JSON values: expected at most {MAX_VALUES}."
                raise ApiError(400, message, code="invalid_value") from None
            model = self.scope.get(MODEL_OF_ADDRESS)
            if model is not None and isinstance(self._json, dict):
                self._json = {**self._json, "model": model}
        return self._json
