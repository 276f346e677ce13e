"""The picture of the cluster: agents, apps and instances at one moment of the event stream."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from support.api import ApiClient
from support.builders import a_job, an_app, an_offer
from support.controller import FakeController

from eratos.common.browser_guard import BrowserGuard
from eratos.scheduler.access import credentials
from eratos.scheduler.access.authenticator import Authenticator, CredentialsFile
from eratos.scheduler.access.roles import Grant
from eratos.scheduler.api import overview
from eratos.scheduler.api.gate import Access
from eratos.scheduler.api.server import create_api
from eratos.scheduler.core.events import ExecutorLost, LookAround, OffersReceived, PutApps, PutJob, StartRun, Subscribed

CHECKS = [{"protocol": "HTTP", "path": "/"}]


def shown(api: ApiClient, **parameters: Any) -> dict[str, Any]:
    answer = api.get("/v2/overview", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def conditions(found: dict[str, Any], app: str) -> list[str]:
    (one,) = (each for each in found["apps"] if each["id"] == app)
    return sorted(task["condition"] for task in one["tasks"])


def test_an_agent_is_shown_with_what_is_taken_and_what_is_free(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutApps((an_app("/a", 2),)))
    controller.launch(an_offer("a1", region="north", zone="x", attributes={"rack": "7"}), an_offer("a2", cpus=8))
    agents = {agent["id"]: agent for agent in shown(api)["agents"]}
    assert agents["a1"]["zone"] == "north/x" and agents["a1"]["attributes"] == {"rack": "7"}
    taken = [agent["used"]["cpus"] for agent in agents.values()]
    whole = sorted(agent["used"]["cpus"] + agent["free"]["cpus"] for agent in agents.values())
    assert sum(taken) == pytest.approx(0.2)
    assert whole == [pytest.approx(4), pytest.approx(8)]
    ports = sorted(agent["used"]["ports"] + agent["free"]["ports"] for agent in agents.values())
    assert ports == [100, 100]


def test_whether_consul_answers_is_said(api: ApiClient, controller: FakeController) -> None:
    assert shown(api)["consul"] == {"trouble": ""}
    controller.deaf = "no Consul answers the scheduler"
    assert shown(api)["consul"] == {"trouble": "no Consul answers the scheduler"}


def test_instances_are_in_words_what_they_are(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutApps((an_app("/a", 6, healthChecks=CHECKS),)))
    tasks = controller.launch(an_offer())
    controller.update(tasks[0], "RUNNING", healthy=True)
    controller.update(tasks[1], "RUNNING", healthy=False)
    controller.update(tasks[2], "RUNNING")
    controller.update(tasks[3], "UNREACHABLE")
    controller.update(tasks[4], "RUNNING", healthy=True)
    state = controller.machine.state
    state.alter(next(i for i in state.instances.values() if i.task_id == tasks[4]), stopping=True)
    expected = ["launching", "ready", "stopping", "unhealthy", "unreachable", "unready"]
    assert conditions(shown(api), "/a") == expected


def test_instances_are_counted_for_who_does_not_want_each(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutApps((an_app("/a", 3, healthChecks=CHECKS), an_app("/b"))))
    tasks = controller.launch(an_offer())
    for task in tasks:
        controller.update(task, "RUNNING", healthy=True)
    controller.submit(PutApps((an_app("/a", 3, healthChecks=CHECKS, labels={"a": "b"}),), force=True))
    whole, brief = shown(api), shown(api, tasks="false")
    for app, counted in zip(whole["apps"], brief["apps"], strict=True):
        listed = app.pop("tasks")
        assert counted.pop("conditions") == Counter(task["condition"] for task in listed)
        old = [task for task in listed if task["version"] != app["version"] and task["condition"] != "stopping"]
        assert counted.pop("old") == len(old)
        assert counted == app
    assert (brief["agents"], old, bool(whole["agents"])) == ([], [], True)
    assert shown(api, app=["/a"], tasks="false")["agents"] == []


def test_what_waits_says_why(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutApps((an_app("/a", 2, cpus=64),)))
    controller.launch(an_offer())
    (app,) = shown(api)["apps"]
    assert app["waiting"] == 2 and "64 wanted" in app["why"] and not app["atRest"] and app["deployment"]


def test_a_failure_is_shown_until_a_later_attempt_runs(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutApps((an_app("/a"),)))
    (task,) = controller.launch(an_offer())
    controller.update(task, "FAILED", message="exit status 3")
    (app,) = shown(api)["apps"]
    assert app["failing"] and app["lastFailure"]["message"] == "exit status 3"


def test_some_apps_come_alone_with_their_agents(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutApps((an_app("/a"), an_app("/b"))))
    controller.launch(an_offer("a1"), an_offer("a2"))
    found = shown(api, app=["/b", "/none"])
    assert [app["id"] for app in found["apps"]] == ["/b"]
    assert len(found["agents"]) == 1
    assert api.get("/v2/overview", params={"app": ["/a"] * (overview.APPS_MOST + 1)}).status_code == 422


def test_an_app_that_was_deleted_is_shown_until_its_instances_are_gone(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutApps((an_app("/a"),)))
    (task,) = controller.launch(an_offer())
    controller.update(task, "RUNNING")
    assert api.delete("/v2/apps/a").status_code == 200
    (app,) = shown(api)["apps"]
    assert app["deleted"] and conditions(shown(api), "/a") == ["stopping"]
    controller.update(task, "KILLED")
    assert shown(api, app=["/a"])["apps"] == [] == shown(api)["apps"]


def test_events_go_on_from_the_position_and_some_came_before_it(api: ApiClient, controller: FakeController) -> None:
    controller.handle(Subscribed("framework-1", "master:5050"))
    found = shown(api)
    before, number = controller.events.after(found["position"]), controller.events.after(found["earlier"]).position
    assert not before.lost and controller.events.read(before.position, 10_000).entries == []
    assert controller.events.read(number, 10_000).entries[0].kind.startswith("scheduler_")


def test_who_looks_has_agents_asked_what_they_have_once_in_a_while(api: ApiClient, controller: FakeController) -> None:
    controller.handle(Subscribed("framework-1", "master:5050"))
    state = controller.machine.state
    assert not state.looking
    shown(api)
    assert state.looking and not state.suppressed
    controller.launch(an_offer("a9"))
    assert [agent["host"] for agent in shown(api)["agents"]] == ["host-a9"] and not state.looking
    controller.now += 31
    controller.handle(LookAround())
    assert state.looking


def test_who_may_not_view_everything_sees_the_hosts_of_theirs_without_what_else_is_there(tmp_path: Any) -> None:
    controller, token, file = FakeController(), credentials.new_token(), tmp_path / "credentials"
    file.write_text(credentials.line("anna", "token", credentials.token_entry(token), (Grant.parse("view:/shop"),)))
    file.chmod(0o600)
    access = Access(BrowserGuard.of([".test"]), Authenticator(CredentialsFile(file)))
    api = ApiClient(create_api(controller, clock=lambda: controller.now, access=access))
    controller.submit(PutApps((an_app("/shop/a"), an_app("/bank/b"))))
    controller.launch(an_offer("a1"), an_offer("a2"))
    api.headers["Authorization"] = f"Bearer {token}"
    found = shown(api)
    assert [app["id"] for app in found["apps"]] == ["/shop/a"]
    assert [set(agent) for agent in found["agents"]] == [{"id", "host", "region", "zone"}]
    assert "brake" not in found and shown(api, app=["/bank/b"])["apps"] == []
    assert api.get("/v2/whoami").json() == {"name": "anna", "roles": ["view:/shop"]}


def test_a_run_of_a_job_is_no_app_that_was_deleted(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutJob(a_job("shop.backup"), create_only=True))
    run = controller.submit(StartRun("shop.backup")).version
    controller.launch(an_offer())
    assert shown(api)["apps"] == []
    assert shown(api, app=f"/shop/backup/{run}")["apps"] == []


def test_a_host_that_is_to_be_swept_says_so(api: ApiClient, controller: FakeController) -> None:
    controller.handle(Subscribed("fw1", "m:5050"))
    controller.handle(OffersReceived((an_offer(),)))
    assert "sweep" not in shown(api)["agents"][0]
    controller.handle(ExecutorLost("a1", "e", 9))
    swept = shown(api)["agents"][0]["sweep"]
    assert (swept["since"], swept["launches"]) == ("1970-01-01T00:16:40.000Z", 0)
    assert "waits for a task that starts there, or for an offer with 0.01 CPUs and 32 MiB" in swept["message"]
    assert "eratos_hosts_to_sweep 1.0" in api.get("/metrics/prometheus").text
