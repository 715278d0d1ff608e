"""What the docs say is so: generated pages are up to date, dates are those of the table, files that are named exist."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from retune.cli.app import app
from retune.data.cost.model_dates import find_dates
from retune.data.cost.base_models import known_models, provider_dates

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
GENERATED = {"commands.md", "settings.md", "models.md"}
PAGES = sorted(path.name for path in DOCS.glob("*.md"))
# Pages of this repository that people read outside of the site.
OTHER_PAGES = ["AGENTS.md", "CONTRIBUTING.md", "README.md", "SECURITY.md", "examples/README.md"]


def text_of(page: str) -> str:
    path = DOCS / page if page in PAGES else REPOSITORY / page
    return path.read_text(encoding="utf-8")


def section_of(page: str, title: str) -> str:
    return text_of(page).split(f"\n## {title}\n")[1].split("\n## ")[0]


def paths_of(nav: list[Any]) -> list[str]:
    """Every page of a navigation, whose entries are `{title: path}` or `{title: [entries]}`."""
    found = []
    for entry in nav:
        for value in entry.values():
            found += [value] if isinstance(value, str) else paths_of(value)
    return found


def test_generated_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/generate_docs.py", "--check"],
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert done.returncode == 0


def test_every_command_and_flag_that_help_shows_is_on_the_page_of_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    sections = dict(re.findall(r"\n## (retune[ \w]*)\n(.*?)(?=\n## |\Z)", text_of("commands.md"), re.DOTALL))

    for title, text in sections.items():
        helped = CliRunner().invoke(app, [*title.split()[1:], "--help"]).output
        flags = set(re.findall(r"(?<=│ )--[a-z][\w-]*", helped))
        commands = set(re.findall(r"(?<=│ )([a-z]+) ", helped.partition("─ Commands ")[2]))

        assert "--help" in flags
        assert flags - {"--help"} <= set(re.findall(r"--[\w-]+", text))
        assert {f"{title} {name}" for name in commands} <= sections.keys()


def test_navigation_has_every_page_once() -> None:
    site = tomllib.loads((REPOSITORY / "zensical.toml").read_text(encoding="utf-8"))["project"]

    assert sorted(paths_of(site["nav"])) == PAGES
    assert all((DOCS / style).is_file() for style in site["extra_css"])


@pytest.mark.parametrize("page", [*PAGES, *OTHER_PAGES])
def test_every_picture_and_file_that_a_page_links_to_is_there(page: str) -> None:
    directory = (DOCS / page if page in PAGES else REPOSITORY / page).parent
    links = re.findall(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)", re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL))

    missing = [link for link in links if "://" not in link and not (directory / link).exists()]

    assert missing == []


@pytest.mark.parametrize("page", ["architecture.md", "AGENTS.md", "CONTRIBUTING.md", "security.md", "deploying.md"])
def test_every_path_of_the_repository_that_a_page_names_is_there(page: str) -> None:
    named = re.findall(r"`((?:retune|tasks|flows|deployments|tests|examples|docs)/[\w./-]*)`", text_of(page))

    assert [path for path in named if not (REPOSITORY / path).exists()] == []


def test_glossary_has_at_most_twenty_lines() -> None:
    assert len(section_of("architecture.md", "Glossary").strip().splitlines()) <= 20


@pytest.mark.parametrize("page", [page for page in [*PAGES, *OTHER_PAGES] if page not in GENERATED])
def test_no_command_or_setting_names_a_model_that_a_paid_provider_has(page: str) -> None:
    # It may have ended on the day on which the page is read: the reader chooses one of `retune models dates`.
    examples = re.findall(r"```\w*\n(.*?)```", text_of(page), re.DOTALL)
    named = {
        model for text in examples for model in re.findall(r"(?:--model|-m|model:|\"model\":)\s+\"?([\w.:-]+)", text)
    }

    assert named <= {"baseline-text", "MODEL"}


def test_dates_in_the_text_are_those_of_the_table() -> None:
    openai = provider_dates("openai")
    assert openai is not None
    models = [dates for name in known_models() if (dates := find_dates(name, "openai"))]
    last_shutdown = max(dates.fine_tuned_shutdown for dates in models if dates.fine_tuned_shutdown)

    text = section_of("pipeline.md", "When base models end")
    ended = text_of("README.md")

    assert f"takes no new jobs from anyone from {openai.new_jobs_end} on" in text.replace("\n", " ")
    assert f"on {last_shutdown} at the latest" in text.replace("\n", " ")
    assert set(re.findall(r"20\d\d-\d\d-\d\d", ended)) <= {str(openai.new_jobs_end), str(last_shutdown)}


def test_wheel_says_that_it_is_typed() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert (REPOSITORY / "retune" / "py.typed").is_file()
    assert "Typing :: Typed" in project["classifiers"]
    assert {"Source", "Issues", "Documentation", "Changelog"} <= project["urls"].keys()
    assert json.dumps(project["urls"]).count("https://") == len(project["urls"])
