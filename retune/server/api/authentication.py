"""Authentication: by the operator's one key, or by the keys that were created for this server."""

import hmac

from pydantic import SecretStr

from retune.server.errors import ApiError
from retune.server.keys import CurrentKeys, digest_of
from retune.server.storage.database import Database

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="OpenAI API"'}


class ApiKeyCheck:
    """Checks the keys of requests against the operator's key and the stored ones; with neither, no key is required.

    Only hashes are kept, and a comparison takes the same time wherever two differ.
    """

    def __init__(self, api_key: SecretStr | None, database: Database) -> None:
        self._digest = digest_of(api_key.get_secret_value()) if api_key else None
        self._stored = CurrentKeys(database)

    async def requires_key(self) -> bool:
        """Return whether requests need a key.

        Raises:
            DatabaseUnavailableError: The database is unreachable.
        """
        return self._digest is not None or await self._stored.any_created()

    async def refuse(self, authorization: str | None, api_key: str | None) -> ApiError | None:
        """The error for a request's key; None if the key is valid.

        Args:
            authorization: The `Authorization` header; a bearer key counts.
            api_key: The `api-key` header, which Azure's clients send.

        Raises:
            DatabaseUnavailableError: The database is unreachable.
        """
        key = sent_key(authorization, api_key)
        if not key:
            return _no_key()
        digest = digest_of(key)
        if self._digest is not None and hmac.compare_digest(digest, self._digest):
            return None
        return None if await self._stored.contains(digest) else _wrong_key(key)


def sent_key(authorization: str | None, api_key: str | None) -> str:
    """The key that a request sends, in either header; empty if it sends none."""
    scheme, _, bearer = (authorization or "").partition(" ")
    return (bearer if scheme.lower() == "bearer" else "").strip() or (api_key or "").strip()


def masked(key: str) -> str:
    """A key as an error may show it: enough to recognise one's own, too little to use."""
    return f"{key[:3]}{'*' * 8}{key[-4:]}" if len(key) >= 16 else "*" * 8


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
