"""Apps, tasks, the queue and groups as Marathon 1.11's RAML and resources have them: fields, filters, embeds, refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.api import ApiClient, an_api
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.common.check_results import CheckResult
from eratos.scheduler.api import label_selector
from eratos.scheduler.core.events import OffersReceived, PutApps

TASK = {
    *("appId", "healthCheckResults", "checkResult", "host", "id", "ipAddresses", "ports", "servicePorts", "slaveId", "state"),
    *("stagedAt", "startedAt", "version", "localVolumes", "region", "zone", "role"),
}
#: Those of the embeds that answer at once; readiness is asked of executors.
CHECK = {"protocol": "HTTP", "path": "/", "portIndex": 0}


def put(controller: FakeController, *apps: Any) -> None:
    controller.submit(PutApps(apps))


def running(controller: FakeController, *apps: Any, **status: Any) -> list[str]:
    """Have apps run, and return their tasks' ids."""
    put(controller, *apps)
    tasks = controller.launch(an_offer())
    for task in tasks:
        controller.update(task, "RUNNING", **status)
    return tasks


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [item["id"] for item in found]


# Label selectors

LABELS: dict[str, dict[str, str]] = {
    "/a": {"env": "prod", "tier": "web", "!!!": "---"},
    "/b": {"env": "qa", "in": "x"},
    "/c": {"env": "a, b", "url": "http://x/y"},
    "/d": {},
}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "abcd"),
        ("  ", "abcd"),
        ("env", "abc"),
        ("env==prod", "a"),
        (" env == prod ", "a"),
        ("env!=prod", "bc"),
        ("env in (prod, qa)", "ab"),
        ("env in(prod,qa)", "ab"),
        ("env notin (prod, qa)", "c"),
        ("env in ()", ""),
        ("env notin ()", "abc"),
        ("env, tier", "a"),
        ("env in (prod, qa), tier notin (db)", "a"),
        (r"\!\!\! in (\-\-\-, \&\&\&)", "a"),
        (r"env==a\,\ b", "c"),
        ("url==http://x/y", "c"),  # Marathon wants backslashes here
        ("in", "b"),
        ("in in (x)", "b"),
        ("nosuch!=x", ""),
    ],
)
def test_a_label_selector_selects(api: ApiClient, controller: FakeController, query: str, expected: str) -> None:
    put(controller, *(an_app(app_id, labels=labels) for app_id, labels in LABELS.items()))
    found = api.get("/v2/apps", params={"label": query})
    assert found.status_code == 200, found.text
    assert ids(found.json()["apps"]) == [f"/{name}" for name in expected]


@pytest.mark.parametrize(
    "query",
    ["==x", "a==", "a=b", "a in", "a in x", "a in (b", "a in (b,)", "a b", "a,", ",a", "a==b c", "a in (b) c", "(", "a\\", "a!b"],
)
def test_what_is_no_label_selector_is_refused_with_its_place(api: ApiClient, query: str) -> None:
    answer = api.get("/v2/apps", params={"label": query})
    assert answer.status_code == 422
    (detail,) = answer.json()["details"]
    assert detail["path"] == "/label"
    assert "is expected" in detail["errors"][0]


@pytest.mark.parametrize("query", [",".join(["a"] * 101), f"a in ({','.join(['b'] * 101)})"])
def test_a_label_selector_is_bounded(query: str) -> None:
    with pytest.raises(ValueError, match="more than 100"):
        label_selector.parse(query)


# Apps


def test_the_filters_by_id_and_command_do_not_mind_case(api: ApiClient, controller: FakeController) -> None:
    put(controller, an_app("/shop/cart", cmd="Sleep 1000"), an_app("/shop/db"))
    assert ids(api.get("/v2/apps?id=CART").json()["apps"]) == ["/shop/cart"]
    assert ids(api.get("/v2/apps?cmd=sLEEP").json()["apps"]) == ["/shop/cart"]
    assert ids(api.get("/v2/apps?id=shop&cmd=nosuch").json()["apps"]) == []


