"""What the API, the command line, events and Prometheus say of autoscaling."""

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
from eratos.scheduler.core.events import FiguresSeen
from eratos.scheduler.core.gates import ServerFigures
from eratos.scheduler.core.usage import TaskUsage
from eratos.scheduler.events.event import Event
from eratos.scheduler.events.standing import AUTOSCALE

POLICY: dict[str, Any] = {"min": 2, "max": 9, "target": {"requestsPerSecond": 50}}


def body(instances: int | None = 2, **policy: Any) -> dict[str, Any]:
    number = {} if instances is None else {"instances": instances}
    port = {"port": 0, "name": "http", "labels": {}}
    return {
        **{"id": "/web", "cmd": "serve", "cpus": 0.1, "mem": 32, **number, "portDefinitions": [port]},
        **{"labels": {"HAPROXY_0_VHOST": "web.test"}, "eratos": {"autoscale": POLICY | policy}},
    }


class Loaded:
    """An app at one balancer, of which two instances run."""

    def __init__(self, api: ApiClient, controller: FakeController, **policy: Any) -> None:
        assert api.put("/v2/apps/web", json=body(**policy)).status_code == 201
        self.api, self.controller, self.came = api, controller, 0.0
        self.tasks = controller.launch(an_offer("a1"))
        for task_id in self.tasks:
            controller.update(task_id, "RUNNING")

    def go(self, seconds: int, rate: float, missing: str = "") -> None:
        for _ in range(seconds // 2):
            self.controller.now += 2
            self.came += rate
            rows = [ServerFigures("b1", names.service_id(task_id), 0, 0, 0, int(self.came)) for task_id in self.tasks]
            answered = () if missing else ("b1",)
            self.controller.handle(FiguresSeen(() if missing else tuple(rows), missing, answered))

    def explained(self) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get("/v2/explain/web").json()
        return found

    def shown(self) -> Any:
        return self.explained()["autoscale"]


def test_what_was_measured_and_decided_is_explained(api: ApiClient, controller: FakeController) -> None:
    app = Loaded(api, controller)
    assert app.shown()["message"] == "nothing was measured yet"
    app.go(40, 90)
    assert app.shown() == {
        **{"mode": "act", "min": 2, "max": 9, "instances": 2, "wanted": 2, "missing": "", "until": None, "last": None},
        "measured": {"requestsPerSecond": {"value": 90.0, "target": 50.0}},
        "message": "2 instances wanted because 90 requests/s at a target of 50 each, within the tolerance",
    }
    app.go(2, 300)
    found = app.shown()
    assert (found["instances"], found["wanted"]) == (3, 3)
    assert found["last"] == {
        **{"at": "1970-01-01T00:17:22.000Z", "from": 2, "to": 3, "made": True},
        "message": "3 instances wanted because 111 requests/s at a target of 50 each",
    }
    app.go(20, 300)
    assert "; nothing is changed: deployment " in app.shown()["message"]


def test_who_follows_the_balancers_sees_how_apps_are_autoscaled(api: ApiClient, controller: FakeController) -> None:
    app = Loaded(api, controller)
    app.go(40, 90)
    assert api.put("/v2/apps/other", json={"id": "/other", "cmd": "sleep 1", "cpus": 0.1, "mem": 32}).status_code == 201
    assert api.get("/v2/balancers").json()["autoscaling"] == {"/web": app.shown()}
    assert "autoscaling" not in api.get("/v2/balancers", params={"app": "/other"}).json()


def test_silence_is_explained_and_counted(api: ApiClient, controller: FakeController) -> None:
    app = Loaded(api, controller)
    app.go(40, 90)
    app.go(10, 0, missing="b1 says nothing: timeout")
    assert app.shown()["missing"] == "b1 says nothing: timeout"
    text = generate_latest(metrics.registry(controller, lambda: controller.now)).decode()
    assert 'eratos_autoscale_missing{app="/web"} 1.0' in text
    assert 'eratos_autoscale_instances{app="/web"} 2.0' in text
    assert 'eratos_autoscale_load{app="/web",target="requests_per_second"} 45.0' in text


def test_what_is_not_known_of_the_cpu_is_null_and_no_sample(api: ApiClient, controller: FakeController) -> None:
    app = Loaded(api, controller, target={"cpu": 0.5})

    def look(seconds: int, *cpus: float | None) -> None:
        for _ in range(seconds // 2):
            controller.now += 2
            usages = {task: TaskUsage(1.0, found, 0.1, 0, None) for task, found in zip(app.tasks, cpus, strict=False)}
            controller.handle(FiguresSeen((), "no balancer is registered in Consul", usages=usages))

    def exposed() -> str:
        return generate_latest(metrics.registry(controller, lambda: controller.now)).decode()

    look(40, None, None)
    found = app.shown()
    assert found["measured"] == {"cpu": {"value": None, "target": 0.5}}
    assert found["missing"].startswith("the CPU of 2 of 2 instances is not known: the executor on ")
    assert "2 instances wanted because 0 CPU limits in use" in found["message"]
    assert 'target="cpu"' not in exposed()
    assert 'eratos_autoscale_missing{app="/web"} 1.0' in exposed()
    look(40, 0.04, 0.05)
    found = app.shown()
    assert (found["measured"], found["missing"]) == ({"cpu": {"value": 0.9, "target": 0.5}}, "")
    assert 'eratos_autoscale_load{app="/web",target="cpu"} 0.9' in exposed()
    assert "requests_per_second" not in exposed()
    assert 'eratos_autoscale_missing{app="/web"} 0.0' in exposed()


def test_a_change_is_an_event_and_a_deployment_with_its_cause(
    api: ApiClient, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Loaded(api, controller)
    app.go(40, 90)
    told: list[Event] = []
    monkeypatch.setattr(controller.events, "publish", told.extend)
    app.go(4, 300)
    [deployment] = api.get("/v2/deployments", params={"embed": "eratos"}).json()
    assert deployment["eratos"]["cause"] == "autoscale: 3 instances wanted because 111 requests/s at a target of 50 each"
    [scaled] = [event for event in told if event.kind == AUTOSCALE]
    assert scaled.document() == {
        **{"eventType": "autoscale_event", "timestamp": "1970-01-01T00:17:22.000Z", "appId": "/web"},
        **{"from": 2, "to": 3, "made": True, "reason": "3 instances wanted because 111 requests/s at a target of 50 each"},
    }
    [begun] = [event.fields["plan"] for event in told if event.kind == "deployment_info"]
    assert begun["steps"] == [{"actions": [{"action": "ScaleApplication", "app": "/web"}]}]


@pytest.mark.parametrize(("instances", "status"), [(1, 422), (2, 200), (9, 200), (10, 422), (0, 200)])
def test_users_scale_within_the_bounds(api: ApiClient, controller: FakeController, instances: int, status: int) -> None:
    Loaded(api, controller)
    answer = api.put("/v2/apps/web", json={"instances": instances})
    assert answer.status_code == status
    if status == 422:
        [problem] = answer.json()["details"]
        assert problem["path"] == "/instances"
        assert f"is {instances}, and eratos.autoscale.m" in problem["errors"][0]


def test_a_group_that_scales_out_of_the_bounds_is_refused(api: ApiClient, controller: FakeController) -> None:
    api.put("/v2/apps/shop/web", json={**body(4), "id": "/shop/web"})
    refused = api.put("/v2/groups/shop", json={"scaleBy": 3})
    assert refused.status_code == 422
    assert "of /shop/web is 12, and eratos.autoscale.max is 9" in str(refused.json())
    assert api.put("/v2/groups/shop", json={"scaleBy": 2}).status_code == 200


def test_a_definition_without_a_number_begins_with_the_fewest_and_keeps_what_there_is(
    api: ApiClient, controller: FakeController
) -> None:
    api.put("/v2/apps/web", json=body(None))
    assert api.get("/v2/apps/web").json()["app"]["instances"] == 2
    api.put("/v2/apps/web", json={"instances": 6})
    api.put("/v2/apps/web", json=body(None, max=20))
    assert api.get("/v2/apps/web").json()["app"]["instances"] == 6
    api.put("/v2/apps/web?partialUpdate=false", json=body(None, max=20))
    assert api.get("/v2/apps/web").json()["app"]["instances"] == 6
    api.put("/v2/apps/web?partialUpdate=false", json=body(None, max=5))
    assert api.get("/v2/apps/web").json()["app"]["instances"] == 5


def test_the_command_line_says_it(api: ApiClient, controller: FakeController) -> None:
    app = Loaded(api, controller, mode="advise")
    app.go(40, 90)
    app.go(20, 300)
    app.go(2, 0, missing="b1 says nothing")
    lines = [str(line) for line in views.explained(app.explained())]
    assert any(line.startswith("autoscale from 2 to 9: 6 instances wanted because 2") for line in lines)
    assert any(line.endswith("mode advise: nothing is changed") for line in lines)
    assert "autoscale misses figures, so nothing is scaled down: b1 says nothing" in lines
    assert any(line.startswith("autoscale would have changed 2 to ") for line in lines)
    assert not views._autoscaled(None)
