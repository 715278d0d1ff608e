"""What `retune up` checks before it starts anything, so that a mistake gets a message of its own."""

import os
import socket
from urllib.parse import urlsplit

from retune.errors import ConfigError, ServerError
from retune.local.programs import LOOPBACK, UpOptions

_TIMEOUT_SECONDS = 5.0
_POSTGRESQL_PORT = 5432


def preflight(options: UpOptions) -> None:
    """Check that the system can run with these options.

    Raises:
        ConfigError: A setting is missing, or leads nowhere.
        ModelEndedError: The provider has ended the base model that is to be retrained.
        ServerError: A port is in use, or the database does not answer.
    """
    _check_dates(options)
    _check_keys(options)
    _check_ports(options)
    _check_provider(options)
    _check_database(options)


def is_answered(url: str) -> bool:
    """Whether anything listens at the host and port of an address."""
    try:
        _connect(url)
    except (OSError, ValueError):
        return False
    return True


def _connect(url: str) -> None:
    address = urlsplit(url)
    port = address.port or (443 if address.scheme == "https" else 80)
    socket.create_connection((address.hostname or "", port), _TIMEOUT_SECONDS).close()


def _check_keys(options: UpOptions) -> None:
    # Prefect always has a password.
    if options.host not in LOOPBACK and options.has_server and not os.environ.get("RETUNE_SERVER_API_KEY"):
        raise ConfigError(
            f"Other machines can reach {options.host}, and RETUNE_SERVER_API_KEY is not set.",
            hint="Set it to a key for the fine-tuning server, or omit --host.",
        )


def _check_dates(options: UpOptions) -> None:
    """Check the provider's address, and that it still trains the base model; registering would report it late."""
    from retune.config import ProviderConfig  # noqa: PLC0415 - pydantic takes a while to import
    from retune.config_file import load_config, scheduled_config_path  # noqa: PLC0415 - likewise
    from retune.provider.endpoint import resolve_endpoint  # noqa: PLC0415 - likewise

    path = scheduled_config_path()
    config = None if path is None else load_config(path, {})
    address = options.base_url if config is None else config.provider.base_url or options.base_url
    endpoint = None if address is None else resolve_endpoint(ProviderConfig(base_url=address))
    if config is None or endpoint is None:
        return
    training = config.training
    from retune.data.cost.model_dates import describe_end, utc_today  # noqa: PLC0415 - loads Arrow

    describe_end(training.model, endpoint.kind, today=utc_today(), ignore_dates=training.ignore_dates)


def _check_ports(options: UpOptions) -> None:
    ports = {"--port": options.port, **({"--server-port": options.server_port} if options.has_server else {})}
    for flag, number in ports.items():
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((options.host, number))
            except OSError as error:
                raise ServerError(
                    f"Can't listen on {options.host}, port {number}: {error.strerror}.",
                    hint=f"Choose another port with {flag}.",
                ) from None


def _check_provider(options: UpOptions) -> None:
    """Refuse an exported address of an earlier `retune up` that has ended."""
    if options.base_url is None or urlsplit(options.base_url).hostname not in LOOPBACK:
        return
    try:
        _connect(options.base_url)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"Nothing answers at the provider's address {options.base_url} (from --base-url, else OPENAI_BASE_URL)"
            f": {_reason(error)}.",
            hint="Unset OPENAI_BASE_URL, and `retune up` starts a fine-tuning server; or start the server there.",
        ) from None


def _check_database(options: UpOptions) -> None:
    if not options.database_url:
        return
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - every command of the CLI would wait for its import
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        url = make_url(options.database_url)
    except ArgumentError:
        raise ConfigError(
            "The URL of Prefect's database is not valid; expected postgresql+asyncpg://user:password@host/name.",
            hint="See --database-url; write @ and / in a password as %40 and %2F.",
        ) from None
    if url.get_backend_name() != "postgresql" or not url.host:
        return
    try:
        socket.create_connection((url.host, url.port or _POSTGRESQL_PORT), _TIMEOUT_SECONDS).close()
    except OSError as error:
        raise ServerError(
            f"Prefect's database {url.render_as_string(hide_password=True)} does not answer: {_reason(error)}.",
            hint="Start it, or set PREFECT_SERVER_DATABASE_CONNECTION_URL to another one. Unset, it is a SQLite file.",
        ) from None


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