@pytest.mark.parametrize("path", ["/v2/apps/shop/*", "/v2/apps//shop/*", "/v2/apps/shop/*/"])
def test_the_apps_of_a_group_are_listed(api: ApiClient, controller: FakeController, path: str) -> None:
    put(controller, an_app("/shop/cart"), an_app("/shop/data/db"), an_app("/other"))
    assert ids(api.get(path).json()["*"]) == ["/shop/cart", "/shop/data/db"]
    assert len(api.get("/v2/apps/*").json()["*"]) == 3


@pytest.mark.parametrize("path", ["/v2/apps/nosuch/*", "/v2/apps/nosuch/*/tasks", "/v2/groups/nosuch"])
def test_an_unknown_group_is_not_found(api: ApiClient, path: str) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.json()) == (404, {"message": "Group '/nosuch' does not exist"})


def test_statistics_of_tasks_are_counted_by_version(api: ApiClient, controller: FakeController) -> None:
    running(controller, an_app("/a", 2, healthChecks=[CHECK]), healthy=True)
    controller.now += 30
    put(controller, an_app("/a", 2, healthChecks=[CHECK], cpus=0.2))
    controller.launch(an_offer("a2"))
    controller.now += 10
    for path in ("/v2/apps?embed=apps.taskStats", "/v2/groups?embed=group.apps&embed=group.apps.taskStats"):
        stats = api.get(path).json()["apps"][0]["taskStats"]
        outdated, latest = stats["withOutdatedConfig"]["stats"], stats["withLatestConfig"]["stats"]
        assert outdated["counts"] == {"staged": 0, "running": 2, "healthy": 2, "unhealthy": 0}
        assert outdated["lifeTime"] == {"averageSeconds": 40.0, "medianSeconds": 40.0}
        assert latest["counts"]["staged"] == stats["totalSummary"]["stats"]["counts"]["staged"] > 0
        assert "lifeTime" not in latest
        assert stats["startedAfterLastScaling"] == stats["withLatestConfig"]


def test_a_version_that_came_back_is_the_latest_and_scaling_is_told_apart(api: ApiClient, controller: FakeController) -> None:
    running(controller, an_app("/a", 1))
    first = controller.machine.state.apps["/a"].version
    controller.now += 10
    put(controller, an_app("/a", 1, cpus=0.2))
    controller.launch(an_offer("a2"))
    api.put("/v2/apps/a", json={"version": first})
    stats = api.get("/v2/apps/a?embed=app.taskStats").json()["app"]["taskStats"]
    assert [stats[name]["stats"]["counts"]["running"] for name in ("withLatestConfig", "totalSummary")] == [1, 1]
    assert stats["withOutdatedConfig"]["stats"]["counts"]["staged"] == 1
    controller.now += 10
    api.put("/v2/apps/a", json={"instances": 2})
    controller.launch(an_offer("a3"))
    stats = api.get("/v2/apps/a?embed=app.taskStats").json()["app"]["taskStats"]
    assert stats["startedAfterLastScaling"]["stats"]["counts"]["staged"] == 1


def test_the_queue_tells_when_an_app_was_changed(api: ApiClient, controller: FakeController) -> None:
    put(controller, an_app("/a", 1))
    (item,) = api.get("/v2/queue").json()["queue"]
    assert item["app"]["versionInfo"] == api.get("/v2/apps/a").json()["app"]["versionInfo"]


def test_statistics_of_no_tasks_are_none(api: ApiClient, controller: FakeController) -> None:
    put(controller, an_app("/a", 0))
    assert api.get("/v2/apps/a?embed=app.taskStats").json()["app"]["taskStats"] == {}


def test_readiness_is_shown_in_lists_too(api: ApiClient, controller: FakeController) -> None:
    put(controller, an_app("/a"))
    for path, field in (("/v2/apps", "apps"), ("/v2/apps/*", "*")):
        (shown,) = api.get(f"{path}?embed=apps.readiness").json()[field]
        assert shown["readinessCheckResults"] == []
    assert "readinessCheckResults" not in api.get("/v2/apps").json()["apps"][0]


