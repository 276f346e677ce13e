"""``/v2/apps/{id}/explain`` and ``/v2/brake``: why an app is not as it should be, and until when."""

from __future__ import annotations

from typing import Any

import pytest
from support import api as over_api
from support.api import ApiClient, an_api
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.cli.main import run
from eratos.cli.output import Output
from eratos.cli.session import Session
from eratos.marathon.client import MarathonClient
from eratos.scheduler.core import offers
from eratos.scheduler.core.events import InverseOffersReceived, OffersReceived, PutApps, ReleaseBrake, Tick
from eratos.scheduler.core.launches import Trouble
from eratos.scheduler.core.mesos_types import InverseOffer, Window

CHECKS = [{"protocol": "MESOS_HTTP", "path": "/"}]


def reasons(api: ApiClient, app_id: str = "/web") -> dict[str, Any]:
    answer = api.get(f"/v2/apps{app_id}/explain")
    assert answer.status_code == 200
    return {item["reason"]: item for item in answer.json()["reasons"]}


def running(controller: FakeController, app: Any, hosts: int = 1, **fields: Any) -> list[str]:
    controller.submit(PutApps((app,)))
    tasks = controller.launch(*(an_offer(f"a{n}") for n in range(hosts)))
    for task in tasks:
        agent = controller.machine.state.instances[task.rpartition("._app.")[0]].agent_id
        controller.update(task, "RUNNING", agent=agent, **fields)
    return tasks


def test_an_app_at_rest_has_nothing_to_explain(api: ApiClient, controller: FakeController) -> None:
    running(controller, an_app("/web"))
    found = api.get("/v2/apps/web/explain").json()
    assert (found["atRest"], found["ready"], found["wanted"], found["reasons"]) == (True, 1, 1, [])


def test_what_balancers_leave_out_is_named(api: ApiClient, controller: FakeController) -> None:
    running(controller, an_app("/web"))
    controller.unbalanced = {"web": ["b1: no service port", "b2: no service port"], "other": ["b1: mode"]}
    reason = reasons(api)["NotBalanced"]
    assert reason["count"] == 1
    assert reason["message"] == "service web is left out by b1: no service port; b2: no service port"


def test_an_unknown_app_is_404(api: ApiClient) -> None:
    assert api.get("/v2/apps/none/explain").status_code == 404


def test_waiting_instances_name_the_nearest_offer(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutApps((an_app("/web", cpus=64),)))
    controller.launch(an_offer(cpus=3))
    assert "64 wanted, 3 free" in reasons(api)["NoFittingOffer"]["message"]
    assert api.get("/v2/apps/web/explain").json()["queue"]["processedOffersCount"] == 1


def test_back_off_says_until_when(api: ApiClient, controller: FakeController) -> None:
    (task,) = running(controller, an_app("/web", backoffSeconds=30))
    controller.update(task, "FAILED", message="boom")
    assert reasons(api)["BackOff"]["until"].startswith("1970-01-01T00:17:10")


def test_launching_unready_and_unhealthy_are_told_apart(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutApps((an_app("/web", healthChecks=CHECKS),)))
    (task,) = controller.launch(an_offer())
    assert reasons(api).keys() == {"Launching"}
    controller.update(task, "STARTING", message="pulling image shop/cart")
    assert reasons(api)["Launching"]["message"].endswith("; host-a1: pulling image shop/cart")
    controller.update(task, "RUNNING")
    assert reasons(api).keys() == {"NotReady"}
    controller.update(task, "RUNNING", message="health check 0: HTTP status 404")
    assert reasons(api)["NotReady"]["message"].endswith("; host-a1: health check 0: HTTP status 404")
    controller.update(task, "RUNNING", healthy=False, message="health check 0: timeout", uuid="2")
    assert reasons(api).keys() == {"Unhealthy"}
    assert reasons(api)["Unhealthy"]["message"].endswith("; host-a1: health check 0: timeout")


def test_unreachable_says_when_it_is_replaced(api: ApiClient, controller: FakeController) -> None:
    strategy = {"inactiveAfterSeconds": 60, "expungeAfterSeconds": 600}
    (task,) = running(controller, an_app("/web", unreachableStrategy=strategy))
    controller.update(task, "UNREACHABLE")
    assert reasons(api)["Unreachable"]["until"].startswith("1970-01-01T00:17:40")


