"""One browser for all of a process' tests, and a small cluster for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page
from support.builders import an_app
from support.driven_browser import a_browser, a_page
from support.played_fleet import CHECK, PlayedFleet, Served


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with a_browser() as made:
        yield made


@pytest.fixture
def fleet() -> PlayedFleet:
    made = PlayedFleet(agents=6)
    made.put(
        an_app("/shop/cart", 4, labels={"team": "blue"}, healthChecks=CHECK),
        an_app("/shop/pay", 2),
        an_app("/bank/vault", 1),
    )
    return made


@pytest.fixture
def url(fleet: PlayedFleet) -> Iterator[str]:
    with Served(fleet) as address:
        yield address


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    with a_page(browser, url) as opened:
        yield opened
