"""How large a request's body may be, by where it goes."""

from dataclasses import dataclass
from typing import Final

from retune.server.api.multipart import FORM_BYTES
from retune.server.errors import ApiError, too_large
from retune.server.settings import ServerSettings

# JSON is read whole; files and parts are streamed and have limits of their own.
MAX_JSON_BYTES: Final = 32 * 1024 * 1024
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
    """

    max_bytes: int
    what: str
    told_bytes: int
    param: str | None

    def error(self) -> ApiError:
        """413."""
        return too_large(self.what, self.told_bytes, param=self.param)


class BodyLimits:
    """The limits of one server."""

    def __init__(self, settings: ServerSettings) -> None:
        self._json = BodyLimit(MAX_JSON_BYTES, "request's body", MAX_JSON_BYTES, None)
        self._file = _of_form("file", settings.max_file_bytes, "file")
        self._part = _of_form("part", settings.max_part_bytes, "data")

    def of(self, path: str) -> BodyLimit:
        """The limit of requests to a path."""
        if path == _FILES:
            return self._file
        return self._part if path.startswith(_UPLOADS) and path.endswith(_PARTS) else self._json


def _of_form(what: str, max_bytes: int, param: str) -> BodyLimit:
    return BodyLimit(max_bytes + FORM_BYTES, what, max_bytes, param)