def test_the_last_failure_names_its_agent(api: ApiClient, controller: FakeController) -> None:
    (task,) = running(controller, an_app("/a"))
    controller.update(task, "FAILED", message="out of luck")
    failure = api.get("/v2/apps/a").json()["app"]["lastTaskFailure"]
    assert set(failure) == {"appId", "host", "message", "state", "taskId", "timestamp", "version", "slaveId"}
    assert (failure["slaveId"], failure["taskId"]) == ("a1", task)


def test_the_last_failure_is_of_the_version_that_failed(api: ApiClient, controller: FakeController) -> None:
    (task,) = running(controller, an_app("/a"))
    before = controller.machine.state.apps["/a"].version
    controller.now += 1
    api.put("/v2/apps/a", json={"cpus": 0.3})
    controller.update(task, "FAILED", message="out of luck")
    shown = api.get("/v2/apps/a").json()["app"]
    assert shown["lastTaskFailure"]["version"] == before != shown["version"]


# Tasks


def test_a_task_has_marathons_fields(api: ApiClient, controller: FakeController) -> None:
    ports = [{"port": 10001, "name": "http"}, {"port": 10002, "name": "admin"}]
    running(
        controller, an_app("/a", portDefinitions=ports, healthChecks=[CHECK]), healthy=True, addresses=("10.0.0.1", "fe80::1")
    )
    for path in ("/v2/tasks", "/v2/apps/a/tasks", "/v2/apps/*/tasks"):
        (task,) = api.get(path).json()["tasks"]
        assert set(task) <= TASK
        assert (task["servicePorts"], len(task["ports"]), task["role"]) == ([10001, 10002], 2, "*")
        assert task["healthCheckResults"][0]["alive"] is True
        assert [address["protocol"] for address in task["ipAddresses"]] == ["IPv4", "IPv6"]
    assert api.get("/v2/apps/a").json()["app"]["tasks"] == [task]


def test_each_health_check_has_its_result_with_the_times_of_the_executors_clock(
    api: ApiClient, controller: FakeController
) -> None:
    other = CHECK | {"path": "/other"}
    (task,) = running(controller, an_app("/a", healthChecks=[CHECK, other]), healthy=True)
    results = (CheckResult(0, 61.5, 0.0), CheckResult(2, 60.0, 30.0, 0.0, "HTTP status 500"))
    controller.update(task, "RUNNING", healthy=False, timestamp=1000.25, checks=results)
    (shown,) = api.get("/v2/tasks").json()["tasks"]
    good, bad = shown["healthCheckResults"]
    assert good == {
        "alive": True,
        "consecutiveFailures": 0,
        "firstSuccess": "1970-01-01T00:15:38.750Z",
        "lastSuccess": "1970-01-01T00:16:40.250Z",
        "instanceId": task.partition("._app.")[0],
    }
    assert (bad["alive"], bad["consecutiveFailures"], bad["lastFailureCause"]) == (False, 2, "HTTP status 500")
    assert (bad["lastSuccess"], bad["lastFailure"]) == ("1970-01-01T00:16:10.250Z", "1970-01-01T00:16:40.250Z")
    # What a reconciliation is answered says nothing of checks.
    controller.update(task, "RUNNING", reason="REASON_RECONCILIATION", uuid="")
    assert api.get("/v2/tasks").json()["tasks"][0]["healthCheckResults"] == [good, bad]
    entries = controller.events.read(0, 1 << 20).entries
    failed = [json.loads(entry.document)["healthCheck"]["path"] for entry in entries if entry.kind == "failed_health_check_event"]
    assert failed == ["/other"]


def test_of_an_executor_that_tells_of_no_check_it_is_known_whether_all_pass(api: ApiClient, controller: FakeController) -> None:
    (task,) = running(controller, an_app("/a", healthChecks=[CHECK, CHECK]), healthy=False)
    (shown,) = api.get("/v2/tasks").json()["tasks"]
    assert shown["healthCheckResults"] == [{"alive": False, "instanceId": task.partition("._app.")[0]}]


