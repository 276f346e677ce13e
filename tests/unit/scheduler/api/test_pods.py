"""``/v2/pods`` as Marathon 1.11 has it: RAML, PodsResource.scala, PodStatusConversion.scala."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from support.api import ApiClient
from support.builders import an_app, an_offer
from support.controller import FakeController

POD: dict[str, Any] = {
    "id": "/shop/cart",
    "environment": {"WORD": "hello"},
    "labels": {"owner": "zeus"},
    "networks": [{"mode": "container/bridge"}],
    "scaling": {"kind": "fixed", "instances": 2},
    "volumes": [{"name": "shared"}],
    "containers": [
        {
            "name": "web",
            "image": {"kind": "DOCKER", "id": "shop/web:1"},
            "resources": {"cpus": 0.2, "mem": 64},
            "endpoints": [{"name": "http", "containerPort": 80, "hostPort": 0}],
            "healthCheck": {"http": {"endpoint": "http", "path": "/health"}},
            "volumeMounts": [{"name": "shared", "mountPath": "/data"}],
        },
        {"name": "log", "image": {"kind": "DOCKER", "id": "shop/log:1"}, "resources": {"cpus": 0.1, "mem": 32}},
    ],
}


def a_pod(**changed: Any) -> dict[str, Any]:
    return copy.deepcopy(POD) | changed


def create(api: ApiClient, **changed: Any) -> dict[str, Any]:
    answer = api.post("/v2/pods", json=a_pod(**changed))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def running(api: ApiClient, controller: FakeController, healthy: bool | None = True) -> list[str]:
    create(api)
    tasks = controller.launch(an_offer("a1"))
    for task in tasks:
        controller.update(task, "RUNNING", healthy=healthy, addresses=("10.0.0.1",))
    return tasks


def status(api: ApiClient, name: str = "shop/cart") -> dict[str, Any]:
    return dict(api.get(f"/v2/pods/{name}::status").json())


def test_clients_learn_that_there_are_pods(api: ApiClient) -> None:
    assert api.head("/v2/pods").status_code == 200


def test_a_pod_is_created_with_its_definition_address_and_deployment(api: ApiClient) -> None:
    answer = api.post("/v2/pods", json=POD)
    assert (answer.status_code, answer.headers["Location"]) == (201, "/shop/cart")
    shown = answer.json()
    assert answer.headers["Marathon-Deployment-Id"] == api.get("/v2/deployments").json()[0]["id"]
    assert shown["version"]
    assert shown["containers"][0]["endpoints"][0]["protocol"] == ["tcp"]
    assert shown == api.get("/v2/pods/shop/cart").json() == api.get("/v2/pods//shop/cart").json() == api.get("/v2/pods").json()[0]


def test_a_shown_pod_can_be_sent_back_and_changes_nothing(api: ApiClient) -> None:
    shown = create(api)
    answer = api.put("/v2/pods/shop/cart", json=shown)
    assert (answer.status_code, answer.json()) == (200, shown)


def test_a_second_one_of_the_same_id_is_refused(api: ApiClient) -> None:
    create(api)
    answer = api.post("/v2/pods", json=POD)
    assert (answer.status_code, answer.json()["message"]) == (409, "A pod with id [/shop/cart] already exists.")


def test_an_address_and_an_id_that_differ_are_refused(api: ApiClient) -> None:
    answer = api.put("/v2/pods/shop/other", json=POD)
    assert answer.status_code == 400
    assert answer.json()["message"] == "'/shop/other' does not match definition's id ('/shop/cart')"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in ("", "::status", "::versions", "::versions/2020-01-01T00:00:00.000Z")),
        *(("DELETE", path) for path in ("", "::instances/shop_cart.instance-1")),
    ],
)
def test_a_pod_that_is_not_there_is_named(api: ApiClient, method: str, path: str) -> None:
    controllers_app = an_app("/shop/cart").to_json()
    assert api.post("/v2/apps", json=controllers_app).status_code == 201  # an app is no pod
    answer = api.request(method, f"/v2/pods/shop/cart{path}")
    assert (answer.status_code, answer.json()["message"]) == (404, "Pod '/shop/cart' does not exist")


def test_what_is_wrong_is_told_as_of_apps(api: ApiClient) -> None:
    bad = a_pod()
    bad["containers"][1]["volumeMounts"] = [{"name": "nay", "mountPath": "/x"}]
    answer = api.post("/v2/pods", json=bad)
    assert answer.status_code == 422
    assert answer.json()["details"][0]["path"] == "/containers(1)/volumeMounts(0)/name"


def test_an_id_is_an_apps_or_a_pods(api: ApiClient) -> None:
    create(api)
    app = an_app("/shop/cart").to_json()
    for answer in (
        *(api.put("/v2/apps/shop/cart", json=app), api.put("/v2/apps/shop/cart", json={"instances": 3})),
        *(api.put("/v2/apps", json=[app]), api.put("/v2/groups/shop", json={"apps": [app]})),
    ):
        assert answer.status_code == 422
        assert answer.json()["details"][0]["path"].endswith("/id")
        assert "is a pod" in answer.json()["details"][0]["errors"][0]
    api.post("/v2/apps", json=an_app("/shop/db").to_json())
    answer = api.put("/v2/pods/shop/db", json=a_pod(id="/shop/db"))
    assert answer.status_code == 422
    assert "is an app" in answer.json()["details"][0]["errors"][0]


def test_pods_are_no_apps_to_clients_of_apps(api: ApiClient, controller: FakeController) -> None:
    (task, *_) = running(api, controller)
    assert api.get("/v2/apps").json() == {"apps": []}
    assert api.get("/v2/tasks").json() == {"tasks": []}
    assert api.get("/v2/tasks", headers={"Accept": "text/plain"}).text == ""
    assert api.get("/v2/groups/apps").json() == []
    for path in ("/v2/apps/shop/cart", "/v2/apps/shop/cart/tasks", "/v2/apps/shop/cart/versions"):
        assert api.get(path).status_code == 404
    for method, path in (("DELETE", ""), ("POST", "/restart"), ("DELETE", "/tasks"), ("DELETE", f"/tasks/{task}")):
        assert api.request(method, f"/v2/apps/shop/cart{path}").status_code == 404


def test_a_group_shows_and_takes_pods(api: ApiClient) -> None:
    answer = api.put("/v2/groups/shop", json={"apps": [an_app("db").to_json() | {"id": "db"}], "pods": [a_pod(id="cart")]})
    assert answer.status_code == 200, answer.text
    shown = api.get("/v2/groups/shop").json()
    assert ([app["id"] for app in shown["apps"]], [pod["id"] for pod in shown["pods"]]) == (["/shop/db"], ["/shop/cart"])
    assert api.get("/v2/groups", params={"embed": "group.groups"}).json()["groups"][0]["pods"] == []
    # A list that is given is the whole of them; one that is not leaves them alone.
    api.put("/v2/groups/shop", json={"apps": []})
    shown = api.get("/v2/groups/shop").json()
    assert ([app["id"] for app in shown["apps"]], [pod["id"] for pod in shown["pods"]]) == ([], ["/shop/cart"])
    api.put("/v2/groups/shop", json={"pods": []})
    assert api.get("/v2/pods").json() == []


def test_what_a_pod_depends_on_by_its_group_stays_over_its_own_changes(api: ApiClient, controller: FakeController) -> None:
    group = {"dependencies": ["/db"], "pods": [a_pod(id="cart")]}
    assert api.put("/v2/groups/shop", json=group).status_code == 200
    api.put("/v2/pods/shop/cart", json=a_pod(labels={"new": "one"}))
    assert api.get("/v2/groups/shop").json()["dependencies"] == ["/db"]
    assert controller.machine.state.changes["/shop/cart"].groups == {"/shop": ("/db",)}


def test_deployments_name_pods_as_pods(api: ApiClient, controller: FakeController) -> None:
    create(api)
    (found,) = api.get("/v2/deployments").json()
    assert (found["affectedApps"], found["affectedPods"]) == ([], ["/shop/cart"])
    assert found["steps"] == [
        {"actions": [{"action": "StartPod", "pod": "/shop/cart"}]},
        {"actions": [{"action": "ScalePod", "pod": "/shop/cart"}]},
    ]
    assert found["currentActions"] == [{"action": "ScalePod", "app": None, "pod": "/shop/cart", "readinessCheckResults": []}]
    api.delete("/v2/pods/shop/cart")
    ended = api.get("/v2/deployments", params={"ended": True}).json()
    assert ended[0]["affectedPods"] == ["/shop/cart"]


def test_a_dry_run_changes_nothing(api: ApiClient) -> None:
    answer = api.post("/v2/pods", params={"dryRun": True}, json=POD)
    assert answer.status_code == 200
    assert answer.json()["steps"][0] == {"actions": [{"action": "StartPod", "pod": "/shop/cart"}]}
    assert answer.json()["eratos"]["apps"]["/shop/cart"]["starts"] == 2
    assert api.get("/v2/pods").json() == []


def test_the_queue_shows_a_pod(api: ApiClient) -> None:
    create(api)
    (item,) = api.get("/v2/queue").json()["queue"]
    assert (item["pod"]["id"], item["count"], "app" in item) == ("/shop/cart", 2, False)


# Status


def test_instances_that_wait_are_pending(api: ApiClient) -> None:
    create(api)
    found = status(api)
    assert (found["status"], [each["status"] for each in found["instances"]]) == ("DEGRADED", ["PENDING"] * 2)


def test_a_stable_pod_shows_its_instances_and_their_containers(api: ApiClient, controller: FakeController) -> None:
    running(api, controller)
    found = status(api)
    assert (found["id"], found["status"], found["spec"]["id"]) == ("/shop/cart", "STABLE", "/shop/cart")
    first = found["instances"][0]
    assert (first["status"], first["agentHostname"], first["agentId"]) == ("STABLE", "host-a1", "a1")
    assert first["networks"] == [{"addresses": ["10.0.0.1"]}]
    assert first["specReference"] == f"/v2/pods/shop/cart::versions/{found['spec']['version']}"
    web, log = first["containers"]
    (endpoint,) = web["endpoints"]
    assert (endpoint["name"], endpoint["healthy"]) == ("http", True)
    assert endpoint["allocatedHostPort"] >= 31000
    assert [(c["name"], c["value"], c["reason"]) for c in web["conditions"]] == [("healthy", "true", "health-reported-by-mesos")]
    assert (log["name"], log["status"], log["endpoints"], log["conditions"]) == ("log", "TASK_RUNNING", [], [])
    assert api.get("/v2/pods/::status").json() == [found | {"lastUpdated": api.get("/v2/pods/::status").json()[0]["lastUpdated"]}]


@pytest.mark.parametrize(
    ("state", "healthy", "shown"),
    [
        ("STARTING", None, "STAGING"),
        ("RUNNING", False, "DEGRADED"),
        ("UNREACHABLE", None, "DEGRADED"),
        ("RUNNING", None, "STABLE"),
    ],
)
def test_an_instance_is_as_its_task(
    api: ApiClient, controller: FakeController, state: str, healthy: bool | None, shown: str
) -> None:
    create(api)
    for task in controller.launch(an_offer("a1")):
        controller.update(task, state, healthy=healthy)
    assert {each["status"] for each in status(api)["instances"]} == {shown}


def test_the_last_end_is_told(api: ApiClient, controller: FakeController) -> None:
    (task, _) = running(api, controller)
    controller.update(task, "FAILED", message="container log: exit code 3")
    (end,) = status(api)["terminationHistory"]
    assert end["message"] == "container log: exit code 3"
    assert end["instanceID"] == task.partition("._app.")[0]
    assert end["containers"] == [{"containerId": task, "lastKnownState": "TASK_FAILED"}]


def test_a_pod_that_is_deleted_is_terminal_until_it_is_gone(api: ApiClient, controller: FakeController) -> None:
    tasks = running(api, controller)
    answer = api.delete("/v2/pods/shop/cart")
    assert (answer.status_code, answer.content) == (202, b"")
    assert answer.headers["Location"] == answer.headers["Marathon-Deployment-Id"]
    assert api.get("/v2/pods/shop/cart").status_code == 404
    assert (status(api)["status"], {each["status"] for each in status(api)["instances"]}) == ("TERMINAL", {"TERMINAL"})
    assert [each["id"] for each in api.get("/v2/pods/::status").json()] == ["/shop/cart"]
    for task in tasks:
        controller.update(task, "KILLED")
    assert api.get("/v2/pods/shop/cart::status").status_code == 404
    assert api.get("/v2/pods/::status").json() == []


def test_an_instance_of_a_former_version_is_shown_as_it_was(api: ApiClient, controller: FakeController) -> None:
    running(api, controller)
    changed = a_pod()
    changed["containers"].append({"name": "third", "image": {"id": "x"}, "resources": {"cpus": 0.1, "mem": 32}})
    api.put("/v2/pods/shop/cart", json=changed)
    old = [each for each in status(api)["instances"] if each.get("containers")]
    assert {len(each["containers"]) for each in old} == {2}


# Versions


def test_versions_are_kept_and_shown(api: ApiClient) -> None:
    first = create(api)
    second = api.put("/v2/pods/shop/cart", json=a_pod(labels={"now": "other"})).json()
    assert api.get("/v2/pods/shop/cart::versions").json() == [second["version"], first["version"]]
    assert api.get(f"/v2/pods/shop/cart::versions/{first['version']}").json() == first
    answer = api.get("/v2/pods/shop/cart::versions/2020-01-01T00:00:00.000Z")
    assert answer.status_code == 404


def test_scaling_keeps_the_version(api: ApiClient) -> None:
    first = create(api)
    second = api.put("/v2/pods/shop/cart", json=a_pod(scaling={"kind": "fixed", "instances": 5})).json()
    assert (second["version"], second["scaling"]["instances"]) == (first["version"], 5)


# Instances


def test_instances_are_killed_by_their_ids(api: ApiClient, controller: FakeController) -> None:
    tasks = [task.partition("._app.")[0] for task in running(api, controller)]
    answer = api.delete(f"/v2/pods/shop/cart::instances/{tasks[0]}")
    assert (answer.status_code, answer.json()["instanceId"]) == (200, {"idString": tasks[0]})
    assert answer.json()["agentInfo"]["host"] == "host-a1"
    answer = api.request("DELETE", "/v2/pods/shop/cart::instances", json=[*tasks, "nobody"])
    assert [each["instanceId"]["idString"] for each in answer.json()] == tasks
    assert all(instance.stopping for instance in controller.machine.state.instances.values() if not instance.waiting)
    for path in ("", f"/{tasks[0]}"):  # every kill wipes, so this asks for nothing else
        answer = api.request("DELETE", f"/v2/pods/shop/cart::instances{path}?wipe=true", json=tasks)
        assert answer.status_code == 200
    assert api.delete("/v2/pods/shop/cart::instances/shop_cart.instance-9").status_code == 404
    assert api.request("DELETE", "/v2/pods/shop/cart::instances", json={"a": 1}).status_code == 422


# Events


def test_changes_are_told_to_those_who_follow(api: ApiClient, controller: FakeController) -> None:
    create(api)
    api.put("/v2/pods/shop/cart", json=a_pod(labels={"now": "other"}))
    api.delete("/v2/pods/shop/cart")
    told = [json.loads(entry.document) for entry in controller.events.read(1, 10**9).entries]
    kinds = [event["eventType"] for event in told if event["eventType"].startswith("pod_")]
    assert kinds == ["pod_created_event", "pod_updated_event", "pod_deleted_event"]
    actions = [a for event in told if event["eventType"] == "deployment_info" for a in event["currentStep"]["actions"]]
    assert actions[0] == {"action": "StartPod", "pod": "/shop/cart"}
    assert actions[-1] == {"action": "StopPod", "pod": "/shop/cart"}


# What is ours


def test_a_pod_is_explained_like_an_app(api: ApiClient) -> None:
    create(api)
    found = api.get("/v2/explain/shop/cart").json()
    assert (found["app"], found["wanted"], found["waiting"]) == ("/shop/cart", 2, 2)


def test_a_group_scales_its_pods(api: ApiClient, controller: FakeController) -> None:
    create(api)
    assert api.put("/v2/groups/shop", json={"scaleBy": 1.5}).status_code == 200
    assert controller.machine.state.apps["/shop/cart"].instances == 3


def test_a_group_goes_back_to_the_pods_it_had(api: ApiClient, controller: FakeController) -> None:
    first = create(api)["version"]
    api.put("/v2/pods/shop/cart", json=a_pod(labels={"now": "other"}))
    assert api.get(f"/v2/groups/shop/versions/{first}").json()["pods"][0]["labels"] == {"owner": "zeus"}
    assert api.put("/v2/groups/shop", json={"version": first}).status_code == 200
    assert controller.machine.state.apps["/shop/cart"].labels == {"owner": "zeus"}


def test_a_pods_log_is_that_of_its_first_container_unless_another_is_named(
    api: ApiClient, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    (task, *_) = running(api, controller)
    asked: list[str] = []

    def ask(host: str, port: int, path: str, **_: object) -> object:
        asked.append(path)
        raise OSError("nobody is here")

    monkeypatch.setattr("eratos.scheduler.api.logs.async_http.ask", ask)
    for query in ("", "?container=log"):
        assert api.get(f"/v2/tasks/{task.partition('._app.')[0]}/logs{query}").status_code == 503
    assert [path.partition("?")[2].strip("&") for path in asked] == ["container=web", "container=log"]
