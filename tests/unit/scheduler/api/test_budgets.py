"""What the API, the command line, events and Prometheus say of error budgets."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import generate_latest
from support.api import ApiClient
from support.builders import an_offer
from support.controller import FakeController

from eratos.cli import views
from eratos.common import names
from eratos.scheduler.api import metrics
from eratos.scheduler.core.error_budget import ServiceFigures
from eratos.scheduler.core.events import FiguresSeen
from eratos.scheduler.events.event import Event
from eratos.scheduler.events.standing import APP

BUDGET: dict[str, Any] = {"objective": 99, "window": "1h"}


def body(**more: Any) -> dict[str, Any]:
    port = {"port": 0, "name": "http", "labels": {}}
    return {
        **{"id": "/web", "cmd": "serve", "cpus": 0.1, "mem": 32, "instances": 2, "portDefinitions": [port]},
        **{"labels": {"HAPROXY_0_VHOST": "web.test"}, "eratos": {"errorBudget": BUDGET}, **more},
    }


class Counted:
    """An app at one balancer, of which two instances run."""

    def __init__(self, api: ApiClient, controller: FakeController) -> None:
        assert api.put("/v2/apps/web", json=body()).status_code == 201
        self.api, self.controller, self.answered, self.failed = api, controller, 0, 0
        for task_id in controller.launch(an_offer("a1")):
            controller.update(task_id, "RUNNING")
        controller.locks = True  # from here on nothing is forced but what says so

    def look(self, requests: int = 0, failed: int = 0, uncounted: str = "") -> None:
        self.controller.now += 2
        self.answered += requests
        self.failed += failed
        figures = ServiceFigures("b1", names.service_name("/web"), self.answered, self.failed)
        self.controller.handle(FiguresSeen((), services=() if uncounted else (figures,), uncounted=uncounted))

    def spend(self) -> None:
        self.look()
        self.look(1000, 15)

    def explained(self) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get("/v2/explain/web").json()
        return found

    def exposed(self) -> str:
        return generate_latest(metrics.registry(self.controller, lambda: self.controller.now)).decode()


@pytest.fixture
def app(api: ApiClient, controller: FakeController) -> Counted:
    return Counted(api, controller)


def test_what_was_counted_is_explained_and_exposed(app: Counted) -> None:
    found = app.explained()["errorBudget"]
    assert (found["remaining"], found["missing"]) == (None, "balancers were not asked yet")
    assert str(views.explained(app.explained())[1]).startswith("error budget of 99% in 1h: too few requests to judge it")
    app.look()
    app.look(1000, 4)
    assert app.explained()["errorBudget"] == {
        **{"objective": 99.0, "window": "1h", "minRequests": 50, "requests": 1000, "failed": 4, "allowed": 10.0},
        **{"remaining": 0.6, "burnRate": 0.4, "spent": False, "missing": "", "until": "1970-01-01T01:16:00.000Z"},
    }
    assert views.explained(app.explained())[1] == (
        "error budget of 99% in 1h: 60.0% left, 4 of 1000 requests failed, 10 may; burn rate 0.4"
    )
    assert 'eratos_app_error_budget_remaining_ratio{app="/web"} 0.6' in app.exposed()
    assert 'eratos_app_error_budget_burn_rate{app="/web"} 0.4' in app.exposed()
    assert 'eratos_app_error_budget_spent{app="/web"} 0.0' in app.exposed()


def test_a_budget_that_cannot_be_judged_has_no_sample(app: Counted) -> None:
    app.look()
    app.look(49, 49)
    assert "eratos_app_error_budget_remaining_ratio{" not in app.exposed()


def test_an_app_without_a_budget_says_nothing_of_it(api: ApiClient, app: Counted) -> None:
    assert api.put("/v2/apps/web?force=true", json=body(eratos={})).status_code == 200
    assert app.explained()["errorBudget"] is None
    assert "error_budget_spent{" not in app.exposed()
    assert not any("error budget" in str(line) for line in views.explained(app.explained()))
    assert not any("error budget" in str(line) for line in views.explained(app.explained() | {"errorBudget": None}))


def test_a_spent_budget_refuses_a_change_and_says_how_a_fix_goes_out(api: ApiClient, app: Counted) -> None:
    app.spend()
    refused = api.put("/v2/apps/web", json=body(cmd="new"))
    assert refused.status_code == 409
    assert refused.json()["message"].startswith(
        "The error budget of /web is spent: 15 of 1000 requests failed in 1h, and 99% of them were to succeed. So its"
    )
    planned = api.put("/v2/apps/web?dryRun=true", json=body(cmd="new")).json()["eratos"]
    sentence = "the error budget of /web is spent: 15 of 1000 requests failed in 1h, and 99% of them were to succeed"
    assert planned["heldBy"] == {"/web": sentence}
    assert api.put("/v2/apps/web?dryRun=true", json=body(instances=3)).json()["eratos"]["heldBy"] == {}
    assert api.put("/v2/apps/web?force=true", json=body(cmd="new")).status_code == 200


def test_a_spent_budget_is_a_reason_with_what_waits_for_it(api: ApiClient, app: Counted) -> None:
    app.spend()
    [reason] = app.explained()["reasons"]
    assert (reason["reason"], reason["count"], reason["until"]) == ("ErrorBudget", 0, "1970-01-01T01:16:00.000Z")
    assert "no gate of a canary, no rebalancing, no drain without a deadline" in reason["message"]
    assert api.put("/v2/drains/host-a1", json={}).status_code == 200
    [reason] = app.explained()["reasons"]
    assert reason["count"] == 2
    drain = api.get("/v2/drains/host-a1").json()
    assert [item["state"] for item in drain["left"]] == ["staying", "staying"]
    [waits] = drain["waits"]
    assert waits["app"] == "/web" and waits["message"].endswith("were to succeed; with a deadline it moves at once")
    api.put("/v2/drains/host-a1", json={"deadlineSeconds": 600})
    drain = api.get("/v2/drains/host-a1").json()
    assert {item["state"] for item in drain["left"]} == {"moving"}
    assert "ErrorBudget" in {reason["reason"] for reason in app.explained()["reasons"]}


def test_missing_figures_are_said(app: Counted) -> None:
    app.look(uncounted="b1 does not say what it answers for a service")
    assert app.explained()["errorBudget"]["missing"].startswith("b1 does not say")
    assert 'eratos_app_error_budget_missing{app="/web"} 1.0' in app.exposed()
    assert "of which nothing is spent or earned: b1 does not say" in str(views.explained(app.explained())[2])


def test_a_gate_is_promoted_with_force(api: ApiClient, controller: FakeController, app: Counted) -> None:
    labels = {"HAPROXY_0_VHOST": "web.test", "ERATOS_CANARY": "1"}
    change = api.put("/v2/apps/web", json=body(cmd="new", labels=labels)).json()["deploymentId"]
    for task_id in controller.launch(an_offer("a1")):
        controller.update(task_id, "RUNNING")
    app.spend()
    refused = api.post(f"/v2/deployments/{change}/promote")
    assert (refused.status_code, refused.json()["message"][:31]) == (409, "Its gate is not passed: the err")
    assert api.post(f"/v2/deployments/{change}/promote?force=true").json() == {"deploymentId": change}


def test_an_event_tells_when_it_is_spent_and_when_it_is_restored(
    controller: FakeController, app: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.look()
    told: list[Event] = []
    monkeypatch.setattr(controller.events, "publish", told.extend)
    app.look(1000, 15)
    assert [(event.kind, event.fields["appId"]) for event in told if event.kind == APP] == [(APP, "/web")]
    told.clear()
    app.look(10)
    assert not told
    app.look(10_000)
    assert [(event.kind, event.fields["appId"]) for event in told if event.kind == APP] == [(APP, "/web")]
