"""Every command and snippet of the docs really runs, in the order of its page.

A block that can't run here has a comment before it, which readers don't see: `<!-- not run: why -->`. Its `retune`
commands must be ones that there are, with flags that they have.
"""

import csv
import os
import re
import shlex
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from waiting import wait_for
import pytest
import typer
import yaml
from openai import OpenAI
from server_process import ended, example_lines, upload

from retune.cli.app import app
from retune.config_file import parse_config

REPOSITORY = Path(__file__).parents[2]
PAGES = ["README.md", "AGENTS.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md"))]
_LANGUAGES = {"sh", "python", "yaml", "json", "csv", "text"}
_FENCE = re.compile(
    r"(?:<!-- not run: (?P<reason>[^\n]+) -->\n *)?```(?P<language>\w*)\n(?P<text>.*?)\n *```", re.DOTALL
)

_COMMAND = re.compile(r"^ *(retune|make|docker|export|prefect|python3?) ", re.MULTILINE)

# They serve until Ctrl-C: started once, for all pages, on free ports.
SERVERS = ("retune server start", "retune prefect start")


@dataclass(frozen=True)
class Block:
    """A fenced block, and why it isn't run: empty where it is."""

    language: str
    text: str
    reason: str


@dataclass(frozen=True)
class System:
    """A directory with what the pages speak of, and the servers that they start."""

    directory: Path
    api_url: str
    model: str
    job: str

    def environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "PREFECT_"))}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**own, "PATH": path, "RETUNE_HOME": f"{self.directory}/.retune", "COLUMNS": "200"}

    def as_here(self, text: str) -> str:
        """A block's text with the addresses and names of this machine."""
        for there, here in {
            "http://127.0.0.1:8123/v1": self.api_url,
            "ftjob-…": self.job,
            "retune chat MODEL": f"retune chat {self.model}",
            "baseline-text MODEL": f"baseline-text {self.model}",
            "key_...": "$(retune server keys list | grep -o 'key_[A-Za-z0-9]*' | head -n 1)",
        }.items():
            text = text.replace(there, here)
        return "\n".join(line for line in text.splitlines() if line.strip() not in SERVERS)


def blocks(page: str) -> list[Block]:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    return [Block(m["language"], m["text"], m["reason"] or "") for m in _FENCE.finditer(text)]


def commands(block: Block) -> list[list[str]]:
    """The `retune` commands of a shell block, without variables before them."""
    found = []
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"\w+=.*", words[0]):
            words.pop(0)
        if words[:1] in (["retune"], [".venv/bin/retune"]):
            found.append(words[1:])
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def serving(command: str, port: int, health: str, environment: dict[str, str], directory: Path) -> Iterator[None]:
    """Run a command that serves until Ctrl-C, and stop it as a person does."""

    def answers() -> bool:
        with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(health, timeout=30) as answer:
            return bool(answer.status == 200)
        return False

    log_file = directory / f"{port}.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [*shlex.split(command), "--port", str(port)], cwd=directory, env=environment, stdout=log, stderr=log
        )
        try:
            wait_for(answers, command, process=process, log=log_file)
            yield
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("docs")
    for name in ("examples", ".venv", "deployments"):
        (directory / name).symlink_to(REPOSITORY / name)
    with (directory / "examples" / "support_tickets.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.reader(table))[:61]
    with (directory / "tickets.csv").open("w", encoding="utf-8", newline="") as table:
        csv.writer(table).writerows(rows)
    server_port, prefect_port = free_port(), free_port()
    bare = System(directory, f"http://127.0.0.1:{server_port}/v1", "", "")
    environment = bare.environment()
    with ExitStack() as stack:
        health = f"http://127.0.0.1:{server_port}/health", f"http://127.0.0.1:{prefect_port}/api/health"
        for command, port, address in zip(SERVERS, (server_port, prefect_port), health, strict=True):
            stack.enter_context(serving(command, port, address, environment, directory))
        # Only a job and a model are needed, which take a tenth of a run's time without the pipeline.
        with OpenAI(base_url=bare.api_url, api_key="none") as client:
            file = upload(client, example_lines(30))
            job = ended(client, client.fine_tuning.jobs.create(model="baseline-text", training_file=file.id).id)
            assert job.fine_tuned_model
            metrics = client.files.content(job.result_files[0]).read()
        for name in ("before.csv", "after.csv"):
            (directory / name).write_bytes(metrics)
        yield System(directory, bare.api_url, job.fine_tuned_model, job.id)


def bash(system: System, script: str, **variables: str) -> str:
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{script}"],
        cwd=system.directory,
        env={**system.environment(), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n\n{done.stdout}"
    return done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page: str) -> None:
    found = blocks(page)

    assert {block.language for block in found} <= _LANGUAGES
    assert (REPOSITORY / page).read_text(encoding="utf-8").count("```") == 2 * len(found)
    if page != "docs/commands.md":
        assert not [b.text for b in found if b.language == "text" and _COMMAND.search(b.text)]


def pages_with(language: str) -> list[str]:
    return [page for page in PAGES if any(block.language == language and not block.reason for block in blocks(page))]


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in pages_with("sh") if page != "docs/data.md"])
def test_the_commands_of_a_page_run_in_its_order(page: str, system: System, tmp_path: Path) -> None:
    run = [block.text for block in blocks(page) if block.language == "sh" and not block.reason]
    # Once a server has keys every client needs one, which the other pages don't have.
    variables = {"RETUNE_HOME": str(tmp_path)} if page == "docs/server.md" else {}

    bash(system, system.as_here("\n".join(run)), **variables)


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with("python"))
def test_the_python_of_a_page_runs(page: str, system: System) -> None:
    for block in blocks(page):
        if block.language == "python":
            (system.directory / "snippet.py").write_text(system.as_here(block.text), encoding="utf-8")
            printed = bash(system, f'eval "$(retune prefect env)"\nPYTHONPATH={REPOSITORY} python snippet.py')

            assert printed.strip()
            if "retrain(" in block.text or "OpenAI(" in block.text:
                assert "ft:baseline-text" in printed


@pytest.mark.parametrize("page", pages_with("yaml"))
def test_the_settings_of_a_page_are_valid(page: str) -> None:
    for block in blocks(page):
        if block.language == "yaml":
            parse_config(yaml.safe_load(block.text))


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(words, id=" ".join(words))
        for page in PAGES
        for b in blocks(page)
        if b.reason
        for words in commands(b)
    ],
)
def test_a_command_that_is_not_run_here_is_one_that_there_is(command: list[str]) -> None:
    found = typer.main.get_command(app)
    context = typer.Context(found, info_name="retune")
    words = [word for word in command if word not in {">", "|"}]
    while hasattr(found, "get_command"):
        name = words.pop(0)
        child = found.get_command(context, name)
        assert child, f"retune has no command {name}"
        found = child
    found.make_context("retune", words, parent=context)


def test_every_server_that_a_page_starts_was_started() -> None:
    lines = {line.strip() for page in PAGES for block in blocks(page) for line in block.text.splitlines()}

    assert set(SERVERS) <= lines
