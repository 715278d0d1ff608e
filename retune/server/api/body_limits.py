"""How large a request's body may be, by where it goes."""

from dataclasses import dataclass
from typing import Final

from retune.server.api.multipart import FORM_BYTES
from retune.server.errors import ApiError, context_exceeded, too_large
from retune.server.settings import ServerSettings
from retune.trainers.base import Trainer

# JSON is read whole; files and parts are streamed and have limits of their own.
MAX_JSON_BYTES: Final = 32 * 1024 * 1024
# JSON may write a character of four bytes as two escapes of six. Beside the prompt there are tools and schemas.
_BYTES_OF_CHARACTER = 12
_BYTES_BESIDE_PROMPT = 2 * 1024 * 1024
# Bodies that are waited for or worked on, all together.
MAX_BODIES_BYTES: Final = 512 * 1024 * 1024
_PROMPTS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses"})
_FILES = "/v1/files"
_UPLOADS = "/v1/uploads/"
_PARTS = "/parts"


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """The limit of one kind of request.

    Attributes:
        max_bytes: Of the whole body.
        what: What is too large, as the error names it.
        told_bytes: The limit as the error tells it.
        param: The field to blame.
        context_tokens: Where the body is a prompt, the longest context that it is for.
        is_streamed: Nothing of it is kept in memory.
    """

    max_bytes: int
    what: str
    told_bytes: int
    param: str | None
    context_tokens: int | None = None
    is_streamed: bool = False

    def error(self) -> ApiError:
        """413; of a prompt, 400."""
        if self.context_tokens is not None:
            return context_exceeded(self.context_tokens, f"a body of more than {self.max_bytes} bytes")
        return too_large(self.what, self.told_bytes, param=self.param)


class BodyMemory:
    """How much of the process's memory is taken by bodies."""

    def __init__(self) -> None:
        self._taken = 0

    def take(self, n_bytes: int) -> None:
        """Take some for a part of a body.

        Raises:
            ApiError: 503: there is none left.
        """
        self._taken += n_bytes
        if self._taken > MAX_BODIES_BYTES:
            message = "The server has as many large requests in its memory as it takes. Try again in a moment."
            headers = {"retry-after": "1"}
            raise ApiError(503, message, type="server_error", code="overloaded", headers=headers, retryable=True)

    def give_back(self, n_bytes: int) -> None:
        """Give some back, `take` having raised or not."""
        self._taken -= n_bytes


class BodyLimits:
    """The limits of one server."""

    def __init__(self, settings: ServerSettings, trainer: Trainer) -> None:
        self._json = BodyLimit(MAX_JSON_BYTES, "request's body", MAX_JSON_BYTES, None)
        prompt_bytes = min(MAX_JSON_BYTES, _BYTES_OF_CHARACTER * trainer.context_characters + _BYTES_BESIDE_PROMPT)
        self._prompt = BodyLimit(prompt_bytes, "request's body", prompt_bytes, None, trainer.context_tokens)
        self._file = _of_form("file", settings.max_file_bytes, "file")
        self._part = _of_form("part", settings.max_part_bytes, "data")

    def of(self, path: str) -> BodyLimit:
        """The limit of requests to a path."""
        if path == _FILES:
            return self._file
        if path in _PROMPTS:
            return self._prompt
        return self._part if path.startswith(_UPLOADS) and path.endswith(_PARTS) else self._json


def _of_form(what: str, max_bytes: int, param: str) -> BodyLimit:
    return BodyLimit(max_bytes + FORM_BYTES, what, max_bytes, param, is_streamed=True)
