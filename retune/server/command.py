"""The options of a server on the command line: `retune server start`, and `python -m retune.server`."""

import re
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError

from retune.errors import ConfigError
from retune.run import home_directory
from retune.server.logs import set_up_logging
from retune.server.settings import (
    API_KEY_VARIABLE,
    DATABASE_URL_VARIABLE,
    WEBHOOK_SECRET_VARIABLE,
    ServerSettings,
)

_SIZE = re.compile(r"(\d+)\s*(?:([KMGT])(i?)B?|B)?", re.IGNORECASE)
_POWERS = {"K": 1, "M": 2, "G": 3, "T": 4}
_FLAGS: Final = {"data_directory": "--data-dir", "allowed_hosts": "--allowed-host", "webhook_urls": "--webhook-url"}


def parse_size(text: str) -> int:
    """Bytes of `1000`, `512MB` (1,000,000 each) or `512MiB` (1,048,576 each).

    Raises:
        typer.BadParameter: It is none of these.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"'{text}' is no size; write bytes, or a number with KB, MB, GB, KiB, MiB or GiB.")
    number, unit, binary = match.groups()
    power: int = _POWERS[unit.upper()] if unit else 0
    base = 1024 if binary else 1000
    size: int = int(number) * base**power
    return size


def _size_option(text: str) -> Any:
    return typer.Option(help=text, metavar="SIZE", parser=parse_size)


Host = Annotated[
    str | None, typer.Option(help="Address to listen on; default: 127.0.0.1. Any but loopback needs an API key.")
]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 takes any free one; default: 8123.")]
DataDirectory = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Where files, jobs and models are kept; default: .retune/server."),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help=f"Key that clients must send. Prefer the variable {API_KEY_VARIABLE}, or `retune server keys create`: "
        "others on this machine can see a flag.",
    ),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="PostgreSQL database for the objects, postgresql://…; default: a SQLite file in the data directory. "
        f"Prefer the variable {DATABASE_URL_VARIABLE}: others on this machine can see a flag, password and all.",
    ),
]
Workers = Annotated[int | None, typer.Option(help="Processes that answer requests; default: 1.")]
AllowedHosts = Annotated[
    list[str] | None,
    typer.Option(
        "--allowed-host", metavar="NAME", help="Further name to answer to while there is no API key. Repeatable."
    ),
]
ConcurrentJobs = Annotated[int | None, typer.Option(help="Trainings at once; default: 1.")]
QueuedJobs = Annotated[
    int | None, typer.Option(help="Jobs that may wait; the next one is refused with 429; default: 100.")
]
FileBytes = Annotated[int | None, _size_option("Largest file in one request; default: 512MiB.")]
UploadBytes = Annotated[int | None, _size_option("Largest file in parts; default: 8GiB.")]
TotalBytes = Annotated[int | None, _size_option("Most bytes of all files together; default: what the disk holds.")]
WebhookUrls = Annotated[
    list[str] | None,
    typer.Option(
        "--webhook-url",
        metavar="URL",
        help=f"Address that jobs' ends are told to, signed with {WEBHOOK_SECRET_VARIABLE}. Repeatable.",
    ),
]
LogFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Log here, 10 MiB and as much in FILE.1; default: standard error."),
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
    max_concurrent_jobs: ConcurrentJobs = None,
    max_queued_jobs: QueuedJobs = None,
    max_file_bytes: FileBytes = None,
    max_upload_bytes: UploadBytes = None,
    max_total_bytes: TotalBytes = None,
    webhook_urls: WebhookUrls = None,
    log_file: LogFile = None,
    log_requests: LogRequests = False,
    exit_with_parent: ExitWithParent = False,
) -> None:
    """Start the server and serve until Ctrl-C.

    Point any OpenAI client at it: set OPENAI_BASE_URL to the address that it prints.
    """
    chosen = locals()
    settings = settings_from({**chosen, "data_directory": data_directory or home_directory() / "server"})
    from retune.server.serve import serve  # noqa: PLC0415 - the web stack is slow to import

    set_up_logging(settings.log_file)
    serve(settings, on_ready=_show_address)


def settings_from(chosen: dict[str, Any]) -> ServerSettings:
    """Settings of what was chosen; what is None was not, and has its default.

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
