"""Addresses of sources: their variables and short names, the secrets in them, and what must not be shown."""

import os
import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from retune.errors import SourceError

HIDDEN = "…"

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_USER = re.compile(r"(?<=://)[^/\s?#]*@")
_QUERY = re.compile(r"(\w://[^\s?'\"]*)\?[^\s'\"()<>\[\],]*")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_LONGEST_REASON = 300
_SHORT = 4


def expand(text: str) -> str:
    """Put the values of environment variables in the place of `${NAME}`.

    Raises:
        SourceError: A variable is not set.
    """
    return _VARIABLE.sub(lambda match: _value(match[1]), text)


def _value(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise SourceError(
            f"The source needs the environment variable {name}, which is not set.", hint=f"Set {name} and start again."
        )
    return value


@dataclass(frozen=True, slots=True)
class Address:
    """A source whose variables were looked up.

    Attributes:
        written: As the user wrote it.
        expanded: With the values of its variables. Never to be shown.
        secrets: Texts that must not be shown, longest first, and what to show in their place.
    """

    written: str
    expanded: str = field(repr=False)
    secrets: tuple[tuple[str, str], ...] = field(repr=False)

    @classmethod
    def of(cls, written: str) -> Self:
        """Look the variables up.

        Raises:
            SourceError: A variable is not set.
        """
        expanded = expand(written)
        secrets: dict[str, str] = {}
        for name in _VARIABLE.findall(written):
            value = _value(name)
            secrets.update(dict.fromkeys(_spellings(value), f"${{{name}}}"))
            if "://" in value:
                secrets |= dict.fromkeys(_secrets_inside(value), HIDDEN)
        if "://" in expanded:
            secrets = dict.fromkeys(_secrets_inside(expanded), HIDDEN) | secrets
        longest_first = sorted(secrets.items(), key=lambda item: -len(item[0]))
        return cls(written, expanded, tuple(longest_first))

    @property
    def scheme(self) -> str:
        """What stands before `://`, in lower case; empty for a path of this machine."""
        return scheme_of(self.expanded)

    @property
    def name(self) -> str:
        """As the user wrote it, without user, password and query string."""
        return without_secrets(self.written)

    def hide(self, text: str) -> str:
        """Take out of a text what must not be shown."""
        for secret, shown in self.secrets:
            # A value of one or two letters may be a part of any word.
            pattern = re.escape(secret) if len(secret) >= _SHORT else rf"(?<!\w){re.escape(secret)}(?!\w)"
            text = re.sub(pattern, lambda _, shown=shown: shown, text)  # type: ignore[misc]  # the default binds it
        return without_secrets(text)

    def reason(self, error: BaseException) -> str:
        """What an error says, as one line that can be shown, without a full stop."""
        text = " ".join(self.hide(str(error)).split()) or type(error).__name__
        return (text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 1] + "…").rstrip(".")


def scheme_of(source: str) -> str:
    """What stands before `://`, in lower case; empty for a path of this machine."""
    match = _SCHEME.match(source)
    return match[1].lower() if match else ""


def without_secrets(text: str) -> str:
    """Take user, password and query string out of every address in a text."""
    return _QUERY.sub(r"\1", _USER.sub("", text))


def _secrets_inside(address: str) -> list[str]:
    """Password and values of the query string of an address, or the whole user where it has no password."""
    user = _USER.search(address)
    _, _, query = address.partition("?")
    parts = [user[0][:-1].partition(":")[2] or user[0][:-1]] if user else []
    parts += [value for item in query.split("&") if (value := item.partition("=")[2])]
    return [spelling for part in parts if not _VARIABLE.fullmatch(part) for spelling in _spellings(part)]


def _spellings(value: str) -> list[str]:
    return [text for text in (value, unquote(value), quote(value, safe=""), quote_plus(value)) if text]


_DATA_SUFFIX = re.compile(
    r"(\.(csv|tsv|tab|jsonl|ndjson|json|parquet|pq|arrow|feather|ipc|xlsx|xlsm|xlsb|xls|ods|pkl|pickle|txt|db|sqlite3?))?(\.(gz|gzip|zst|zstd|bz2|xz|zip))?$",
    re.IGNORECASE,
)


def source_label(source: str) -> str:
    """A short name for a source: the last part of its path without ending; of a database, its name.

    A part that is nothing but a wildcard is passed over: "2026" of data/2026/*.csv. Users, passwords and query strings
    are not part of it, and of `${NAME}` the name alone.
    """
    head = source.partition("::")[0]
    scheme, is_address, rest = head.rpartition("://")
    parts = (rest.partition("?")[0] if is_address else rest).split("/")
    if is_address and scheme != "file":
        parts[0] = parts[0].rpartition("@")[2].partition(":")[0]
    labels = (re.sub(r"[^\w .+-]+", "", _DATA_SUFFIX.sub("", part)).strip(" .-") for part in reversed(parts))
    return next(filter(None, labels), "data")


_REFERENCE = re.compile(r"\{?\$\{\w+\}\}?")
# Where a port and a path may come before an @, a password of digits and a slash can't be told from them.
_MAY_BE_PATH = {"http", "https", "file", "sqlite"}
_SECRET_PARAMETER = re.compile(
    r"password|passwd|passphrase|pwd|secret|token$|signature|credential"
    r"|(api|access|account|private|subscription)[-_]?key|^(sig|key|pass|auth|authorization)$",
    re.IGNORECASE,
)
_IN_CONNECTION_STRING = re.compile(r"(?:^|;)\s*(?:pwd|password)\s*=\s*([^;]*)", re.IGNORECASE)


def find_secret(source: str) -> str | None:
    """What kind of secret an address of a source holds as it stands, without repeating it; None where it holds none.

    `${NAME}`, which stands for an environment variable, is none.
    """
    for match in re.finditer(r"([\w+.-]*)://([^/?#]*)", source):
        scheme, authority = match[1].lower(), match[2]
        user, at, _ = authority.rpartition("@")
        if scheme in {"http", "https"} and at and ":" not in user and not _REFERENCE.fullmatch(user):
            return "a user name, which may be a token"
        port = r"(?!\d*/)" if scheme in _MAY_BE_PATH else ""
        if re.match(rf"://[^/@:]*:(?!\$\{{\w+\}}@){port}[^@]+@", source[match.end(1) :]):
            return "a password"
    _, _, address = source.partition("://")
    for name, value in re.findall(r"[?&;#]([^=&?;#]+)=([^&#]*)", address):
        name, value = unquote_plus(name).strip(), unquote_plus(value).strip()  # noqa: PLW2901 - the same, readable
        inner = _IN_CONNECTION_STRING.findall(value) if name.lower() == "odbc_connect" else []
        is_secret = _SECRET_PARAMETER.search(name) is not None
        if any(part and not _REFERENCE.fullmatch(part.strip()) for part in [*inner, *([value] if is_secret else [])]):
            return "a password" if inner or re.search("pass|pwd", name, re.IGNORECASE) else "a token or a signature"
    return None
