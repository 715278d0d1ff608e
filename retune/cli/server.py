"""`retune server`: the fine-tuning server."""

import typer

from retune.cli import server_keys
from retune.server.process.command import start

app = typer.Typer(no_args_is_help=True, help="Run a fine-tuning server that speaks the OpenAI API.")
app.command()(start)
app.add_typer(server_keys.app, name="keys")
