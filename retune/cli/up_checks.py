"""What `retune up` looks at before it starts anything, so that a mistake is said in words of its own."""

import os
import socket
from urllib.parse import urlsplit

from retune.cli.up_programs import LOOPBACK, Wishes
from retune.errors import ConfigError, ServerError

_TIMEOUT_SECONDS = 5.0
_POSTGRESQL_PORT = 5432


def check_wishes(wishes: Wishes) -> None:
    """Whether all that is asked for can be had.

    Raises:
        ConfigError: A setting is missing, or leads nowhere.
        ModelEndedError: The provider has ended the base model that is to be retrained.
        ServerError: A port is taken, or the database does not answer.
    """
    _check_dates(wishes)
    _check_keys(wishes)
    _check_ports(wishes)
    _check_provider(wishes)
    _check_database(wishes)


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


def _check_keys(wishes: Wishes) -> None:
    # Prefect always has a password.
    if wishes.host not in LOOPBACK and wishes.has_server and not os.environ.get("RETUNE_SERVER_API_KEY"):
        raise ConfigError(
            f"Others can reach {wishes.host}, and RETUNE_SERVER_API_KEY is not set.",
            hint="Set it to a key for the fine-tuning server, or leave --host out.",
        )


def _check_dates(wishes: Wishes) -> None:
    """Whether the provider's address can be read, and it still trains; the registration says it late."""
    from retune.config import ProviderConfig  # noqa: PLC0415 - pydantic takes a while to import
    from retune.config_file import load_config, scheduled_config_path  # noqa: PLC0415 - likewise
    from retune.provider.endpoint import resolve_endpoint  # noqa: PLC0415 - likewise

    path = scheduled_config_path()
    config = None if path is None else load_config(path, {})
    address = wishes.base_url if config is None else config.provider.base_url or wishes.base_url
    endpoint = None if address is None else resolve_endpoint(ProviderConfig(base_url=address))
    if config is None or endpoint is None:
        return
    training = config.training
    from retune.data.cost.model_dates import describe_end, utc_today  # noqa: PLC0415 - loads Arrow

    describe_end(training.model, endpoint.kind, today=utc_today(), ignore_dates=training.ignore_dates)


def _check_ports(wishes: Wishes) -> None:
    ports = {"--port": wishes.port, **({"--server-port": wishes.server_port} if wishes.has_server else {})}
    for flag, number in ports.items():
        family = socket.AF_INET6 if ":" in wishes.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((wishes.host, number))
            except OSError as error:
                raise ServerError(
                    f"Can't listen on {wishes.host}, port {number}: {error.strerror}.",
                    hint=f"Name another port with {flag}.",
                ) from None


def _check_provider(wishes: Wishes) -> None:
    """An address that an earlier `retune up` printed, and that was exported, leads nowhere once that one has ended."""
    if wishes.base_url is None or urlsplit(wishes.base_url).hostname not in LOOPBACK:
        return
    try:
        _connect(wishes.base_url)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The provider is to be {wishes.base_url} (--base-url, or else OPENAI_BASE_URL), and nothing answers "
            f"there: {_reason(error)}.",
            hint="Unset OPENAI_BASE_URL, and `retune up` starts a fine-tuning server of its own; or start that one.",
        ) from None


def _check_database(wishes: Wishes) -> None:
    if not wishes.database_url:
        return
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - every command of the CLI would wait for its import
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        url = make_url(wishes.database_url)
    except ArgumentError:
        raise ConfigError(
            "The address of Prefect's database can't be read; expected postgresql+asyncpg://user:password@host/name.",
            hint="See --database-url; write @ and / in a password as %40 and %2F.",
        ) from None
    if url.get_backend_name() != "postgresql" or not url.host:
        return
    try:
        socket.create_connection((url.host, url.port or _POSTGRESQL_PORT), _TIMEOUT_SECONDS).close()
    except OSError as error:
        raise ServerError(
            f"Prefect's database {url.render_as_string(hide_password=True)} does not answer: {_reason(error)}.",
            hint="Start it, or name another with PREFECT_SERVER_DATABASE_CONNECTION_URL; without, it is a SQLite file.",
        ) from None


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