def test_old_stopping_and_moving_instances_are_explained(api: ApiClient, controller: FakeController) -> None:
    (task,) = running(controller, an_app("/web"))
    controller.handle(InverseOffersReceived((InverseOffer("i", "a0", Window(controller.now + 10)),)))
    assert reasons(api).keys() == {"NoOffer", "Moving"}
    controller.submit(PutApps((an_app("/web", cpus=0.2),)))
    assert "1 must stay ready" in reasons(api)["Old"]["message"]
    controller.submit(PutApps((controller.machine.state.apps["/web"].with_instances(0),)))
    assert reasons(api)["Stopping"]["message"].endswith("until it is")
    controller.update(task, "KILLING", message="drained for 10 s at most: balancer1 still uses it")
    assert reasons(api)["Stopping"]["message"].endswith("; host-a0: drained for 10 s at most: balancer1 still uses it")


def test_hosts_that_are_left_alone_stand_beside_the_brake(api: ApiClient, controller: FakeController) -> None:
    assert api.get("/v2/brake").json()["leftAlone"] == []
    trouble = Trouble(until=controller.now + 60, against=("/a", "/b"))
    controller.machine.state.troubles.update({"bad": trouble, "over": Trouble(until=controller.now - 1)})
    until = api.get("/v2/brake").json()["leftAlone"]
    assert until == [{"host": "bad", "until": "1970-01-01T00:17:40.000Z", "startsFailedOf": ["/a", "/b"]}]


def test_the_brake_shows_its_reason_and_can_be_released(api: ApiClient, controller: FakeController) -> None:
    tasks = running(controller, an_app("/web", 4), hosts=4)
    assert api.get("/v2/brake").json()["engaged"] is False
    for number, task in enumerate(tasks[:3]):
        controller.update(task, "UNREACHABLE", agent=f"a{number}", uuid="")
    found = api.get("/v2/brake").json()
    assert found["engaged"] and "3 of 4 hosts" in found["reason"] and len(found["lost"]) == 3
    controller.submit(PutApps((controller.machine.state.apps["/web"].with_instances(5),)))
    controller.handle(OffersReceived((an_offer("a9"),)))
    assert api.delete("/v2/brake").json()["engaged"] is False
    assert isinstance(controller.commands[-1], ReleaseBrake)
    controller.handle(OffersReceived((an_offer("a9"),)))
    assert len([i for i in controller.machine.state.with_task() if i.launching]) == 1


def test_the_command_line_explains_and_releases(controller: FakeController, capsys: pytest.CaptureFixture[str]) -> None:
    client = MarathonClient("http://api.test", session=over_api.session(an_api(controller)))
    session = Session(client, Output())
    controller.submit(PutApps((an_app("/web", cpus=64),)))
    controller.launch(an_offer(cpus=3))
    assert run(["app", "explain", "/web"], session) == 0
    out = capsys.readouterr().out
    assert "0 of 1 ready" in out and "NoFittingOffer" in out
    assert run(["brake", "show"], session) == 0
    assert "not engaged" in capsys.readouterr().out
    assert run(["brake", "release"], session) == 0


def failing(controller: FakeController, **fields: Any) -> str:
    controller.submit(PutApps((an_app("/web", **fields),)))
    (task,) = controller.launch(an_offer())
    controller.update(task, "FAILED", message="exit code 7")
    return task


def test_the_last_failure_stays_in_the_sentence_until_a_later_attempt_runs(api: ApiClient, controller: FakeController) -> None:
    failing(controller, backoffSeconds=2)
    last = "the last task ended as TASK_FAILED on host-a1: exit code 7; "
    assert reasons(api)["BackOff"]["message"] == last + "next launch in 2 s"
    controller.now += 2
    controller.handle(Tick())
    assert reasons(api)["NoOffer"]["message"] == last + "starting: offers were asked for and come within seconds"
    assert api.get("/v2/queue").json()["queue"][0]["waiting"]["message"].startswith(last)
    controller.handle(OffersReceived((an_offer(cpus=0.01),)))
    assert reasons(api)["NoFittingOffer"]["message"].startswith(last + "no offer of the 1 agent fits")
    (again,) = controller.launch(an_offer())
    assert reasons(api)["Launching"]["message"].startswith(last + "sent to their agents")
    controller.update(again, "RUNNING")
    assert reasons(api) == {}
    controller.submit(PutApps((controller.machine.state.apps["/web"].with_instances(2),)))
    assert "TASK_FAILED" not in reasons(api)["NoOffer"]["message"]


