"""The server's settings."""

import ipaddress
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ByteSize, ConfigDict, Field, SecretStr

_MIB = 1024 * 1024

API_KEY_VARIABLE = "RETUNE_SERVER_API_KEY"
DATABASE_URL_VARIABLE = "RETUNE_SERVER_DATABASE_URL"
WEBHOOK_SECRET_VARIABLE = "RETUNE_SERVER_WEBHOOK_SECRET"  # noqa: S105  # the variable's name
WEBHOOK_URLS_VARIABLE = "RETUNE_SERVER_WEBHOOK_URLS"
ALLOWED_ORIGINS_VARIABLE = "RETUNE_SERVER_ALLOWED_ORIGINS"
SECRET_VARIABLES = (API_KEY_VARIABLE, DATABASE_URL_VARIABLE, WEBHOOK_SECRET_VARIABLE, WEBHOOK_URLS_VARIABLE)


def _from_environment(variable: str) -> Callable[[], SecretStr | None]:
    def read() -> SecretStr | None:
        value = os.environ.get(variable)
        return SecretStr(value) if value else None

    return read


def _listed_in(variable: str) -> Callable[[], tuple[str, ...]]:
    return lambda: tuple(os.environ.get(variable, "").split())


_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(\[[0-9a-f:.]+\]|[0-9a-z_-]+(\.[0-9a-z_-]+)*)(:(?P<port>[1-9][0-9]{0,4}))?", re.ASCII
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_HIGHEST_PORT = 65_535


def _check_origin(text: str) -> str:
    found = _ORIGIN.fullmatch(text)
    port = found and found["port"]
    if found is None or port == _DEFAULT_PORTS[found["scheme"]] or int(port or 0) > _HIGHEST_PORT:
        raise ValueError(
            "expected an origin as browsers write it, such as https://app.example.com or http://localhost:3000: in "
            "lower case, without a path, a user, * or the default port"
        )
    return text


class ServerSettings(BaseModel):
    """Settings of one server.

    Attributes:
        host: Address to listen on. Anything but loopback needs an API key.
        port: 0 takes any free port.
        data_directory: Everything the server keeps; one server at a time.
        api_key: Clients must show it. Unset: RETUNE_SERVER_API_KEY; without that, any key and none are taken.
        database_url: SQLAlchemy URL of a PostgreSQL database for the objects. Unset: RETUNE_SERVER_DATABASE_URL;
            without that, a SQLite file in the data directory. It may hold a password.
        workers: Processes that answer requests.
        allowed_hosts: Further names that clients may call the server by; its own address is always one.
        allowed_origins: Origins of web pages elsewhere that may use the server (CORS); compared whole. Unset:
            RETUNE_SERVER_ALLOWED_ORIGINS, with spaces between them; without that, none.
        max_concurrent_jobs: Trainings at once, each in a process of its own.
        max_queued_jobs: Jobs that may wait; the next one is refused with 429.
        max_file_bytes: Largest file sent in one request.
        max_upload_bytes: Largest file sent in parts.
        max_part_bytes: Largest part.
        max_total_bytes: Most bytes of all files together; None for what the disk holds.
        webhook_urls: Where the ends of jobs and batches are reported; they may hold passwords. Unset:
            RETUNE_SERVER_WEBHOOK_URLS, with spaces between them.
        webhook_secret: What notifications are signed with, `whsec_` and base64. Unset: RETUNE_SERVER_WEBHOOK_SECRET.
        log_file: Where to log instead of standard error; when it is full, its content moves to a second file, `.1`.
        log_requests: Log a line for every request.
        exit_with_parent: Stop when standard input ends, which it does when the parent process is gone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(8123, ge=0, le=65_535)
    data_directory: Path
    api_key: SecretStr | None = Field(default_factory=_from_environment(API_KEY_VARIABLE))
    database_url: SecretStr | None = Field(default_factory=_from_environment(DATABASE_URL_VARIABLE))
    workers: int = Field(1, ge=1, le=64)
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[Annotated[str, AfterValidator(_check_origin)], ...] = Field(
        default_factory=_listed_in(ALLOWED_ORIGINS_VARIABLE), validate_default=True
    )
    max_concurrent_jobs: int = Field(1, ge=1, le=64)
    max_queued_jobs: int = Field(100, ge=0)
    max_file_bytes: ByteSize = Field(ByteSize(512 * _MIB), ge=1)
    max_upload_bytes: ByteSize = Field(ByteSize(8 * 1024 * _MIB), ge=1)
    max_part_bytes: ByteSize = Field(ByteSize(64 * _MIB), ge=1)
    max_total_bytes: ByteSize | None = Field(None, ge=1)
    webhook_urls: tuple[str, ...] = Field(default_factory=_listed_in(WEBHOOK_URLS_VARIABLE))
    webhook_secret: SecretStr | None = Field(default_factory=_from_environment(WEBHOOK_SECRET_VARIABLE))
    log_file: Path | None = None
    log_requests: bool = False
    exit_with_parent: bool = False

    def revealed(self) -> dict[str, object]:
        """All settings as JSON values, with secrets in clear text: only for a pipe to the server's own processes."""
        secrets = {name: value.get_secret_value() for name, value in self if isinstance(value, SecretStr)}
        return {**self.model_dump(mode="json"), **secrets}

    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
