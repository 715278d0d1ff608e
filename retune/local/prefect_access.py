"""Who may use a Prefect server of Retune's: programs by its password, browsers by a one-time link.

The password and the key that signs browsers' sessions are files in the server's directory, readable by their owner
alone. They reach other programs through their environment and never through arguments, logs or parameters.
"""

import base64
import fcntl
import hashlib
import hmac
import http.client
import json
import os
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from retune.errors import ServerError

LINKS_PATH = "/retune/links"
PROOF_PATH = "/retune/proof"
LINK_SECONDS = 3600
SESSION_SECONDS = 30 * 24 * 3600
PASSWORD_VARIABLE = "PREFECT_SERVER_API_AUTH_STRING"  # noqa: S105 - a variable's name
_SECRET_BYTES = 32
_MOST_LINKS = 100
_TIMEOUT_SECONDS = 30
_PROOF_TIMEOUT_SECONDS = 2
_LONGEST_PROOF = 100


def prefect_password(directory: Path) -> str:
    """The password of the Prefect server whose home is `directory`, as `name:password`.

    It is PREFECT_SERVER_API_AUTH_STRING where that is set. Otherwise it is generated once and kept in
    `directory/password`.
    """
    return os.environ.get(PASSWORD_VARIABLE) or _kept_secret(
        directory / "password", lambda: f"retune:{secrets.token_urlsafe(_SECRET_BYTES)}"
    )


def session_key(directory: Path, password: str) -> bytes:
    """The key that signs browsers' sessions; another password ends all of them."""
    return hmac.digest(_kept_key(directory), password.encode(), "sha256")


def proof(directory: Path, address: str, challenge: str) -> str:
    """The answer to a challenge that only the server of `directory` at `address` can give."""
    key = hmac.digest(_kept_key(directory), b"proof", "sha256")
    return hmac.digest(key, f"{address} {challenge}".encode("utf-8", "replace"), "sha256").hex()


def is_server_of(directory: Path, address: str) -> bool:
    """Whether the server of `directory` answers at `address`; asked before a password is sent there.

    After a crash or a reboot, anybody's program may listen where that server did: another user's, or that of another
    directory.
    """
    challenge = secrets.token_urlsafe(_SECRET_BYTES)
    try:
        url = f"{address}{PROOF_PATH}?{challenge}"
        with urllib.request.urlopen(url, timeout=_PROOF_TIMEOUT_SECONDS) as answer:  # noqa: S310
            given = answer.read(_LONGEST_PROOF).decode("ascii")
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return are_equal(given, proof(directory, address, challenge))


def as_basic(password: str) -> str:
    """The credentials of HTTP's Basic scheme (RFC 7617), in base64, without the scheme's name."""
    return base64.b64encode(password.encode()).decode()


def new_link(address: str, password: str) -> str:
    """Ask a Prefect server of Retune's for a link that logs a browser in, once.

    Args:
        address: Such as http://127.0.0.1:4200.
        password: See `prefect_password`.

    Raises:
        ServerError: The server does not answer, has another password, or is not Retune's.
    """
    request = urllib.request.Request(  # noqa: S310 - our own server's address
        f"{address}{LINKS_PATH}", method="POST", headers={"Authorization": f"Basic {as_basic(password)}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
            return str(json.load(answer)["url"])
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 401:
            raise ServerError(
                f"The Prefect server at {address} was started with another password.",
                hint=f"Set {PASSWORD_VARIABLE} to the password that it was started with, or restart it.",
            ) from None
        raise ServerError(
            f"The Prefect server at {address} returned no login link (HTTP {error.code}): it is of another version.",
            hint="Stop the commands that use it, and try again.",
        ) from None
    except (OSError, ValueError, KeyError) as error:
        raise ServerError(
            f"The Prefect server at {address} returned no login link: {error}.", hint="Is it still running?"
        ) from None


class OneTimeLinks:
    """The links that have not been used. They are kept in memory: a restart of the server invalidates them.

    Args:
        seconds: How long each can be used.
        clock: Seconds that never go back.
    """

    def __init__(self, seconds: float = LINK_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._ends: dict[bytes, float] = {}

    def new(self) -> str:
        """A new token. The oldest gives way where there are too many."""
        if len(self._ends) >= _MOST_LINKS:
            del self._ends[next(iter(self._ends))]
        token = secrets.token_urlsafe(_SECRET_BYTES)
        self._ends[_hashed(token)] = self._clock() + self._seconds
        return token

    def use(self, token: str) -> bool:
        """Whether the token was valid; it is not any more."""
        return self._ends.pop(_hashed(token), 0.0) > self._clock()


class BrowserSessions:
    """Signed sessions, each in two halves. Nothing is stored, so a restart of the server ends none of them.

    The cookie is sent to every port of its host, also to a port where another user listens. The other half is kept in
    the browser's local storage, which scripts of one origin alone can read. Neither is any good without the other.

    Args:
        key: See `session_key`.
        clock: Seconds since 1970.
    """

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock

    def new_cookie(self) -> str:
        """The value of a new session's cookie."""
        content = f"{int(self._clock()) + SESSION_SECONDS}.{secrets.token_urlsafe(16)}"
        return f"{content}.{self._sign('cookie', content)}"

    def is_valid(self, cookie: str) -> bool:
        """Whether a cookie is one of ours and has not expired."""
        content, _, signature = cookie.rpartition(".")
        if not are_equal(signature, self._sign("cookie", content)):
            return False
        return int(content.partition(".")[0]) > self._clock()

    def page_secret(self, cookie: str) -> str:
        """The session's other half."""
        return self._sign("page", cookie)

    def are_halves(self, cookie: str, page_secret: str) -> bool:
        """Whether the two belong together and are valid."""
        return self.is_valid(cookie) and are_equal(page_secret, self.page_secret(cookie))

    def _sign(self, purpose: str, content: str) -> str:
        return hmac.digest(self._key, f"{purpose}:{content}".encode("utf-8", "replace"), "sha256").hex()


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def are_equal(left: str, right: str) -> bool:
    """Compare secrets in a time that says nothing about them."""
    return hmac.compare_digest(left.encode("utf-8", "replace"), right.encode("utf-8", "replace"))


def _kept_key(directory: Path) -> bytes:
    return _kept_secret(directory / "session-key", lambda: secrets.token_urlsafe(_SECRET_BYTES)).encode()


def _kept_secret(path: Path, new: Callable[[], str]) -> str:
    try:
        return _read_or_write_secret(path, new)
    except OSError as error:
        raise ServerError(
            f"Can't read or write {path}, a secret of Retune's Prefect server: {error.strerror}.",
            hint="Run the command as the user who owns that directory, or set RETUNE_HOME to another one.",
        ) from None


def _read_or_write_secret(path: Path, new: Callable[[], str]) -> str:
    """Read a secret, or write a new one for its owner alone. Commands that start at the same time get the same one."""
    with suppress(FileNotFoundError):
        return path.read_text(encoding="ascii")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT, 0o600), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            return path.read_text(encoding="ascii")
        secret = new()
        temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secret)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return secret