def test_an_older_instance_that_says_it_runs_ends_no_failure(api: ApiClient, controller: FakeController) -> None:
    (old,) = running(controller, an_app("/web"))
    controller.now += 1
    controller.submit(PutApps((an_app("/web", cpus=0.2, backoffSeconds=0),)))
    [new] = set(controller.launch(an_offer())) - {old}
    controller.update(new, "FAILED", message="no such image")
    controller.update(old, "RUNNING", agent="a0", message="health check 0: slow", uuid="2")
    assert "no such image" in reasons(api)["NoOffer"]["message"]


def test_an_attempt_of_before_the_failure_that_runs_late_ends_no_failure(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutApps((an_app("/web", instances=2),)))
    slow, failed = controller.launch(an_offer())
    controller.now += 1
    controller.update(failed, "FAILED", message="exit code 7")
    controller.update(slow, "RUNNING")
    assert "exit code 7" in reasons(api)["BackOff"]["message"]


def test_a_fresh_wait_has_no_advice_and_a_long_one_does(api: ApiClient, controller: FakeController) -> None:
    controller.launch()  # to subscribe
    controller.submit(PutApps((an_app("/web"),)))
    controller.now += 0.5
    assert reasons(api)["NoOffer"]["message"] == "starting: offers were asked for and come within seconds"
    controller.now += 20
    controller.handle(Tick())
    assert "are agents registered" in reasons(api)["NoOffer"]["message"]
    # After a pause without any, the wait for offers is fresh again.
    (task,) = controller.launch(an_offer())
    controller.update(task, "FAILED")
    controller.now += 5
    controller.handle(Tick())
    assert "are agents registered" not in reasons(api)["NoOffer"]["message"]


def test_what_broke_over_an_app_is_said(api: ApiClient, controller: FakeController, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "payload", lambda *_, **__: {}["a cause"])
    controller.submit(PutApps((an_app("/web"),)))
    controller.launch(an_offer())
    assert "KeyError: 'a cause'" in reasons(api)["InternalError"]["message"]


def test_instances_that_are_not_made_yet_count_as_waiting(api: ApiClient, controller: FakeController) -> None:
    controller.submit(PutApps((an_app("/web", instances=20_000),)))
    found = api.get("/v2/apps/web/explain").json()
    assert (found["waiting"], found["reasons"][0]["count"], found["atRest"]) == (20_000, 20_000, False)
    assert api.get("/v2/queue").json()["queue"][0]["count"] == 20_000
    assert "eratos_instances_unmade 10000.0" in api.get("/metrics/prometheus").text


def test_a_host_that_is_left_alone_is_in_the_metrics_and_in_the_sentence(api: ApiClient, controller: FakeController) -> None:
    controller.machine.state.known_agent(an_offer("a2"))
    controller.submit(PutApps(tuple(an_app(f"/{name}", backoffSeconds=0) for name in ("web", "b"))))
    for task in controller.launch(an_offer("a1")):
        controller.update(task, "FAILED")
    assert "eratos_hosts_left_alone 1.0" in api.get("/metrics/prometheus").text
    controller.handle(OffersReceived((an_offer("a1"), an_offer("a2", cpus=0.01))))
    assert reasons(api)["NoFittingOffer"]["message"].endswith(
        "nearest: cpus: 0.1 wanted, 0.01 free on host-a2; "
        "host-a1 is left alone and tried again in 60 s: starts of /b, /web failed there and nowhere else"
    )
    controller.now += 61
    assert "eratos_hosts_left_alone 0.0" in api.get("/metrics/prometheus").text


def test_what_becomes_of_fields_is_said_at_once_and_ever_after(
    api: ApiClient, controller: FakeController, capsys: pytest.CaptureFixture[str]
) -> None:
    networks = [{"mode": "container", "name": "front", "labels": {"a": "b"}}]
    app = {"id": "/web", "container": {"type": "MESOS", "docker": {"image": "x"}}, "networks": networks}
    said = api.post("/v2/apps", json=app).headers["Eratos-Notice"]
    assert "/container/type translated: the image runs as a Docker container" in said
    found = {item["path"]: item for item in api.get("/v2/apps/web/explain").json()["definition"]}
    assert found.keys() == {"/container/type", "/networks(0)", "/networks(0)/labels"}
    assert found["/networks(0)/labels"]["verdict"] == "not heeded"
    session = Session(MarathonClient("http://api.test", session=over_api.session(an_api(controller))), Output())
    assert run(["app", "explain", "/web"], session) == 0
    assert "field: /networks(0) translated: the Docker network front" in capsys.readouterr().out
