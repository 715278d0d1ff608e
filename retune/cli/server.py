"""`retune server`: the fine-tuning server of one's own."""

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from retune.cli.connection import server_directory
from retune.cli.terminal import print_line, print_quietly
from retune.errors import ConfigError
from retune.server.settings import API_KEY_VARIABLE, ServerSettings

app = typer.Typer(no_args_is_help=True, help="Run a fine-tuning server that speaks the OpenAI API.")


@app.callback()
def server() -> None:
    """Run a fine-tuning server that speaks the OpenAI API."""


@app.command()
def start(
    host: Annotated[
        str, typer.Option(help="Address to listen on. Anything but loopback needs an API key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes any free one.", min=0, max=65535)] = 8123,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where files, jobs and models are kept; default: .retune/server.", metavar="DIR")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar=API_KEY_VARIABLE,
            help="Key that clients must send. Prefer the variable: a flag can be seen by others on this machine.",
            show_envvar=True,
        ),
    ] = None,
) -> None:
    """Start the server and serve until Ctrl-C.

    Point any OpenAI client at it: set OPENAI_BASE_URL to the address that it prints.
    """
    from retune.server.serve import serve  # noqa: PLC0415 - the web stack is slow to import

    settings = _settings(host=host, port=port, data_directory=server_directory(data_dir), api_key=api_key)
    serve(settings, on_ready=_show_address)


def _settings(**chosen: Any) -> ServerSettings:
    try:
        return ServerSettings(**{name: value for name, value in chosen.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{first['loc'][0]}: {first['msg']}; found {first['input']!r}.") from None


def _show_address(base_url: str) -> None:
    print_line(f"Retune's fine-tuning server answers at {base_url}")
    print_quietly(f"Point any OpenAI client at it: export OPENAI_BASE_URL={base_url}   Ctrl-C stops it.")