def test_readiness_alone_is_no_result_of_a_health_check(api: ApiClient, controller: FakeController) -> None:
    running(controller, an_app("/a", readinessChecks=[{"portName": "http"}]), healthy=True)
    assert api.get("/v2/tasks").json()["tasks"][0]["healthCheckResults"] == []


def test_each_answer_with_an_app_shows_its_role_and_executor_and_to_send_them_back_changes_nothing(
    controller: FakeController,
) -> None:
    api = ApiClient(an_api(controller, role="web"))
    made = api.post("/v2/apps", json={"id": "/g/a", "cmd": "sleep 1000"}).json()
    shown = api.get("/v2/apps/g/a").json()["app"]
    version = shown["version"]
    found = [made, shown, api.get("/v2/apps").json()["apps"][0], api.get("/v2/queue").json()["queue"][0]["app"]]
    found += [api.get("/v2/groups/g").json()["apps"][0], api.get(f"/v2/apps/g/a/versions/{version}").json()]
    assert [(each["role"], each["executor"]) for each in found] == [("web", "")] * 6
    for partial in (True, False):
        assert api.put("/v2/apps/g/a", json=shown, params={"partialUpdate": partial}).status_code == 200
        assert api.get("/v2/apps/g/a").json()["app"]["version"] == version
    api.post("/v2/apps", json={"id": "/stated", "cmd": "sleep 1000", "role": "web"})
    stated = api.get("/v2/apps/stated").json()["app"]["version"]
    api.put("/v2/apps/stated?partialUpdate=false", json={"id": "/stated", "cmd": "sleep 1000"})
    assert api.get("/v2/apps/stated").json()["app"]["version"] == stated


def test_a_tasks_role_is_the_apps_or_the_frameworks(controller: FakeController) -> None:
    api = ApiClient(an_api(controller, role="web"))
    assert api.post("/v2/apps", json=an_app("/a").to_json()).status_code == 201
    assert api.post("/v2/apps", json=an_app("/b", role="other").to_json()).status_code == 422
    controller.launch(an_offer())
    assert api.get("/v2/tasks").json()["tasks"][0]["role"] == "web"


@pytest.mark.parametrize("status", ["running", "RUNNING", "staging", "nonsense"])
def test_tasks_are_filtered_by_status(api: ApiClient, controller: FakeController, status: str) -> None:
    running(controller, an_app("/a"))
    expected = 0 if status == "staging" else 1  # an unknown word asks for nothing
    assert len(api.get(f"/v2/tasks?status={status}").json()["tasks"]) == expected


@pytest.mark.parametrize(
    ("accept", "kind"),
    [("*/*", "application/json"), ("text/plain", "text/plain"), ("text/plain, application/json;q=0.5", "text/plain")],
)
def test_tasks_come_as_lines_for_who_likes_that_best(api: ApiClient, accept: str, kind: str) -> None:
    assert api.get("/v2/tasks", headers={"Accept": accept}).headers["content-type"].startswith(kind)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v2/tasks/delete"), ("DELETE", "/v2/apps/a/tasks"), ("DELETE", "/v2/apps/a/tasks/{task}")],
)
def test_scaling_and_wiping_contradict_each_other(api: ApiClient, controller: FakeController, method: str, path: str) -> None:
    (task,) = running(controller, an_app("/a"))
    path = path.format(task=task)
    answer = api.request(method, f"{path}?scale=true&wipe=true", json={"ids": []})
    assert (answer.status_code, answer.json()) == (400, {"message": "You cannot use scale and wipe at the same time."})
    assert api.request(method, f"{path}?wipe=true", json={"ids": []}).status_code == 200


@pytest.mark.parametrize(
    "task_id", ["", "a", "a.1", "a.instance-", "a.instance-i1._app.", "a.instance-i1._app.1.x", "a/b.instance-1"]
)
def test_what_is_no_task_id_is_a_bad_request(api: ApiClient, controller: FakeController, task_id: str) -> None:
    (task,) = running(controller, an_app("/a"))
    answer = api.post("/v2/tasks/delete", json={"ids": [task, task_id]})
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("Invalid task id")
    assert api.get("/v2/tasks").json()["tasks"][0]["state"] == "TASK_RUNNING"


