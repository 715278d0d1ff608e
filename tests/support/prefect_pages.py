"""The Prefect UI (its second version) as a person uses it, in a real browser."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright
from prefect_process import PrefectServer

from retune.local.prefect_access import new_link

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
_PATIENCE_MILLISECONDS = 60_000
_RUN_ADDRESS = re.compile(r"/runs/flow-run/([0-9a-f-]{36})")


def browser_path() -> str | None:
    """Chromium's program; None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return os.environ.get("BROWSER_PATH") or next((found for name in names if (found := shutil.which(name))), None)


@dataclass
class PrefectPages:
    """The pages of a person who has logged in.

    Attributes:
        screenshots: Where pictures are kept.
    """

    page: Page
    prefect: PrefectServer
    screenshots: Path

    def log_in(self) -> None:
        """Open a link as the terminal prints it."""
        self.page.goto(new_link(self.prefect.url, self.prefect.auth_string))
        self.page.get_by_role("button", name="Logout").wait_for()

    def fill_run_form(self, deployment: str, numbers: dict[str, int]) -> None:
        """Open a deployment's form for a custom run, and write numbers into the fields of these labels."""
        self._open(f"/deployments/deployment/{self.prefect.deployment(deployment)['id']}")
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Custom run").click()
        for label, number in numbers.items():
            fields = self.page.locator("div.group").filter(has=self.page.get_by_text(label, exact=True))
            field = fields.last.get_by_role("spinbutton")
            field.fill(str(number))
            field.scroll_into_view_if_needed()
            self.keep("run-form")

    def submit_run_form(self) -> str:
        """Start the run that the form describes; its id."""
        self.page.get_by_role("button", name="Submit").click()
        self.page.get_by_role("link", name="View run").click()
        self.page.wait_for_url(_RUN_ADDRESS)
        found = _RUN_ADDRESS.search(self.page.url)
        assert found
        return found[1]

    def open_run(self, flow_run_id: str, tab: str | None = None) -> None:
        """The page of a run."""
        self._open(f"/runs/flow-run/{flow_run_id}")
        self.page.get_by_role("tab", name="Logs").wait_for()
        if tab:
            self.page.get_by_role("tab", name=tab).click()

    def open_runs(self) -> None:
        """The list of all runs."""
        self._open("/runs")

    def open_artifact(self, artifact_id: str) -> None:
        """The page of an artifact; returns once every picture in it is there."""
        self._open(f"/artifacts/artifact/{artifact_id}")
        pictures = self.page.locator("main img[src^='data:image/']")
        pictures.first.wait_for()
        for picture in pictures.all():
            expect(picture).to_have_js_property("complete", True)
            assert picture.evaluate("image => image.naturalWidth") > 0

    def cancel_run(self, flow_run_id: str) -> None:
        """Cancel a run by the menu of its page."""
        self.open_run(flow_run_id)
        self.page.get_by_role("button", name="Open menu").click()
        self.page.get_by_role("menuitem", name="Cancel").click()
        self.page.get_by_role("alertdialog").get_by_role("button", name="Cancel Flow Run").click()

    def resume_run(self, flow_run_id: str, note: str) -> None:
        """Approve a suspended run by the menu of its page."""
        self.open_run(flow_run_id)
        self.page.get_by_role("button", name="Open menu").click()
        self.page.get_by_role("menuitem", name="Resume").click()
        dialog = self.page.get_by_role("alertdialog").or_(self.page.get_by_role("dialog"))
        dialog.get_by_role("textbox").last.fill(note)
        self.keep("approval")
        dialog.get_by_role("button", name="Resume").click()

    def keep(self, name: str, *, is_whole: bool = False) -> Path:
        """Keep a picture of what is seen."""
        path = self.screenshots / f"{name}.png"
        self.page.screenshot(path=path, full_page=is_whole)
        return path

    def _open(self, path: str) -> None:
        self.page.goto(f"{self.prefect.url}/v2{path}")


@contextmanager
def prefect_pages(prefect: PrefectServer, screenshots: Path) -> Iterator[PrefectPages]:
    """A browser, logged in."""
    screenshots.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(_PATIENCE_MILLISECONDS)
        pages = PrefectPages(page, prefect, screenshots)
        pages.log_in()
        yield pages
        browser.close()
