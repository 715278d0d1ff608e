"""The report in a real browser: figures drawn, filter working, nothing run that the data smuggled in."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from retune.results.report import write_report
from retune.results.report_data import ReportData

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]


@pytest_asyncio.fixture
async def browser(browser_path: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        yield browser
        await browser.close()


async def opened(browser: Browser, url: str, complaints: list[str], **settings: Any) -> Page:
    page = await browser.new_page(**settings)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url) if request.url != url else None)
    await page.goto(url)
    await page.locator(".plot .main-svg").first.wait_for()
    return page


async def shown_rows(page: Page) -> int:
    return await page.locator(".examples tbody tr:visible").count()


async def test_the_report_in_a_browser(tmp_path: Path, report: ReportData, browser: Browser) -> None:
    path = tmp_path / "report.html"
    write_report(path, report)
    complaints: list[str] = []
    page = await opened(browser, path.as_uri(), complaints)

    assert await page.locator(".plot .main-svg").count() >= len(report.figures)
    assert await page.evaluate("window.hacked") is None
    assert "<b>bold</b>" in await page.locator("[data-figure='labels.answer']").inner_text()

    assert await shown_rows(page) == 40
    for name, count in [("wrong only", 4), ("fixed by", 32), ("broken by", 4), ("all", 40)]:
        await page.get_by_role("button", name=name).click()
        assert await shown_rows(page) == count
        assert f"({count})" in await page.get_by_role("button", name=name).inner_text()
    await page.get_by_role("searchbox").fill("我的订单")
    assert await shown_rows(page) == 13
    assert await page.locator("output").inner_text() == "13 of 40 shown"
    assert complaints == []


@pytest.mark.slow
async def test_report_works_in_dark_mode_and_on_narrow_screens(
    tmp_path: Path, report: ReportData, browser: Browser
) -> None:
    path = tmp_path / "report.html"
    write_report(path, report)
    complaints: list[str] = []
    page = await opened(browser, path.as_uri(), complaints, color_scheme="dark")
    paper = page.locator(".plot .main-svg").first

    await expect(paper).to_have_css("background-color", "rgb(21, 27, 35)")
    await page.emulate_media(color_scheme="light")
    await expect(paper).to_have_css("background-color", "rgb(255, 255, 255)")
    for width in (1200, 800, 360):
        await page.set_viewport_size({"width": width, "height": 800})
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []
