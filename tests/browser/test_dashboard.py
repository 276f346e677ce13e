"""The dashboard in a real browser, with the real API and core behind it and a cluster that is played."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from support.builders import an_app
from support.driven_browser import SHOWN_MS, a_page, serious_faults
from support.played_fleet import CHECK, PlayedFleet, Served
from support.played_parts import add_parts
from support.waiting import until

from eratos.common.names import service_name
from eratos.scheduler.access import credentials
from eratos.scheduler.access.authenticator import Authenticator, CredentialsFile
from eratos.scheduler.access.roles import Grant
from eratos.scheduler.core.error_budget import ServiceFigures
from eratos.scheduler.core.events import FiguresSeen, PutApps

expect.set_options(timeout=SHOWN_MS)

PAGES = {
    "cluster": "#/cluster",
    "apps": "#/apps",
    "app": "#/app?id=%2Fshop%2Fcart",
    "app with needs": "#/app?id=%2Fshop%2Ffront",
    "pods": "#/pods",
    "pod": "#/app?id=%2Fshop%2Fboth",
    "app with volumes": "#/app?id=%2Fshop%2Fdb",
    "app that is scaled": "#/app?id=%2Fshop%2Fscaled",
    "logs of a pod": "#/logs?app=%2Fshop%2Fboth",
    "volumes": "#/volumes",
    "jobs": "#/jobs",
    "job": "#/job?id=shop.backup",
    "needs": "#/needs",
    "deployments": "#/deployments",
    "timeline": "#/timeline",
    "logs": "#/logs?app=%2Fshop%2Fcart",
    "balancers": "#/balancers",
    "edit": "#/edit?id=%2Fshop%2Fcart",
    "edit a job": "#/edit?kind=job&id=shop.backup",
    "edit a quota": "#/edit?kind=quota&id=%2Fshop",
}
#: What a page has to show before it is looked at: it came by a question of its own.
SHOWN = {
    "apps": "quota: 0 of 5 instances",
    "app with needs": "As a picture",
    "pods": "2 containers: web, log",
    "pod": "As they run",
    "app with volumes": "data, 10 MiB",
    "app that is scaled": "Autoscaling: 1 to 4 instances",
    "logs of a pod": "stderr only",
    "volumes": "App, path",
    "jobs": "Europe/Berlin",
    "job": "Last result",
    "needs": "Who requires whom",
}


#: Cells of which nothing can be read, as others have left them no room.
SQUEEZED = """() => [...document.querySelectorAll('.list [role=cell]:not(.dot), .list [role=columnheader]')]
    .filter((cell) => cell.checkVisibility() && cell.textContent.trim() && cell.getBoundingClientRect().width < 30)
    .filter((cell) => !cell.querySelector(':scope > .unseen:only-child'))
    .map((cell) => cell.className + ': ' + cell.textContent)"""


def live(page: Page) -> None:
    expect(page.get_by_role("status").filter(has_text="live")).to_be_visible()


def there(page: Page, name: str) -> None:
    if name in SHOWN:
        expect(page.get_by_text(SHOWN[name]).first).to_be_visible()


def row(page: Page, app: str) -> object:
    return page.get_by_role("row").filter(has=page.get_by_title(app, exact=True))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_read_by_everybody_on_every_screen(browser: Browser, fleet: PlayedFleet, url: str, name: str) -> None:
    fleet.sicken("/shop/cart")
    fleet.put(an_app("/huge/thing", 2, cpus=64))
    add_parts(fleet)
    with a_page(browser, url, color_scheme="dark") as page:
        page.goto(f"{url}/{PAGES[name]}")
        live(page)
        there(page, name)
        for colours in ("dark", "light"):
            # A page that is there follows the system.
            page.emulate_media(color_scheme=colours)
            expect(page.locator("html")).to_have_attribute("data-theme", colours)
            assert serious_faults(page) == [], colours
        for width in (380, 768, 1280, 1920):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(SQUEEZED) == []


def test_apps_are_shown_before_each_of_their_instances_is_known(page: Page, fleet: PlayedFleet, url: str) -> None:
    held: list[Route] = []
    let_through: list[bool] = []
    page.route("**/v2/overview", lambda route: route.continue_() if let_through else held.append(route))
    page.goto(f"{url}/#/apps")
    expect(row(page, "/shop/cart")).to_contain_text("4 / 4")
    page.goto(f"{url}/#/cluster")
    expect(page.get_by_text("Loading …")).to_be_visible()  # what runs where is not known yet
    let_through.append(True)
    for route in held:
        route.continue_()
    expect(page.get_by_role("button", name=re.compile("^agent3: "))).to_be_visible()
    live(page)


def test_a_scale_up_arrives_without_a_question_in_between(page: Page, fleet: PlayedFleet, url: str) -> None:
    with page.expect_response("**/v2/quotas"):
        page.goto(f"{url}/#/apps")
    live(page)
    expect(row(page, "/shop/pay")).to_contain_text("2 / 2")
    page.asked.clear()  # type: ignore[attr-defined]
    fleet.put(an_app("/shop/pay", 5))
    expect(row(page, "/shop/pay")).to_contain_text("5 / 5")
    asked = page.asked  # type: ignore[attr-defined]
    assert {address.partition("?")[0] for address in asked} <= {"GET /v2/overview", "GET /v2/deployments"}
    assert all("app=%2Fshop%2Fpay" in address for address in asked if "/v2/overview" in address)


def test_what_fails_is_red_and_says_why(page: Page, fleet: PlayedFleet, url: str) -> None:
    page.goto(f"{url}/#/cluster")
    live(page)
    fleet.failing.add("/shop/pay")
    fleet.fail("/shop/pay", 2, "exit status 3: no such file")
    notice = page.get_by_role("listitem").filter(has_text="/shop/pay")
    expect(notice).to_contain_text("exit status 3: no such file")
    notice.get_by_role("link").click()
    expect(page.get_by_role("heading", name="Last failure")).to_be_visible()
    expect(page.get_by_text("needs a look").first).to_be_visible()
    fleet.failing.clear()


def test_a_lost_agent_leaves_the_picture_and_its_instances_come_back(page: Page, fleet: PlayedFleet, url: str) -> None:
    page.goto(f"{url}/#/cluster")
    expect(page.get_by_role("button", name=re.compile("^agent3: "))).to_be_visible()
    fleet.lose("a3")
    expect(page.get_by_role("button", name=re.compile("^agent3: "))).to_have_count(0)
    fleet.settle()
    expect(page.get_by_text("7 / 7")).to_be_visible()


def test_what_happened_while_the_line_was_cut_is_made_up_for(page: Page, fleet: PlayedFleet, url: str) -> None:
    page.goto(f"{url}/#/app?id=%2Fshop%2Fpay")
    live(page)
    port = int(url.rpartition(":")[2])
    page.context.set_offline(True)
    page.evaluate("window.stop()")
    page.context.set_offline(False)
    fleet.put(an_app("/shop/pay", 3))
    expect(page.get_by_role("heading", name="Instances")).to_contain_text("3 / 3")
    assert port


def test_a_scheduler_that_went_away_is_told_and_found_again(browser: Browser, fleet: PlayedFleet) -> None:
    with Served(fleet) as url:
        port = int(url.rpartition(":")[2])
        opened = a_page(browser, url)
        page = opened.__enter__()
        page.goto(f"{url}/#/apps")
        live(page)
    expect(page.get_by_role("alert")).to_contain_text("may be old")
    fleet.put(an_app("/shop/new", 2))
    with Served(fleet, port=port):
        live(page)
        expect(row(page, "/shop/new")).to_contain_text("2 / 2")
        expect(page.get_by_role("alert")).to_have_count(0)
        opened.__exit__(None, None, None)


def test_keyboard_alone_suffices_to_scale(page: Page, fleet: PlayedFleet, url: str) -> None:
    page.goto(url)
    live(page)
    page.keyboard.press("g")
    page.keyboard.press("a")
    expect(page.get_by_role("heading", name="Apps", exact=True)).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("vault")
    _tab_to(page, "/bank/vault")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="/bank/vault")).to_be_visible()
    _tab_to(page, "Instances wanted")
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("2 instances will be started")
    _tab_to(page, "Scale to 3")
    page.keyboard.press("Enter")
    until(lambda: fleet.read(lambda state: state.apps["/bank/vault"].instances == 3), 10, "the app is scaled")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert "/bank/vault" in fleet.read(lambda state: list(state.in_need))


def _tab_to(page: Page, name: str) -> None:
    """Press tab until what is chosen has a name."""
    script = """() => {
        const found = document.activeElement;
        return [found.getAttribute('aria-label'), found.title, found.textContent, found.labels?.[0]?.textContent].join(' | ');
    }"""
    for _ in range(60):
        page.keyboard.press("Tab")
        if name in page.evaluate(script):
            return
    raise AssertionError(f"no way leads to {name!r} by the keyboard")


def test_a_change_that_is_not_confirmed_is_not_made(page: Page, fleet: PlayedFleet, url: str) -> None:
    page.goto(f"{url}/#/app?id=%2Fshop%2Fpay")
    page.get_by_role("button", name="Delete …").click()
    expect(page.get_by_role("dialog")).to_contain_text("2 instances are drained and stopped")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    before = len(fleet.commands)
    page.get_by_role("button", name="Delete …").click()
    page.get_by_role("button", name="Delete /shop/pay").click()
    expect(page.get_by_text(re.compile("Deployment .* is under way"))).to_be_visible()
    assert len(fleet.commands) == before + 1


def test_nothing_is_confirmed_before_its_preview_is_there_which_is_its_own(page: Page, fleet: PlayedFleet, url: str) -> None:
    waiting: list[Route] = []
    page.route("**/*dryRun=true*", lambda route: waiting.append(route))
    page.goto(f"{url}/#/app?id=%2Fshop%2Fpay")
    dialog = page.get_by_role("dialog")
    for wanted in ("5", "4"):
        page.get_by_label("Instances wanted").fill(wanted)
        page.get_by_role("button", name="Scale …").click()
        expect(dialog.get_by_role("button", name=f"Scale to {wanted}")).to_be_disabled()
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
    page.get_by_role("button", name="Restart …").click()
    expect(dialog.get_by_role("button", name="Restart")).to_be_enabled()
    for route in waiting:
        with page.expect_response("**/*dryRun=true*"):
            route.continue_()
    expect(dialog).to_contain_text("are replaced by new ones")
    expect(dialog).not_to_contain_text("will be started")


def test_a_deployment_is_paused_gone_on_with_and_rolled_back(page: Page, fleet: PlayedFleet, url: str) -> None:
    fleet.held.add("/shop/cart")
    changed = an_app("/shop/cart", 4, labels={"team": "red"}, healthChecks=CHECK)
    fleet.submit(PutApps((changed,)))
    page.goto(f"{url}/#/deployments")
    page.get_by_role("button", name="Pause …").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.get_by_text("paused")).to_be_visible()
    page.get_by_role("button", name="Resume …").click()
    page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    expect(page.get_by_text("under way", exact=True)).to_be_visible()
    page.get_by_role("button", name="Roll back …").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    until(lambda: fleet.read(lambda state: state.apps["/shop/cart"].labels["team"] == "blue"), 10, "it is taken back")


def test_versions_are_compared_and_an_app_is_taken_back(page: Page, fleet: PlayedFleet, url: str) -> None:
    fleet.put(an_app("/shop/pay", 2, mem=64))
    page.goto(f"{url}/#/app?id=%2Fshop%2Fpay")
    versions = page.get_by_label("Compare with a version")
    expect(versions.locator("option")).to_have_count(2)
    versions.select_option(index=1)
    expect(page.locator("ins")).to_contain_text("mem: 64")
    expect(page.locator("del")).to_contain_text("mem: 32")
    page.get_by_role("button", name="Take it back to this …").click()
    page.get_by_role("dialog").get_by_role("button", name="Take it back").click()
    until(lambda: fleet.read(lambda state: state.apps["/shop/pay"].resources.mem_mib == 32), 10, "it is taken back")


def test_what_the_api_refuses_stands_beside_its_line(page: Page, fleet: PlayedFleet, url: str) -> None:
    page.goto(f"{url}/#/edit")
    editor = page.get_by_label("Definition, as YAML or JSON")
    editor.fill("id: /shop/new\ncmd: sleep 1\ncpus: 0.1\nhealthChecks:\n  - protocol: SMTP\n")
    expect(page.get_by_role("button", name=re.compile("^Line 5 protocol: "))).to_be_visible()
    expect(page.get_by_role("button", name="Create …")).to_be_disabled()
    # An alias without its anchor is well-formed YAML, and no value.
    editor.fill("id: /shop/new\ncontainer: *other\n")
    expect(page.get_by_role("button", name=re.compile("^Line 2 "))).to_be_visible()
    editor.fill("id: /shop/new\ncmd: [")
    expect(page.get_by_role("button", name=re.compile("^Line "))).to_be_visible()
    editor.fill('{"id": "/shop/new", "cmd": "sleep 1", "cpus": 0.1, "mem": 32}')
    expect(page.get_by_text("The API takes this.")).to_be_visible()
    page.get_by_role("button", name="Create …").click()
    page.get_by_role("dialog").get_by_role("button", name="Create it").click()
    until(lambda: fleet.read(lambda state: "/shop/new" in state.apps), 10, "the app is there")
    expect(page.get_by_role("heading", name="/shop/new")).to_be_visible()


def test_a_viewer_has_no_buttons_and_sees_what_is_theirs(browser: Browser, fleet: PlayedFleet, tmp_path: Path) -> None:
    token = credentials.new_token()
    file = tmp_path / "credentials"
    entry = credentials.token_entry(token)
    file.write_text(credentials.line("anna", "token", entry, (Grant.parse("view:/shop"),)))
    file.chmod(0o600)
    with Served(fleet, Authenticator(CredentialsFile(file))) as url, a_page(browser, url) as page:
        page.goto(f"{url}/#/apps")
        page.get_by_role("button", name="Token").click()
        page.get_by_role("textbox", name="Token").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_be_visible()
        page.get_by_role("button", name="Token").click()
        page.get_by_role("textbox", name="Token").fill(token)
        page.get_by_role("button", name="Sign in").click()
        live(page)
        expect(row(page, "/shop/cart")).to_be_visible()
        expect(row(page, "/bank/vault")).to_have_count(0)
        expect(page.get_by_text("New app")).to_have_count(0)
        page.goto(f"{url}/#/app?id=%2Fshop%2Fcart")
        expect(page.get_by_role("heading", name="Instances")).to_be_visible()
        for name in ("Scale …", "Restart …", "Delete …", "Stop …", "Edit …"):
            expect(page.get_by_text(name)).to_have_count(0)
        expect(page.get_by_text("vault")).to_have_count(0)


HOSTILE = {
    "a script": "<script>window.broken = true</script><img src=x onerror='window.broken = true'>",
    "ten thousand characters": "x" * 10_000,
    "right to left": "שלום \u202e evil \u2067 مرحبا",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_others_write_breaks_no_page(page: Page, fleet: PlayedFleet, url: str, text: str) -> None:
    labels = {"team": text, text[:500]: "key"}
    fleet.submit(PutApps((an_app("/shop/cart", 4, labels=labels, healthChecks=CHECK),), force=True))
    fleet.settle()
    fleet.sicken("/shop/cart")
    fleet.fail("/shop/cart", 1, text)
    add_parts(fleet, text)
    page.set_viewport_size({"width": 380, "height": 800})
    for name, place in PAGES.items():
        page.goto(f"{url}/{place}")
        live(page)
        there(page, name)
        assert page.evaluate("window.broken") is None, name
        assert page.evaluate("document.documentElement.scrollWidth") <= 380, name


def test_the_timeline_begins_before_the_page_and_goes_on(page: Page, fleet: PlayedFleet, url: str) -> None:
    page.goto(f"{url}/#/timeline")
    expect(page.get_by_text("A deployment of").first).to_be_visible()
    fleet.fail("/shop/pay", 1, "exit status 9")
    page.get_by_label("Filter events").fill("status 9")
    expect(page.get_by_text("An instance of /shop/pay failed")).to_be_visible()
    expect(page.get_by_text("/bank/vault")).to_have_count(0)


def test_an_app_shows_its_error_budget_as_it_is_spent_and_what_its_instances_take(
    page: Page, fleet: PlayedFleet, url: str
) -> None:
    budget = {"errorBudget": {"objective": 99, "window": "1h"}}
    fleet.put(an_app("/shop/budget", 2, labels={"HAPROXY_0_VHOST": "shop.test"}, eratos=budget))

    def count(requests: int, failed: int) -> None:
        fleet.handle(FiguresSeen((), services=(ServiceFigures("b1", service_name("/shop/budget"), requests, failed),)))

    count(0, 0)
    count(1000, 4)
    page.goto(f"{url}/#/app?id=%2Fshop%2Fbudget")
    live(page)
    card = page.locator("section").filter(has=page.get_by_role("heading", name="Error budget: 99% in 1h"))
    expect(card).to_contain_text("60% left: 4 of 1,000 requests failed, 10 may")
    # Nobody plays the executors here, and what is not known is no 0.
    expect(page.get_by_role("columnheader", name="CPU, memory")).to_be_visible()
    expect(page.get_by_text("? CPU").first).to_be_visible()
    count(1000, 15)
    expect(card).to_contain_text("Spent, and 50% beyond it")
    expect(card).to_contain_text("what is planned waits")
    assert serious_faults(page) == []


def test_what_a_spent_error_budget_refuses_is_offered_with_force(page: Page, fleet: PlayedFleet, url: str) -> None:
    budget = {"errorBudget": {"objective": 99, "window": "1h"}}
    fleet.put(an_app("/shop/budget", 2, labels={"HAPROXY_0_VHOST": "shop.test"}, eratos=budget))
    for requests, failed in ((0, 0), (1000, 100)):
        figures = ServiceFigures("b1", service_name("/shop/budget"), requests, failed)
        fleet.handle(FiguresSeen((), services=(figures,)))
    version = fleet.read(lambda state: state.apps["/shop/budget"].version)
    page.goto(f"{url}/#/app?id=%2Fshop%2Fbudget")
    page.get_by_role("button", name="Restart …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Restart").click()
    expect(dialog).to_contain_text("With force it is done although the error budget is spent")
    assert fleet.read(lambda state: state.apps["/shop/budget"].version) == version
    dialog.get_by_role("button", name="Restart with force").click()
    until(lambda: fleet.read(lambda state: state.apps["/shop/budget"].version) != version, 10, "it is done all the same")


def test_lines_that_were_read_are_not_asked_for_again_when_an_instance_comes_or_the_line_is_cut(
    page: Page, fleet: PlayedFleet, url: str
) -> None:
    asked: list[list[str]] = []

    def answer(route: Route) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        asked.append(query["tail"])
        if len(asked) == 3:  # the second one of these is refused once, as by a scheduler that stops
            route.fulfill(status=503, json={"message": "the scheduler is being stopped"})
            return
        line = json.dumps({"task": query["task"][0], "stream": "stdout", "text": f"answer {len(asked)}"})
        route.fulfill(status=200, content_type="text/event-stream", body=f"event: line\ndata: {line}\n\n")

    page.route("**/v2/logs?*", answer)
    page.goto(f"{url}/#/logs?app=%2Fshop%2Fpay")
    expect(page.get_by_text("answer 1")).to_be_visible()
    fleet.put(an_app("/shop/pay", 3))
    expect(page.get_by_text("answer 2")).to_be_visible()
    fleet.put(an_app("/shop/pay", 4))
    expect(page.get_by_text("The connection was cut here")).to_be_visible()
    expect(page.get_by_text("answer 4")).to_be_visible()
    assert asked[0] == ["100", "100"]
    assert sorted(asked[1]) == ["0", "0", "100"]
    assert sorted(asked[3]) == ["0", "0", "0", "100"]  # nothing was read of the fourth yet
    for number in (1, 2):
        expect(page.get_by_text(f"answer {number}")).to_be_visible()