def test_tasks_of_every_host_are_killed_by_a_star(api: ApiClient, controller: FakeController) -> None:
    running(controller, an_app("/a", 2))
    assert len(api.delete("/v2/apps/a/tasks?host=*").json()["tasks"]) == 2


# The queue

REASONS = [
    *("UnfulfilledRole", "AgentMaintenance", "FailingHost", "UnfulfilledConstraint", "NoCorrespondingReservationFound"),
    *("InsufficientCpus", "InsufficientMemory", "InsufficientDisk", "InsufficientGpus", "InsufficientPorts"),
    "DeclinedScarceResources",
]


def test_the_queue_tells_what_offers_were_refused_for(api: ApiClient, controller: FakeController) -> None:
    put(controller, an_app("/a", mem=4096))
    controller.launch(an_offer(attributes={"disk": "ssd"}), an_offer("a2", cpus=0.01))
    (item,) = api.get("/v2/queue?embed=lastUnusedOffers").json()["queue"]
    assert item["role"] == "*"
    for steps in (item["processedOffersSummary"][f"rejectSummary{name}"] for name in ("LastOffers", "LaunchAttempt")):
        assert [step["reason"] for step in steps] == REASONS
        by_reason = {step["reason"]: (step["processed"], step["declined"]) for step in steps}
        assert by_reason["UnfulfilledRole"] == (2, 0)
        assert by_reason["InsufficientCpus"] == (2, 1)
        assert by_reason["InsufficientMemory"] == (1, 1)
        assert by_reason["DeclinedScarceResources"] == (0, 0)
    offers = {unused["offer"]["agentId"]: unused for unused in item["lastUnusedOffers"]}
    assert set(offers["a1"]["offer"]) == {"id", "agentId", "hostname", "resources", "attributes"}
    assert offers["a1"]["offer"]["attributes"] == [{"name": "disk", "text": "ssd"}]
    assert offers["a2"]["reason"] == ["InsufficientCpus"]


def test_the_queue_tells_when_an_offer_was_last_used(api: ApiClient, controller: FakeController) -> None:
    put(controller, an_app("/a", 2, constraints=[["hostname", "UNIQUE"]]))
    summary = api.get("/v2/queue").json()["queue"][0]["processedOffersSummary"]
    assert "lastUsedOfferAt" not in summary
    controller.launch(an_offer())
    summary = api.get("/v2/queue").json()["queue"][0]["processedOffersSummary"]
    assert summary["lastUsedOfferAt"] == "1970-01-01T00:16:40.000Z"


def test_the_delay_of_what_is_not_queued_is_not_found(api: ApiClient, controller: FakeController) -> None:
    running(controller, an_app("/a"))
    for app_id in ("a", "nosuch"):
        answer = api.delete(f"/v2/queue/{app_id}/delay")
        assert (answer.status_code, answer.json()) == (404, {"message": f"Application /{app_id} not found in tasks queue."})
    put(controller, an_app("/b"))
    assert api.delete("/v2/queue//b/delay").status_code == 204


# Groups

GROUP = {"id", "apps", "groups", "pods", "dependencies", "version", "enforceRole"}


@pytest.fixture
def shop(controller: FakeController) -> None:
    put(controller, an_app("/shop/cart"), an_app("/shop/data/db"), an_app("/other"))


@pytest.mark.parametrize(
    ("embed", "apps", "groups"),
    [
        ([], ["/shop/cart"], ["/shop/data"]),
        (["group.groups", "group.apps"], ["/shop/cart"], ["/shop/data"]),
        (["group.apps"], ["/shop/cart"], []),
        (["group.groups"], [], ["/shop/data"]),
        (["group.apps.tasks"], [], []),  # what is to be embedded in apps embeds no apps
        (["nonsense"], [], []),
    ],
)
@pytest.mark.usefixtures("shop")
def test_a_group_shows_what_is_to_be_embedded(api: ApiClient, embed: list[str], apps: list[str], groups: list[str]) -> None:
    shown = api.get("/v2/groups/shop", params={"embed": embed}).json()
    assert set(shown) == GROUP
    assert (ids(shown["apps"]), ids(shown["groups"])) == (apps, groups)
    if apps and groups:
        assert ids(shown["groups"][0]["apps"]) == ["/shop/data/db"]
    elif groups:
        assert shown["groups"][0]["apps"] == []


