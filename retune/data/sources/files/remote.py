"""Finds files at an address, through fsspec."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import fsspec

from retune.data.sources.files.compression import HEAD_BYTES
from retune.data.sources.files.found_files import FoundFile, has_wildcard, is_hidden, names_near, split_pattern
from retune.errors import EmptySourceError, SourceError
from retune.redaction.addresses import Address, without_secrets

_BLOCK_BYTES = 8 << 20
_PACKAGES = {
    "s3": ("s3fs", "s3"),
    "s3a": ("s3fs", "s3"),
    "gs": ("gcsfs", "gcs"),
    "gcs": ("gcsfs", "gcs"),
    "abfs": ("adlfs", "azure"),
    "abfss": ("adlfs", "azure"),
    "az": ("adlfs", "azure"),
    "http": ("aiohttp", "http"),
    "https": ("aiohttp", "http"),
}
"""By what an address starts with: the package that reads it, and Retune's extra that installs that."""

_VERSION_FIELDS = (
    *("ETag", "etag", "md5Hash", "Content-MD5", "Digest", "checksum", "sha", "CRC", "generation", "VersionId"),
    *("LastModified", "Last-Modified", "last_modified", "updated", "mtime", "modify", "created", "date_time"),
)
"""What the file systems call that of a file which changes when it is written again: of S3 ETag and LastModified."""

_SIGN_IN = {
    "s3fs": "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a public bucket FSSPEC_S3_ANON=true.",
    "gcsfs": "Run gcloud auth application-default login; for a public bucket set FSSPEC_GS_TOKEN=anon.",
    "adlfs": "Set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY.",
    "aiohttp": "Write a token into the address as ${NAME}, and put it into that variable.",
}


