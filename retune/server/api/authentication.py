"""The one API key of a server."""

import hashlib
import hmac

from pydantic import SecretStr

from retune.server.api.errors import ApiError

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="OpenAI API"'}


class ApiKeyCheck:
    """Holds bearer keys against the server's key; without a key of its own the server takes any and none.

    Only the key's hash is kept, and the comparison takes the same time wherever the two differ.
    """

    def __init__(self, api_key: SecretStr | None) -> None:
        self._digest = _digest(api_key.get_secret_value()) if api_key else None

    def refuse(self, authorization: str | None) -> ApiError | None:
        """Say what is wrong with an `Authorization` header; None where nothing is."""
        if self._digest is None:
            return None
        scheme, _, key = (authorization or "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            return _no_key()
        return None if hmac.compare_digest(_digest(key), self._digest) else _wrong_key(key)


def masked(key: str) -> str:
    """A key as an error may show it: enough to recognise one's own, too little to use."""
    return f"{key[:3]}{'*' * 8}{key[-4:]}" if len(key) >= 16 else "*" * 8


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _no_key() -> ApiError:
    return ApiError(
        401,
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer "
        "auth (i.e. Authorization: Bearer YOUR_KEY).",
        headers=_CHALLENGE,
    )


def _wrong_key(key: str) -> ApiError:
    return ApiError(
        401,
        f"Incorrect API key provided: {masked(key)}. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
        code="invalid_api_key",
        headers=_CHALLENGE,
    )
