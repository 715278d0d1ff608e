"""`retune prefect`: Retune's own Prefect server, and how to get at it."""

import shlex
from typing import Annotated

import typer

from retune.cli.terminal import print_line, print_quietly
from retune.errors import ServerError
from retune.extras import require
from retune.local.prefect_access import new_link
from retune.local.prefect_server import own_home, running_address, running_server

app = typer.Typer(no_args_is_help=True, help="Log in to Retune's own Prefect server, or start it alone.")


@app.command()
def link() -> None:
    """Print a link that logs a browser in to the Prefect server that is running.

    It works once, within an hour. The browser stays logged in for 30 days.
    """
    print_line(new_link(*running_server()))


@app.command()
def env() -> None:
    """Print what the `prefect` command needs: eval "$(retune prefect env)".

    Prefect's password is in it.
    """
    address, password = running_server()
    print_line(f"export PREFECT_API_URL={shlex.quote(f'{address}/api')}")
    print_line(f"export PREFECT_API_AUTH_STRING={shlex.quote(password)}")


@app.command()
def start(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of Prefect's UI and API.")] = 4200,
) -> None:
    """Start Prefect's server alone, to look at past runs; Ctrl-C stops it. `retune up` starts the whole system."""
    require("`retune prefect start`", "pipeline")
    if address := running_address():
        raise ServerError(
            f"Retune's Prefect server is running already: {address}.",
            hint="`retune prefect link` prints a link to it.",
        )

    def say(address: str) -> None:
        print_line(f"watch  {address}")
        print_quietly("The link works once, within an hour; for another one: retune prefect link. Ctrl-C stops.")

    from retune.local.prefect_serving import serve  # noqa: PLC0415 - slow to import

    serve(own_home(), host, port, say)