class RemoteFiles:
    """The files at one address.

    Args:
        address: Where.
        timeout_seconds: How long a web server may be silent.

    Raises:
        SourceError: Nothing is known of such addresses, or a package is missing for them.
    """

    def __init__(self, address: Address, *, timeout_seconds: float = 60.0) -> None:
        self._address = address
        self._is_web = address.scheme in ("http", "https")
        with self._explaining(address.name):
            self._files, self._path = _connect(address, timeout_seconds, is_web=self._is_web)
            # This process may have looked there before, and fsspec remembers what it saw.
            self._files.invalidate_cache()

    def find(self) -> tuple[list[FoundFile], bool]:
        """Find a file, the files of a folder, or those of a pattern.

        Returns:
            The files in order of their paths, and whether it is just the one that the user named.

        Raises:
            SourceError: There is none, or the address doesn't answer.
        """
        with self._explaining(self._address.name):
            # A question mark starts the query of a web address, and a bracket may be a part of it.
            if "*" in self._path if self._is_web else has_wildcard(self._path):
                return self._matching(), False
            if self._is_web and urlsplit(self._path).path.endswith("/"):
                return self._below(), False
            info = self._info()
            if info["type"] == "directory":
                return self._below(), False
            relative = self._path_of(self._path).rstrip("/").rsplit("/", 1)[-1]
            return [self._stored(info, self._address.name, relative)], True

    def heads(self, files: Sequence[FoundFile]) -> list[bytes]:
        """Read the first bytes of each file.

        Raises:
            SourceError: One can't be read.
        """
        if self._is_web:
            # Asked for a part, some servers send all, and fsspec would read that to its end.
            return [self._head(file) for file in files]
        paths = [file.key for file in files]
        with self._explaining(self._address.name):
            heads = self._files.cat_ranges(paths, [0] * len(paths), [HEAD_BYTES] * len(paths), on_error="return")
        for file, head in zip(files, heads, strict=True):
            if isinstance(head, Exception):
                raise self.explain(file.name, head)
        return [bytes(head) for head in heads]

    def explain(self, name: str, error: Exception) -> SourceError:
        """The error for what a file system raised; it repeats nothing that is secret.

        Args:
            name: The file.
            error: What was raised.
        """
        if isinstance(error, SourceError):
            return error
        cause = _first_cause(error) if self._is_web else error
        status = getattr(cause, "status", None)
        if isinstance(cause, FileNotFoundError) or status in (404, 410):
            return SourceError(f"There is no file {name}.")
        reason = self._address.reason(cause)
        if isinstance(cause, PermissionError) or status in (401, 403) or "redentials" in type(cause).__name__:
            return SourceError(f"Access to {name} was refused: {reason}.", hint=self._sign_in())
        if isinstance(cause, TimeoutError | asyncio.TimeoutError):
            return SourceError(f"{name} can't be read: no answer in time.", hint="Try again later, or copy it here.")
        if isinstance(cause, ImportError):
            return _missing_package(self._address.scheme, reason)
        return SourceError(f"{name} can't be read: {type(cause).__name__}: {reason}.")

    @contextmanager
    def _explaining(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001  (every file system has errors of its own)
            raise self.explain(name, error) from None

    def _info(self) -> dict[str, Any]:
        try:
            return dict(self._files.info(self._path))
        except FileNotFoundError:
            if self._is_web:
                raise
            raise SourceError(f"There is no file {self._address.name}.", hint=self._near()) from None

    def _near(self) -> str | None:
        parent, _, wanted = self._path.rstrip("/").rpartition("/")
        try:
            names = [path.rstrip("/").rsplit("/", 1)[-1] for path in self._files.ls(parent, detail=False)]
        except Exception:  # noqa: BLE001  (what matters is said already)
            return None
        return names_near(wanted, names)

    def _below(self) -> list[FoundFile]:
        root = self._path_of(self._path).rstrip("/") + "/"
        shown = self._address.name.partition("::")[0].rstrip("/")
        shown += "//" if shown.endswith(":") else "/"
        return self._listed(self._files.find(self._path, detail=True), root, shown, with_hidden=True)

    def _matching(self) -> list[FoundFile]:
        root, below = split_pattern(self._path)
        head = self._address.written.partition("::")[0]
        # Where a variable holds the wildcard, the two can't be told apart.
        shown = split_pattern(head)[0] if "*" in head else ""
        found = self._files.glob(self._path, detail=True)
        files = self._listed(found, root, without_secrets(shown), with_hidden=is_hidden(below))
        if not files:
            raise EmptySourceError(f"No file matches {self._address.name}.")
        return files

    def _listed(
        self, found: dict[str, dict[str, Any]], root: str, shown: str, *, with_hidden: bool = False
    ) -> list[FoundFile]:
        _, chained, archive = self._address.name.partition("::")
        files = []
        for path in sorted(found):
            relative = self._path_of(path).removeprefix(root)
            if found[path]["type"] == "file" and (with_hidden or not is_hidden(relative)):
                files.append(self._stored(found[path], f"{shown}{relative}{chained}{archive}", relative))
        return files

    def _stored(self, info: dict[str, Any], name: str, relative: str) -> FoundFile:
        key = info["name"]
        opening, archived = partial(self._open, key), info.get("compress_size")
        return FoundFile(
            name, relative, info["size"], opening, key=key, version=_version(info), archived_bytes=archived
        )

    def _open(self, path: str) -> BinaryIO:
        # From the web as one answer: some servers send no parts, and don't say so beforehand.
        stream: BinaryIO = self._files.open(path, "rb", block_size=0 if self._is_web else _BLOCK_BYTES)
        return stream

    def _head(self, file: FoundFile) -> bytes:
        with self._explaining(file.name), self._open(file.key) as stream:
            return bytes(stream.read(HEAD_BYTES))

    def _path_of(self, path: str) -> str:
        """A path without the query string, which only web addresses have."""
        return path.partition("?")[0] if self._is_web else path

    def _sign_in(self) -> str | None:
        package, _ = _PACKAGES.get(self._address.scheme, ("", ""))
        return _SIGN_IN.get(package)


def _connect(address: Address, timeout_seconds: float, *, is_web: bool) -> tuple[Any, str]:
    options: dict[str, Any] = {}
    try:
        if is_web:
            import aiohttp  # noqa: PLC0415  (an extra)

            # fsspec's own limit is five minutes for a whole file. Unpacked on the way, a file's size would be unknown.
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeout_seconds, sock_read=timeout_seconds)
            options = {"client_kwargs": {"timeout": timeout, "headers": {"Accept-Encoding": "identity"}}}
        files, path = fsspec.core.url_to_fs(address.expanded, **options)
    except ImportError as error:
        raise _missing_package(address.scheme, address.reason(error)) from None
    except ValueError as error:
        if "Protocol not known" not in str(error):
            raise
        raise SourceError(
            f"{address.name}: nothing is known of addresses that start with {address.scheme}://.",
            hint="Files are read from s3://, gs://, abfs:// and https://; tables from a database's address.",
        ) from None
    return files, path


def _missing_package(scheme: str, reason: str) -> SourceError:
    package, extra = _PACKAGES.get(scheme, (None, None))
    if package is None:
        return SourceError(f"A package is missing to read addresses that start with {scheme}://: {reason}.")
    return SourceError(
        f"The package {package} is missing, which reads addresses that start with {scheme}://.",
        hint=f'Install it: pip install "retune[{extra}]".',
    )


def _version(info: dict[str, Any]) -> str:
    return " ".join(f"{name}={info[name]}" for name in _VERSION_FIELDS if info.get(name) is not None)


def _first_cause(error: BaseException) -> BaseException:
    """What an error was raised because of: fsspec reports a refused connection as a missing file."""
    while error.__cause__ is not None and not isinstance(error, SourceError):
        error = error.__cause__
    return error
