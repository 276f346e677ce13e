"""The dashboard on the real cluster: what happens there arrives in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from support.cluster import Cluster
from support.containers import docker
from support.driven_browser import a_browser, a_page, serious_faults

pytestmark = pytest.mark.e2e

API = "ERATOS_API1_PORT"
#: A drain and a start, on a machine that has more to do.
SOON_MS = 120_000


@pytest.fixture
def page(cluster: Cluster) -> Iterator[Page]:
    expect.set_options(timeout=SOON_MS)
    with a_browser() as browser, a_page(browser, cluster.url(API), **cluster.browsing) as opened:
        yield opened


def test_a_scale_up_arrives_and_a_killed_worker_turns_red_and_is_replaced(
    page: Page, cluster: Cluster, fleet: dict[str, Any]
) -> None:
    app = fleet["id"]
    page.goto(f"{cluster.url(API)}/#/app?id={app.replace('/', '%2F')}")
    heading = page.get_by_role("heading", name="Instances")
    expect(heading).to_contain_text("20 / 20")
    page.get_by_label("Instances wanted").fill("22")
    page.get_by_role("button", name="Scale …").click()
    expect(page.get_by_role("dialog")).to_contain_text("2 instances will be started")
    page.get_by_role("button", name="Scale to 22").click()
    expect(heading).to_contain_text("22 / 22")
    expect(page.get_by_text("Requests", exact=True)).to_be_visible()  # the balancers' figures came

    docker("kill", next(iter(cluster.containers(app).values())))
    expect(page.get_by_role("heading", name="Last failure")).to_be_visible()
    expect(heading).to_contain_text("22 / 22")
    page.goto(f"{cluster.url(API)}/#/timeline")
    expect(page.get_by_text(f"An instance of {app} failed").first).to_be_visible()


def test_logs_of_several_instances_are_followed(page: Page, cluster: Cluster, fleet: dict[str, Any]) -> None:
    page.goto(f"{cluster.url(API)}/#/logs?app={fleet['id'].replace('/', '%2F')}")
    expect(page.get_by_role("table", name="Log lines").get_by_role("row").first).to_be_visible()


def test_the_real_clusters_parts_are_there(page: Page, cluster: Cluster, fleet: dict[str, Any]) -> None:
    page.goto(f"{cluster.url(API)}/#/cluster")
    for agent in ("agent1", "agent2", "agent3"):
        expect(page.get_by_role("button", name=re.compile(f"^{agent}: .* CPU "))).to_be_visible()
    expect(page.get_by_text("2 serving")).to_be_visible()
    assert serious_faults(page) == []
    page.goto(f"{cluster.url(API)}/#/balancers")
    expect(page.get_by_role("heading", name=re.compile("serves")).first).to_be_visible()
    expect(page.get_by_text("UP").first).to_be_visible()


def test_a_follower_serves_it_as_well(cluster: Cluster, fleet: dict[str, Any]) -> None:
    expect.set_options(timeout=SOON_MS)
    with a_browser() as browser:
        for url in map(cluster.url, (API, "ERATOS_API2_PORT")):
            with a_page(browser, url, **cluster.browsing) as page:
                page.goto(f"{url}/ui/#/apps")
                expect(page.get_by_role("row").filter(has=page.get_by_title(fleet["id"], exact=True))).to_contain_text("20 / 20")
