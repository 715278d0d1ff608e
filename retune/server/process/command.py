"""The options of a server on the command line: `retune server start`, and `python -m retune.server`."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import ByteSize, ValidationError

from retune.errors import ConfigError
from retune.extras import require
from retune.private_files import home_directory, keep_files_private, what_was_closed
from retune.server.process.logs import set_up_logging
from retune.server.settings import (
    ALLOWED_ORIGINS_VARIABLE,
    API_KEY_VARIABLE,
    DATABASE_URL_VARIABLE,
    WEBHOOK_SECRET_VARIABLE,
    WEBHOOK_URLS_VARIABLE,
    ServerSettings,
)

_log = logging.getLogger(__name__)
_FLAGS: Final = {
    "data_directory": "--data-dir",
    "allowed_hosts": "--allowed-host",
    "allowed_origins": "--allow-origin",
    "webhook_urls": "--webhook-url",
}


def _default(setting: str) -> str:
    value = ServerSettings.model_fields[setting].default
    return f"default: {value.human_readable().replace('.0', '') if isinstance(value, ByteSize) else value}"


def _size_option(text: str) -> object:
    return typer.Option(help=f"{text}. Bytes, or with a unit as in 512MiB.", metavar="SIZE")


Host = Annotated[
    str | None,
    typer.Option(help=f"Address to listen on; {_default('host')}. Other than loopback, it requires an API key."),
]
Port = Annotated[int | None, typer.Option(help=f"Port to listen on; 0 picks a free one; {_default('port')}.")]
DataDirectory = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Directory for files, jobs and models; default: .retune/server."),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Key that clients must send. Other users of this machine can see flags, so prefer the variable "
        f"{API_KEY_VARIABLE}, or create keys with `retune server keys create`.",
    ),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="PostgreSQL database for the objects, postgresql://…; default: a SQLite file in the data directory. "
        f"Other users of this machine can see flags, so prefer the variable {DATABASE_URL_VARIABLE}.",
    ),
]
Workers = Annotated[int | None, typer.Option(help=f"Processes that answer requests; {_default('workers')}.")]
AllowedHosts = Annotated[
    list[str] | None,
    typer.Option(
        "--allowed-host", metavar="NAME", help="Additional host name to accept while there is no API key. Repeatable."
    ),
]
AllowedOrigins = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-origin",
        metavar="ORIGIN",
        help="Origin whose web pages may use the server, such as https://app.example.com (CORS). "
        f"Repeatable; or the variable {ALLOWED_ORIGINS_VARIABLE}. Default: none.",
    ),
]
ConcurrentJobs = Annotated[
    int | None, typer.Option(help=f"Number of trainings that run at once; {_default('max_concurrent_jobs')}.")
]
QueuedJobs = Annotated[
    int | None,
    typer.Option(help=f"Number of jobs that may wait, further ones get 429; {_default('max_queued_jobs')}."),
]
FileBytes = Annotated[str | None, _size_option(f"Largest file in one request; {_default('max_file_bytes')}")]
UploadBytes = Annotated[str | None, _size_option(f"Largest file in parts; {_default('max_upload_bytes')}")]
PartBytes = Annotated[str | None, _size_option(f"Largest part; {_default('max_part_bytes')}")]
TotalBytes = Annotated[str | None, _size_option("Largest total size of all files; default: no limit but the disk")]
WebhookUrls = Annotated[
    list[str] | None,
    typer.Option(
        "--webhook-url",
        metavar="URL",
        help=f"URL to notify when a job or batch ends, signed with {WEBHOOK_SECRET_VARIABLE}. "
        f"Repeatable. Put a URL with a password into the variable {WEBHOOK_URLS_VARIABLE}.",
    ),
]
LogFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Log to this file, up to 10 MiB, and as much in FILE.1; default: standard error."
    ),
]
LogRequests = Annotated[bool, typer.Option("--log-requests", help="Log a line for every request.")]
ExitWithParent = Annotated[bool, typer.Option("--exit-with-parent", hidden=True)]


def start(
    *,
    host: Host = None,
    port: Port = None,
    data_directory: DataDirectory = None,
    api_key: ApiKey = None,
    database_url: DatabaseUrl = None,
    workers: Workers = None,
    allowed_hosts: AllowedHosts = None,
    allowed_origins: AllowedOrigins = None,
    max_concurrent_jobs: ConcurrentJobs = None,
    max_queued_jobs: QueuedJobs = None,
    max_file_bytes: FileBytes = None,
    max_upload_bytes: UploadBytes = None,
    max_part_bytes: PartBytes = None,
    max_total_bytes: TotalBytes = None,
    webhook_urls: WebhookUrls = None,
    log_file: LogFile = None,
    log_requests: LogRequests = False,
    exit_with_parent: ExitWithParent = False,
) -> None:
    """Start the server and serve until Ctrl-C.

    Set OPENAI_BASE_URL to the address that it prints, and any OpenAI client uses it.
    """
    chosen = locals()
    require("`retune server start`", "server")
    settings = settings_from({**chosen, "data_directory": data_directory or home_directory() / "server"})
    # Files are for their owner alone, wherever the data directory lies, and those of the processes started here too.
    n_closed = keep_files_private(settings.data_directory)
    from retune.server.process.serve import serve  # noqa: PLC0415 - the web stack is slow to import

    set_up_logging(settings.log_file)
    if n_closed:
        _log.warning("%s", what_was_closed(settings.data_directory, n_closed))
    serve(settings, on_ready=_show_address)


def settings_from(chosen: Mapping[str, object]) -> ServerSettings:
    """Settings from the chosen values; None means the default.

    Raises:
        ConfigError: A value is out of bounds.
    """
    try:
        return ServerSettings(**{name: value for name, value in chosen.items() if value is not None})
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0])
        flag = _FLAGS.get(name, "--" + name.replace("_", "-"))
        raise ConfigError(f"{flag}: {problem['msg']}; found {problem['input']!r}.") from None


def _show_address(base_url: str) -> None:
    typer.echo(f"Retune's fine-tuning server answers at {base_url}")
    typer.echo(f"Point any OpenAI client at it: export OPENAI_BASE_URL={base_url}   Ctrl-C stops it.", err=True)
