"""The command tree, and how errors reach the terminal."""

import atexit
import gc
import os
import sys
import traceback
import urllib.request
from typing import Annotated, NoReturn

import typer

from retune.cli import chat, check, deploy, evaluate, jobs, models, prefect_commands, results, run, server, up
from retune.cli.terminal import print_quietly, show_error
from retune.errors import CheckError, PrefectGoneError, RetuneError
from retune.private_files import home_directory, keep_files_private, what_was_closed

app = typer.Typer(
    name="retune",
    help="Keep a fine-tuned chat model fresh: fine-tune and evaluate through the OpenAI fine-tuning API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# An unquoted pattern arrives as many files; the commands report that themselves.
_MORE_ARGUMENTS = {"allow_extra_args": True}
app.command("run", cls=run.RunCommand, context_settings=_MORE_ARGUMENTS)(run.run)
app.command("check", cls=check.CheckCommand, context_settings=_MORE_ARGUMENTS)(check.check)
app.command("evaluate", cls=evaluate.EvaluateCommand)(evaluate.evaluate)
app.command("chat")(chat.chat)
app.command("deploy")(deploy.deploy)
app.command("up")(up.up)
app.add_typer(jobs.app, name="jobs")
app.add_typer(models.app, name="models")
app.add_typer(results.app, name="results")
app.add_typer(server.app, name="server")
app.add_typer(prefect_commands.app, name="prefect")

_EXIT_FAILED = 1
_EXIT_CANNOT_CHECK = 2
_EXIT_INTERRUPTED = 130


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - only this flag needs it

        typer.echo(f"retune {version('retune')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Options that stand before the command."""


def main() -> None:
    """Run the command line: errors become one clear message on stderr and a non-zero exit status."""
    # Nearly all objects are made by importing libraries and stay: searching them for cycles as often as Python does by
    # default took a tenth of a run's processor time, and searching them again at exit makes the user wait.
    gc.set_threshold(50_000, 20, 100)
    atexit.register(gc.freeze)
    debug = "--debug" in sys.argv
    # `--debug` helps wherever it stands; people add it at the end of the command that just failed.
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    status = _exit_status_of_errors(arguments)
    _keep_proxies_off_this_machine()
    # Help should not wait for a walk through the files of all runs.
    is_question = bool({"-h", "--help", "--version"} & set(arguments))
    if not is_question and (n_closed := keep_files_private(home_directory())):
        print_quietly(what_was_closed(home_directory(), n_closed))
    try:
        app(args=arguments, standalone_mode=True)
    except CheckError as error:
        _fail(error.message, error.hint, _EXIT_FAILED, debug=debug)
    except PrefectGoneError as error:
        _show(error.message, error.hint, debug=debug)
        # At exit Prefect's threads would try for minutes to deliver their logs to a server that is gone.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    except RetuneError as error:
        _fail(error.message, error.hint, status, debug=debug)
    except KeyboardInterrupt:
        sys.exit(_EXIT_INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the last stop before the terminal; nothing is swallowed
        known = _explain(error)
        if known:
            _fail(known.message, known.hint, status, debug=debug)
        hint = "This is unexpected; --debug shows where it happened."
        _fail(f"{type(error).__name__}: {error}", hint, status, debug=debug)


def _keep_proxies_off_this_machine() -> None:
    """A proxy has no way to the servers here, and would see their passwords. The servers' processes inherit it."""
    proxies = urllib.request.getproxies_environment()
    if not {"http", "all"} & set(proxies):
        return
    direct = ",".join([*filter(None, [proxies.get("no")]), "127.0.0.1", "localhost", "::1"])
    os.environ.update(no_proxy=direct, NO_PROXY=direct)


def _exit_status_of_errors(arguments: list[str]) -> int:
    """`retune check` exits with 1 for errors in the data, and with 2 if it can't read them."""
    return _EXIT_CANNOT_CHECK if arguments[:1] == ["check"] else _EXIT_FAILED


def _explain(error: Exception) -> RetuneError | None:
    import openai  # noqa: PLC0415 - slow to import, and only needed here when something failed

    from retune.provider.errors import explain  # noqa: PLC0415 - likewise

    return explain(error, "talking to the provider") if isinstance(error, openai.OpenAIError) else None


def _fail(message: str, hint: str | None, status: int, *, debug: bool) -> NoReturn:
    _show(message, hint, debug=debug)
    sys.exit(status)


def _show(message: str, hint: str | None, *, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    show_error(message, hint)


if __name__ == "__main__":
    main()
