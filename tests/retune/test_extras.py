"""What works without the extras: in a process where nothing that they install can be imported."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from retune.errors import MissingExtraError
from retune.extras import MODULES, require

REPOSITORY = Path(__file__).parents[2]
TABLE = "user,assistant\n" + "".join(f"What is {n} + {n}?,The sum is {2 * n}.\n" for n in range(20, 40))
LOCAL_SERVER = "Retune's own server, which is used if neither --base-url nor OPENAI_BASE_URL names another,"

# What each command says; None for one that works.
COMMANDS: dict[str, str | None] = {
    "check faq.csv": None,
    "check faq.csv --fix fixed.jsonl": None,
    "models dates": None,
    "run --help": None,
    "server start --help": None,
    "run -d faq.csv": "`retune run` needs the extras pipeline and server",
    "run -d faq.csv --base-url http://127.0.0.1:9/v1": "`retune run` needs the extra pipeline",
    "up": "`retune up` needs the extras pipeline and server",
    "up --base-url http://127.0.0.1:9/v1": "`retune up` needs the extra pipeline",
    "deploy": "`retune deploy` needs the extra pipeline",
    "prefect start": "`retune prefect start` needs the extra pipeline",
    "server start": "`retune server start` needs the extra server",
    "server keys list": "`retune server keys` needs the extra server",
    "jobs list": f"{LOCAL_SERVER} needs the extra server",
    "models list": f"{LOCAL_SERVER} needs the extra server",
    "chat baseline-text -m hello": f"{LOCAL_SERVER} needs the extra server",
}
# Extras of an extra: what sqlalchemy[asyncio] installs is checked with Prefect, which needs it too.
NOT_IMPORTED = {"sqlalchemy"}
_BLOCKED = """
import contextlib, importlib.abc, io, json, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
"""
_RUN_COMMANDS = """
from retune.cli.app import main

found = {}
for command in COMMANDS:
    sys.argv = ["retune", *command.split()]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            found[command] = [ended.code or 0, err.getvalue()]
print(json.dumps(found))
"""
_IMPORT_ALL = """
import importlib, pkgutil

import retune


for package in PACKAGES:
    module = importlib.import_module(package)
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), f"{package}."):
        importlib.import_module(found.name)
"""


def without_extras(code: str, directory: Path, **names: Any) -> str:
    # anyio comes with the OpenAI SDK.
    blocked = sorted({module for modules in MODULES.values() for module in modules} - {"anyio"})
    head = "\n".join(f"{name} = {value!r}" for name, value in {"MODULES": blocked, **names}.items())
    done = subprocess.run(
        [sys.executable, "-c", head + _BLOCKED + code], cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Exit status and standard error of each command, in one process without the extras."""
    directory = tmp_path_factory.mktemp("base")
    (directory / "faq.csv").write_text(TABLE, encoding="utf-8")
    found = json.loads(without_extras(_RUN_COMMANDS, directory, COMMANDS=[*COMMANDS]))
    return {command: (status, error) for command, (status, error) in found.items()}


@pytest.mark.parametrize("command", COMMANDS)
def test_command_works_or_names_the_extra_in_one_line(command: str, outcomes: dict[str, tuple[int, str]]) -> None:
    status, error = outcomes[command]
    expected = COMMANDS[command]

    if expected is None:
        assert (status, "Error" in error) == (0, False)
    else:
        assert status == 1
        assert error.startswith(f"Error: {expected}, which")
        assert re.fullmatch(r".* not installed: pip install 'retune\[[a-z,]+\]'\n", error)


def test_the_library_is_imported_without_the_extras(tmp_path: Path) -> None:
    packages = [
        *(f"retune.{name}" for name in ("data", "evaluation", "provider", "redaction", "results", "watch", "trainers")),
        *(f"retune.{name}" for name in ("check_source", "config_file", "run", "staging", "training_lines")),
    ]

    without_extras(_IMPORT_ALL, tmp_path, PACKAGES=packages)


def test_an_extra_that_is_installed_is_not_asked_for() -> None:
    require("This test", *MODULES)


def test_the_error_names_the_missing_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODULES, "server", ("no_such_module",))

    with pytest.raises(MissingExtraError, match=r"^It needs the extra server, .*'retune\[server\]'$") as refused:
        require("It", "pipeline", "server")

    assert refused.value.extras == ["server"]


@pytest.mark.parametrize("extra", MODULES)
def test_modules_of_an_extra_are_those_that_the_package_declares(extra: Any) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[\[<>=]", line)[0] for line in project["optional-dependencies"][extra]}
    installed = packages_distributions()

    assert {installed[module][0].lower().replace("_", "-") for module in MODULES[extra]} == declared - NOT_IMPORTED


def test_all_is_every_extra_of_a_whole_system() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["optional-dependencies"]["all"] == [f"retune[{','.join(MODULES)}]"]
