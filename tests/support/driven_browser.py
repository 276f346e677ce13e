"""A real browser that a test drives, by Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, sync_playwright

from .browser import browser as browser_command

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
#: Longest wait for something to be shown; only a failing test waits so long.
SHOWN_MS = 20_000


@contextmanager
def a_browser() -> Iterator[Browser]:
    """Start the browser that is there; skips the test where there is none, saying what helps."""
    path = browser_command()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def a_page(browser: Browser, url: str, **context: Any) -> Iterator[Page]:
    """Open a page that must neither complain nor load anything from elsewhere; what it asks for is in ``page.asked``."""
    opened = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
    opened.set_default_timeout(SHOWN_MS)
    page = opened.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if "Content Security Policy" in said.text else None)
    page.on("request", lambda request: asked.append(f"{request.method} {request.url.removeprefix(url)}"))
    page.asked = asked  # type: ignore[attr-defined]
    try:
        yield page
    finally:
        opened.close()
    assert complaints == []
    assert [address for address in asked if not address.partition(" ")[2].startswith("/")] == []


def serious_faults(page: Page) -> list[str]:
    """Return what axe finds serious or worse for people who cannot see, or use a mouse."""
    found = Axe().run(page).response["violations"]
    return [
        f"{fault['id']}: {fault['nodes'][0]['target']}: {fault['nodes'][0]['failureSummary'][:300]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ]
