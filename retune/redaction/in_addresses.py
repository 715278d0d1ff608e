"""What an address of a source says about itself: a short name, and whether it holds a secret."""

import re
from urllib.parse import unquote_plus

_DATA_SUFFIX = re.compile(
    r"(\.(csv|tsv|tab|jsonl|ndjson|json|parquet|pq|arrow|feather|ipc|xlsx|xlsm|xlsb|xls|ods|pkl|pickle|txt|db|sqlite3?))?(\.(gz|gzip|zst|zstd|bz2|xz|zip))?$",
    re.IGNORECASE,
)


def source_label(source: str) -> str:
    """A short name for a source: the last part of its path without ending; of a database, its name.

    A part that is nothing but a wildcard is passed over: "2026" of data/2026/*.csv. Users, passwords and query strings
    are no part of it, and of `${NAME}` the name alone.
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
