"""A source as the user wrote it: its variables, and what must not be shown of it.

Settings are kept in manifests and in Prefect's database, so a source names its secrets as `${NAME}`. Their values come
from the environment at the moment of opening, and are taken out of every message again.
"""

import os
import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote, quote_plus, unquote

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
    """Password and values of the query string of an address, or the whole user where there is no password."""
    user = _USER.search(address)
    _, _, query = address.partition("?")
    parts = [user[0][:-1].partition(":")[2] or user[0][:-1]] if user else []
    parts += [value for item in query.split("&") if (value := item.partition("=")[2])]
    return [spelling for part in parts if not _VARIABLE.fullmatch(part) for spelling in _spellings(part)]


def _spellings(value: str) -> list[str]:
    return [text for text in (value, unquote(value), quote(value, safe=""), quote_plus(value)) if text]