@pytest.mark.usefixtures("shop")
def test_tasks_are_embedded_in_the_apps_of_a_group(api: ApiClient, controller: FakeController) -> None:
    tasks = controller.launch(an_offer())
    embed = ["group.apps", "group.groups", "group.apps.tasks"]
    shown = api.get("/v2/groups/shop/data", params={"embed": embed}).json()
    assert shown["apps"][0]["tasks"][0]["id"] in tasks
    assert "tasks" not in api.get("/v2/groups/shop/data").json()["apps"][0]


@pytest.mark.usefixtures("shop")
def test_the_apps_of_a_group_and_below_are_a_plain_list(api: ApiClient) -> None:
    assert ids(api.get("/v2/groups/apps").json()) == ["/other", "/shop/cart", "/shop/data/db"]
    assert ids(api.get("/v2/groups/shop/apps").json()) == ["/shop/cart", "/shop/data/db"]
    assert api.get("/v2/groups/nosuch/apps").json() == []
    assert "tasks" in api.get("/v2/groups/shop/apps?embed=group.apps.tasks").json()[0]


@pytest.mark.usefixtures("shop")
def test_the_newest_version_of_a_group_is_kept(api: ApiClient, controller: FakeController) -> None:
    version = controller.machine.state.apps["/shop/cart"].version
    for base in ("/v2/groups", "/v2/groups/shop"):
        assert api.get(f"{base}/versions").json() == [version]
        assert set(api.get(f"{base}/versions/{version}").json()) == GROUP
        answer = api.get(f"{base}/versions/2000-01-01T00:00:00.000Z")
        assert answer.status_code == 404
        assert "does not exist in version" in answer.json()["message"]
    assert api.get("/v2/groups/nosuch/versions").status_code == 404


@pytest.mark.usefixtures("shop")
def test_a_groups_settings_are_changed_by_a_patch(api: ApiClient, controller: FakeController) -> None:
    before = dict(controller.machine.state.apps)
    answer = api.patch("/v2/groups/shop", json={"enforceRole": False})
    assert (answer.status_code, answer.content) == (200, b"")
    assert api.patch("/v2/groups/nosuch", json={"enforceRole": False}).status_code == 404
    for path, body, place in (
        ("/v2/groups/shop", {"enforceRole": True}, "/enforceRole"),
        ("/v2/groups/shop", {"enforceRole": "true"}, "/enforceRole"),
        ("/v2/groups/shop", {"apps": []}, "/apps"),
        ("/v2/groups/shop", [], "/"),
        ("/v2/groups/shop/data", {"enforceRole": False}, "/id"),
    ):
        refused = api.patch(path, json=body)
        assert (refused.status_code, refused.json()["details"][0]["path"]) == (422, place)
    assert controller.machine.state.apps == before


def test_a_body_that_is_no_json_is_told_where_and_why(api: ApiClient) -> None:
    answer = api.post("/v2/groups", content=b'{"id": "/a", }')
    assert answer.status_code == 400
    assert answer.json()["message"] == "Invalid JSON"
    assert [detail["path"] for detail in answer.json()["details"]] == ["/"]


def test_offers_that_did_not_do_are_not_kept_whole(api: ApiClient, controller: FakeController) -> None:
    put(controller, an_app("/a", mem=4096))
    controller.launch(an_offer())
    controller.handle(OffersReceived((an_offer(),)))
    (item,) = api.get("/v2/queue?embed=lastUnusedOffers").json()["queue"]
    assert item["lastUnusedOffers"][0]["offer"]["resources"] == []
