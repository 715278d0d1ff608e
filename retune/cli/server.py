"""`retune server`: the fine-tuning server."""

from functools import cache

import typer
from typer.core import TyperCommand, TyperGroup


class _Commands(TyperGroup):
    """The group's commands, imported when one is called or listed: their flags are the server's settings."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Their names."""
        return _loaded().list_commands(ctx)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | None:  # type: ignore[override]
        """One of them; None where there is none of that name."""
        return _loaded().get_command(ctx, cmd_name)  # type: ignore[return-value]


@cache
def _loaded() -> TyperGroup:
    from retune.cli import server_keys  # noqa: PLC0415 - pydantic takes a while to import
    from retune.server.process.command import start  # noqa: PLC0415 - likewise

    commands = typer.Typer()
    commands.command()(start)
    commands.add_typer(server_keys.app, name="keys")
    group = typer.main.get_group(commands)
    assert isinstance(group, TyperGroup)  # noqa: S101 - it has two commands
    return group


app = typer.Typer(cls=_Commands, no_args_is_help=True, help="Run a fine-tuning server that speaks the OpenAI API.")
