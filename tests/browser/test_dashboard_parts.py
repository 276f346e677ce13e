"""Jobs, pods, needs and quotas in a real browser: what they show comes by events, and what they do is asked about first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect
from support.builders import a_job, an_app
from support.driven_browser import SHOWN_MS, a_page
from support.played_fleet import CHECK, PlayedFleet, Served
from support.played_parts import POD, a_pod, add_parts, end_run, run_of, with_a_volume
from support.waiting import until

from eratos.scheduler.access import credentials
from eratos.scheduler.access.authenticator import Authenticator, CredentialsFile
from eratos.scheduler.access.roles import Grant
from eratos.scheduler.core.events import DeleteApps, DeleteJob, DeleteQuota, MoveVolumes, PutJob, PutQuota
from eratos.scheduler.core.records import QuotaRecord

expect.set_options(timeout=SHOWN_MS)


#: What buttons say of those that change something.
ACTIONS = re.compile("Run|Stop|Scale|Delete|Take it back|Move|Drain|Destroy")


def live(page: Page) -> None:
    expect(page.get_by_role("status").filter(has_text="live")).to_be_visible()


def card(page: Page, title: str) -> Locator:
    return page.locator("section.card").filter(has=page.get_by_role("heading", name=title))


def active(fleet: PlayedFleet, job: str) -> list[str]:
    return fleet.read(lambda state: [run.record.run_id for run in state.runs_of(job)])


def test_a_job_is_run_by_hand_and_its_run_is_followed_to_its_end(page: Page, fleet: PlayedFleet, url: str) -> None:
    fleet.submit(PutJob(a_job("shop.backup", restart={"policy": "ON_FAILURE"}), create_only=True))
    page.goto(f"{url}/#/jobs")
    live(page)
    row = page.get_by_role("row").filter(has=page.get_by_title("shop.backup", exact=True))
    expect(row).to_contain_text("never ran")
    row.get_by_role("button", name="Run shop.backup now").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("the process backup, with 0.1 CPUs and 32 MiB")
    expect(dialog).to_contain_text("followed by another one")
    assert active(fleet, "shop.backup") == []
    dialog.get_by_role("button", name="Run it now").click()
    expect(row).to_contain_text("starts")
    (run,) = active(fleet, "shop.backup")
    fleet.settle()
    expect(row).to_contain_text("runs")
    row.get_by_role("link").click()
    expect(card(page, "At work")).to_contain_text(run)
    end_run(fleet, "shop.backup", run, "FINISHED")
    expect(card(page, "Last result")).to_contain_text("succeeded")
    expect(card(page, "Last result")).to_contain_text(run)
    expect(card(page, "At work")).to_contain_text("No run.")
    live(page)  # events of runs name no app, and to ask about one would be an error


def test_nothing_is_asked_while_nothing_happens_and_a_job_alone_when_it_changes(page: Page, fleet: PlayedFleet, url: str) -> None:
    add_parts(fleet)
    page.goto(f"{url}/#/job?id=shop.backup")
    live(page)
    expect(card(page, "Ended")).to_contain_text("1 well, 1 not")
    (run,) = active(fleet, "shop.backup")
    page.asked.clear()  # type: ignore[attr-defined]
    fleet.submit(PutJob(a_job("bank.other"), create_only=True))
    fleet.put(an_app("/bank/vault", 2))
    expect(page.get_by_role("link", name="Deployments")).to_be_visible()
    end_run(fleet, "shop.backup", run, "FAILED", "exit code 7")
    expect(card(page, "Last result")).to_contain_text("exit code 7")
    asked = [address for address in page.asked if "/v1/" in address]  # type: ignore[attr-defined]
    assert asked and all("GET /v1/jobs/shop.backup?" in address for address in asked)


def test_a_run_is_stopped_once_that_is_confirmed(page: Page, fleet: PlayedFleet, url: str) -> None:
    fleet.submit(PutJob(a_job("shop.backup"), create_only=True))
    run = run_of(fleet, "shop.backup")
    page.goto(f"{url}/#/job?id=shop.backup")
    page.get_by_role("button", name=f"Stop the run {run}").click()
    expect(page.get_by_role("dialog")).to_contain_text("It counts as failed")
    before = len(fleet.commands)
    page.get_by_role("dialog").get_by_role("button", name="Stop the run").click()
    expect(card(page, "At work")).to_contain_text("it is being stopped")
    assert len(fleet.commands) == before + 1
    fleet.settle()
    expect(card(page, "Last result")).to_contain_text("it was stopped")
    fleet.submit(DeleteJob("shop.backup"))
    expect(page.get_by_text("There is no job shop.backup")).to_be_visible()


def test_keyboard_alone_suffices_to_run_a_job(page: Page, fleet: PlayedFleet, url: str) -> None:
    fleet.submit(PutJob(a_job("shop.backup"), create_only=True))
    page.goto(url)
    live(page)
    for key, title in (("n", "Needs"), ("p", "Pods"), ("j", "Jobs")):
        page.keyboard.press("g")
        page.keyboard.press(key)
        expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("backup")
    _tab_to(page, page.get_by_role("button", name="Run shop.backup now"))
    page.keyboard.press("Enter")
    _tab_to(page, page.get_by_role("dialog").get_by_role("button", name="Run it now"))
    page.keyboard.press("Enter")
    until(lambda: len(active(fleet, "shop.backup")) == 1, 10, "a run was begun")


def _tab_to(page: Page, button: Locator) -> None:
    """Press tab until a button is chosen."""
    expect(button).to_be_visible()
    for _ in range(20):
        page.keyboard.press("Tab")
        if button.evaluate("found => found === document.activeElement"):
            return
    raise AssertionError("no way leads there by the keyboard")


def test_who_requires_whom_is_a_picture_and_a_list_and_follows_what_happens(page: Page, fleet: PlayedFleet, url: str) -> None:
    requires = {"till": {"app": "/shop/pay", "atLeast": 2}, "mail": {"service": "smtp"}}
    fleet.put(an_app("/shop/front", 1, eratos={"requires": requires}))
    page.goto(f"{url}/#/needs")
    live(page)
    picture = page.locator(".graph svg")
    expect(picture.locator(".node")).to_have_count(3)
    expect(picture.locator("path.edge.met")).to_have_count(1)
    row = page.get_by_role("table", name="Needs").get_by_role("row").filter(has_text="till")
    for words in ("/shop/front", "/shop/pay", "2 ready, 2 are needed", "met"):
        expect(row).to_contain_text(words)
    # The picture is for eyes alone, and no key leads into it.
    assert picture.get_attribute("aria-hidden") == "true"
    assert page.locator(".graph a:not([tabindex='-1'])").count() == 0
    fleet.held.add("/shop/pay")
    fleet.fail("/shop/pay", 1)
    expect(row).to_contain_text("1 ready, 2 are needed")
    expect(row).to_contain_text("not met")
    expect(picture.locator("path.edge.unmet")).to_have_count(1)
    picture.locator("a", has_text="/shop/pay").click()
    expect(card(page, "Needs")).to_contain_text("required by/shop/front")


def test_a_pod_shows_its_containers_and_is_scaled_stopped_and_taken_back(page: Page, fleet: PlayedFleet, url: str) -> None:
    fleet.put(a_pod(2))
    page.goto(f"{url}/#/pods")
    live(page)
    row = page.get_by_role("row").filter(has=page.get_by_title(POD, exact=True))
    expect(row).to_contain_text("2 / 2")
    fleet.put(a_pod(2, labels={"team": "blue"}))
    row.get_by_role("link").click()
    containers = card(page, "Containers")
    expect(containers).to_contain_text("shop/log:1, 0.1 CPUs, 32 MiB")
    expect(containers.get_by_text("healthy", exact=True)).to_have_count(2)

    page.get_by_label("Instances wanted").fill("3")
    page.get_by_role("button", name="Scale …").click()
    expect(page.get_by_role("dialog")).to_contain_text("1 instance will be started")
    page.get_by_role("button", name="Scale to 3").click()
    until(lambda: fleet.read(lambda state: state.apps[POD].instances == 3), 10, "the pod is scaled")
    fleet.settle()
    expect(page.get_by_role("heading", name="Instances")).to_contain_text("3 / 3")

    page.get_by_role("button", name="Stop ").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Stop it").click()
    until(lambda: fleet.read(lambda state: any(each.stopping for each in state.instances_of(POD))), 10, "an instance stops")
    fleet.settle()

    versions = page.get_by_label("Compare with a version")
    expect(versions.locator("option")).to_have_count(2)
    versions.select_option(index=1)
    expect(page.locator("ins").filter(has_text="team: blue")).to_be_visible()
    page.get_by_role("button", name="Take it back to this …").click()
    expect(page.get_by_role("dialog")).to_contain_text("3 instances will be started")
    page.get_by_role("dialog").get_by_role("button", name="Take it back").click()
    until(lambda: not fleet.read(lambda state: state.apps[POD].labels), 10, "the pod is taken back")
    assert fleet.read(lambda state: state.apps[POD].instances) == 3
    fleet.settle()
    page.get_by_role("button", name="Delete …").click()
    page.get_by_role("button", name=f"Delete {POD}").click()
    until(lambda: fleet.read(lambda state: POD not in state.apps), 10, "the pod is deleted")


def test_quotas_stand_beside_their_groups_and_follow_what_is_wanted(page: Page, fleet: PlayedFleet, url: str) -> None:
    page.goto(f"{url}/#/apps")
    live(page)
    fleet.submit(PutQuota(QuotaRecord("/shop", instances=7)))
    group = page.get_by_role("row").filter(has=page.get_by_role("button", name="shop"))
    expect(group).to_contain_text("quota: 6 of 7 instances")
    fleet.put(an_app("/shop/pay", 3))
    expect(group).to_contain_text("quota: 7 of 7 instances")
    fleet.submit(PutQuota(QuotaRecord("/shop", instances=2)))
    expect(group).to_contain_text("7 of 2 instances (too much)")
    fleet.submit(PutQuota(QuotaRecord("/new/team", mem_mib=64)))
    expect(page.get_by_role("row").filter(has=page.get_by_role("button", name="team"))).to_contain_text("0 MiB of 64 MiB memory")
    fleet.submit(DeleteQuota("/shop"))
    expect(group).not_to_contain_text("quota")


def write(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Definition").fill(text)


def test_a_job_is_made_changed_and_deleted_and_what_is_wrong_stands_beside_its_line(
    page: Page, fleet: PlayedFleet, url: str
) -> None:
    page.goto(f"{url}/#/jobs")
    page.get_by_role("link", name="New job").click()
    write(page, "id: shop.backup\nrun:\n  cmd: backup\n  cpus: -1\n")
    expect(page.get_by_role("button", name=re.compile("^Line 4"))).to_contain_text("cpus")
    expect(page.get_by_role("button", name="Create …")).to_be_disabled()
    schedule = "schedules:\n  - id: nightly\n    cron: 0 3 * * *\n    timezone: Europe/Berlin\n"
    write(page, f"id: shop.backup\nrun:\n  cmd: backup\n  cpus: 0.1\n{schedule}")
    page.get_by_role("button", name="Create …").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("The schedule nightly (0 3 * * * Europe/Berlin) has it run next at")
    assert not fleet.read(lambda state: state.jobs)
    dialog.get_by_role("button", name="Create it").click()
    expect(page.get_by_role("heading", name="shop.backup")).to_be_visible()
    run_of(fleet, "shop.backup")

    page.get_by_role("link", name="Edit …").click()
    expect(page.get_by_role("textbox", name="Definition")).to_have_value(re.compile("timezone: Europe/Berlin"))
    write(page, "id: shop.backup\nrun:\n  cmd: other\n")
    page.get_by_role("button", name="Change …").click()
    expect(dialog).to_contain_text("It has no schedule: it runs by hand.")
    expect(dialog).to_contain_text("1 run at work goes on as it was begun.")
    dialog.get_by_role("button", name="Change it").click()
    until(lambda: fleet.read(lambda state: state.jobs["shop.backup"].run.cmd) == "other", 10, "the job is changed")
    assert fleet.read(lambda state: state.jobs["shop.backup"].schedules) == ()

    page.get_by_role("button", name="Delete …").click()
    expect(dialog).to_contain_text("1 run at work is stopped")
    dialog.get_by_role("button", name="Delete shop.backup").click()
    expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
    until(lambda: not fleet.read(lambda state: state.jobs), 10, "the job is deleted")


def test_a_quota_is_set_changed_and_deleted(page: Page, fleet: PlayedFleet, url: str) -> None:
    page.goto(f"{url}/#/apps")
    page.get_by_role("link", name="New quota").click()
    write(page, "group: /shop\ninstance: 7\n")
    expect(page.get_by_role("button", name=re.compile("^Line 2"))).to_contain_text("did you mean instances?")
    write(page, "group: /shop\ninstances: 7\n")
    page.get_by_role("button", name="Create …").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Now in use: 6 of 7 instances")
    assert not fleet.read(lambda state: state.quotas)
    dialog.get_by_role("button", name="Create it").click()
    page.get_by_role("link", name="Edit the quota of /shop").click()
    expect(page.get_by_role("textbox", name="Definition")).to_have_value("group: /shop\ninstances: 7\n")
    write(page, "group: /shop\ninstances: 2\nmem: 64\n")
    page.get_by_role("button", name="Change …").click()
    expect(dialog).to_contain_text("More is in use than it allows: nothing is stopped")
    dialog.get_by_role("button", name="Change it").click()
    until(lambda: fleet.read(lambda state: state.quotas["/shop"].instances) == 2, 10, "the quota is changed")
    page.get_by_role("link", name="Edit the quota of /shop").click()
    page.get_by_role("button", name="Delete …").click()
    dialog.get_by_role("button", name="Delete the quota").click()
    until(lambda: not fleet.read(lambda state: state.quotas), 10, "the quota is deleted")


def test_a_pod_is_made_and_changed(page: Page, fleet: PlayedFleet, url: str) -> None:
    page.goto(f"{url}/#/pods")
    page.get_by_role("link", name="New pod").click()
    expect(page.get_by_text("The API takes this.")).to_be_visible()  # the sample
    page.get_by_role("button", name="Create …").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("2 instances will be started")
    dialog.get_by_role("button", name="Create it").click()
    until(lambda: fleet.read(lambda state: POD in state.apps), 10, "the pod is made")
    fleet.settle()
    page.get_by_role("link", name="Edit …").click()
    definition = page.get_by_role("textbox", name="Definition")
    expect(definition).to_have_value(re.compile("instances: 2"))
    write(page, definition.input_value().replace("instances: 2", "instances: 3"))
    page.get_by_role("button", name="Change …").click()
    dialog.get_by_role("button", name="Change it").click()
    until(lambda: fleet.read(lambda state: state.apps[POD].instances) == 3, 10, "the pod is changed")


def test_runs_of_jobs_are_told_in_the_timeline_and_lead_to_their_job(page: Page, fleet: PlayedFleet, url: str) -> None:
    page.goto(f"{url}/#/timeline")
    live(page)
    fleet.submit(PutJob(a_job("shop.backup"), create_only=True))
    run_of(fleet, "shop.backup", "FAILED", "exit code 9")
    page.get_by_role("link", name="A task of the job shop.backup failed").click()
    expect(card(page, "Last result")).to_contain_text("exit code 9")
    live(page)


@pytest.mark.parametrize("grant", ["view:/shop", "view:/"])
def test_a_viewer_has_no_buttons_for_jobs_and_pods_and_sees_what_is_theirs(
    browser: Browser, fleet: PlayedFleet, tmp_path: Path, grant: str
) -> None:
    add_parts(fleet)
    fleet.submit(PutJob(a_job("bank.books"), create_only=True))
    fleet.put(an_app("/bank/web", 1, healthChecks=CHECK, eratos={"requires": {"vault": {"app": "/bank/vault"}}}))
    token = credentials.new_token()
    file = tmp_path / "credentials"
    file.write_text(credentials.line("anna", "token", credentials.token_entry(token), (Grant.parse(grant),)))
    file.chmod(0o600)
    with Served(fleet, Authenticator(CredentialsFile(file))) as url, a_page(browser, url) as page:
        page.goto(f"{url}/#/jobs")
        page.get_by_role("button", name="Token").click()
        page.get_by_role("textbox", name="Token").fill(token)
        page.get_by_role("button", name="Sign in").click()
        places = {
            "jobs": "shop.backup",
            "job?id=shop.backup": "Last result",
            "pods": POD,
            "needs": "looked for by executors",
            "app?id=%2Fshop%2Fboth": "As they run",
        }
        for place, text in places.items():
            page.goto(f"{url}/#/{place}")
            expect(page.get_by_role("main").get_by_text(text).first).to_be_visible()
            expect(page.get_by_role("button", name=ACTIONS)).to_have_count(0)
            bank = {"jobs": "bank.books", "needs": "/bank/web"}.get(place)
            if bank:
                expect(page.get_by_title(bank, exact=True)).to_have_count(0 if grant == "view:/shop" else 1)


def test_volumes_are_shown_where_they_lie_as_they_move_and_are_destroyed_once_that_is_confirmed(
    page: Page, fleet: PlayedFleet, url: str
) -> None:
    page.goto(f"{url}/#/volumes")
    expect(page.get_by_text("There is no persistent volume")).to_be_visible()
    live(page)
    fleet.put(with_a_volume("/shop/db"))
    row = page.get_by_role("row").filter(has=page.get_by_title("/shop/db", exact=True))
    expect(row).to_contain_text("in use")
    host = fleet.read(lambda state: next(iter(state.volumes.values())).hostname)
    expect(row).to_contain_text(host)
    row.get_by_role("button", name="Move the instance of /shop/db").click()
    page.get_by_role("dialog").get_by_role("button", name="Move it").click()
    expect(row).to_contain_text("is moved")
    expect(row).to_contain_text("to a host with room")
    row.get_by_role("button", name="Cancel the move of /shop/db").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the move").click()
    expect(row).to_contain_text("in use")

    elsewhere = "agent6" if host != "agent6" else "agent5"
    fleet.submit(MoveVolumes("/shop/db", hostname=elsewhere))
    expect(row).to_contain_text("is moved")
    expect(row).to_contain_text(f"to {elsewhere}")
    row.get_by_role("link").click()
    expect(card(page, "Volumes")).to_contain_text(f"runs on until {elsewhere} offers room")
    card(page, "Volumes").get_by_role("link", name="As a list").click()
    row.get_by_role("button", name="Cancel the move of /shop/db").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the move").click()
    expect(row).to_contain_text("in use")
    assert not fleet.read(lambda state: state.moves)

    fleet.submit(DeleteApps(("/shop/db",), force=True))
    fleet.settle()
    expect(row).to_contain_text("unused")
    row.get_by_role("button", name="Destroy ").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("with all data in it")
    before = len(fleet.commands)
    dialog.get_by_role("button", name="Destroy it").click()
    expect(row).to_contain_text("to be destroyed")
    assert len(fleet.commands) == before + 1


def test_an_agent_is_drained_and_given_back_once_that_is_confirmed(page: Page, fleet: PlayedFleet, url: str) -> None:
    page.goto(f"{url}/#/cluster")
    live(page)
    tile = page.get_by_role("button", name=re.compile("^agent2:"))
    tile.click()
    page.get_by_role("button", name="Drain …").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Nothing more is launched there until it is given back")
    expect(dialog.get_by_role("listitem").first).to_be_visible()
    assert not fleet.read(lambda state: state.drains)
    dialog.get_by_role("button", name="Drain it").click()
    expect(tile).to_contain_text("drained")
    page.get_by_role("button", name="Give back …").click()
    dialog.get_by_role("button", name="Give it back").click()
    expect(tile).not_to_contain_text("drained")
    assert not fleet.read(lambda state: state.drains)


def test_consul_that_does_not_answer_is_said_on_the_cluster_page(page: Page, fleet: PlayedFleet, url: str) -> None:
    page.goto(f"{url}/#/cluster")
    parts = page.locator(".parts")
    expect(parts).to_contain_text("Consul answers")
    fleet.deaf = "connection refused"
    expect(parts).to_contain_text("Consul does not answer")
    expect(page.get_by_role("listitem").filter(has_text="Consul does not answer the scheduler")).to_contain_text(
        "connection refused"
    )


def test_a_reading_whose_connection_broke_is_made_once_more(page: Page, fleet: PlayedFleet, url: str) -> None:
    fleet.put(a_pod(1))
    broken: list[str] = []

    def break_once(route: Route) -> None:
        if broken:
            route.continue_()
        else:
            broken.append(route.request.url)
            route.abort("connectionreset")

    page.route("**/*::status", break_once)
    page.goto(f"{url}/#/app?id=%2Fshop%2Fboth")
    expect(page.get_by_text("As they run")).to_be_visible()
    assert len(broken) == 1
