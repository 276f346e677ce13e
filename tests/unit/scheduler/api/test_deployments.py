"""``/v2/deployments`` and ``/v2/apps/{id}/versions``: as Marathon shows and does them, with what eratos adds."""

from __future__ import annotations

from typing import Any

import pytest
from support.api import ApiClient, an_api
from support.builders import an_app, an_offer
from support.controller import FakeController

from eratos.common import names
from eratos.marathon import definition
from eratos.scheduler.core import commands
from eratos.scheduler.core.events import FiguresSeen, Tick
from eratos.scheduler.core.gates import ServerFigures
from eratos.scheduler.core.records import VersionRecord


@pytest.fixture
def controller() -> FakeController:
    return FakeController(locks=True)


@pytest.fixture
def api(controller: FakeController) -> ApiClient:
    return ApiClient(an_api(controller))


def body(app_id: str = "/a", instances: int = 1, **fields: Any) -> dict[str, Any]:
    return an_app(app_id, instances, **fields).to_json()


def put(api: ApiClient, *apps: dict[str, Any]) -> dict[str, Any]:
    answer = api.put("/v2/apps", json=list(apps))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def rest(controller: FakeController) -> None:
    """Let all that is to start run, and all that is to stop end."""
    for number in range(50):
        controller.launch(an_offer())
        busy = [i for i in controller.machine.state.instances.values() if i.launching or i.stopping]
        if not busy:
            return
        for instance in busy:
            controller.update(instance.task_id, "KILLED" if instance.stopping else "RUNNING", uuid=f"{instance.task_id}-{number}")


def shown(api: ApiClient) -> dict[str, Any]:
    [found] = api.get("/v2/deployments", params={"embed": "eratos"}).json()
    [as_marathon] = api.get("/v2/deployments").json()
    assert as_marathon == {key: value for key, value in found.items() if key != "eratos"}
    return dict(found)


def steps(found: dict[str, Any]) -> list[list[tuple[str, str]]]:
    return [[(action["action"], action["app"]) for action in step["actions"]] for step in found["steps"]]


# The list


def test_a_new_app_is_started_and_scaled(api: ApiClient, controller: FakeController) -> None:
    answer = put(api, body(instances=2))
    found = shown(api)
    assert (found["id"], found["version"]) == (answer["deploymentId"], answer["version"])
    assert (found["affectedApps"], found["affectedPods"]) == (["/a"], [])
    assert steps(found) == [[("StartApplication", "/a")], [("ScaleApplication", "/a")]]
    assert (found["currentStep"], found["totalSteps"]) == (2, 2)
    assert found["currentActions"] == [{"action": "ScaleApplication", "app": "/a", "pod": None, "readinessCheckResults": []}]
    assert found["eratos"]["instancesLeft"] == {"/a": 2}
    assert found["eratos"]["deadline"] == "1970-01-01T00:46:40.000Z"
    assert api.get("/v2/apps/a").json()["app"]["deployments"] == [{"id": answer["deploymentId"]}]
    rest(controller)
    assert api.get("/v2/deployments").json() == []
    assert api.get("/v2/apps/a").json()["app"]["deployments"] == []


@pytest.mark.parametrize(
    ("after", "action"),
    [
        (body(instances=3), "ScaleApplication"),
        (body(cmd="new"), "RestartApplication"),
        (body(instances=3, cmd="new"), "RestartApplication"),
        (body(instances=0, cmd="new"), "ScaleApplication"),
    ],
)
def test_a_change_of_an_app_is_one_step(api: ApiClient, controller: FakeController, after: dict[str, Any], action: str) -> None:
    put(api, body())
    rest(controller)
    put(api, after)
    assert steps(shown(api)) == [[(action, "/a")]]


def test_steps_come_in_the_order_of_dependencies(api: ApiClient, controller: FakeController) -> None:
    group = {
        "id": "/g",
        "apps": [
            body("/g/web", dependencies=["/g/db"]),
            body("/g/db"),
            body("/g/old"),
            body("/g/older", dependencies=["/g/old"]),
        ],
    }
    assert api.put("/v2/groups", json=group).status_code == 200
    rest(controller)
    group["apps"] = [body("/g/web", cmd="new", dependencies=["/g/db"]), body("/g/db", cmd="new"), body("/g/x")]
    assert api.put("/v2/groups", json=group).status_code == 200
    found = shown(api)
    assert steps(found) == [
        [("StopApplication", "/g/older")],
        [("StopApplication", "/g/old")],
        [("StartApplication", "/g/x")],
        [("RestartApplication", "/g/db"), ("ScaleApplication", "/g/x")],
        [("RestartApplication", "/g/web")],
    ]
    assert found["currentStep"] == 1
    assert found["affectedApps"] == ["/g/db", "/g/old", "/g/older", "/g/web", "/g/x"]
    assert found["eratos"]["waiting"] == {"/g/old": ["/g/older"], "/g/web": ["/g/db"]}
    reason = api.get("/v2/explain/g/web").json()["reasons"][0]
    assert reason["reason"] == "Dependency" and "/g/db is at rest" in reason["message"]
    rest(controller)
    assert api.get("/v2/deployments").json() == []


def test_one_deployment_is_shown_while_it_goes_on_and_after(api: ApiClient, controller: FakeController) -> None:
    deployment_id = put(api, body())["deploymentId"]
    assert api.get(f"/v2/deployments/{deployment_id}").json() == shown(api)
    rest(controller)
    found = api.get(f"/v2/deployments/{deployment_id}").json()
    assert found["eratos"] == {
        "begunAt": "1970-01-01T00:16:40.000Z",
        "endedAt": "1970-01-01T00:16:40.000Z",
        "outcome": "done",
        "reason": "",
    }
    assert api.get("/v2/deployments", params={"ended": True}).json() == [found]
    answer = api.get("/v2/deployments/nosuch")
    assert (answer.status_code, answer.json()) == (404, {"message": "DeploymentPlan nosuch does not exist"})


# The lock


@pytest.mark.parametrize(
    ("method", "path", "json"),
    [
        ("PUT", "/v2/apps/a", {"instances": 7}),
        ("PUT", "/v2/apps", [body(cmd="new")]),
        ("PATCH", "/v2/apps/a", {"instances": 7}),
        ("PATCH", "/v2/apps", [{"id": "/a", "instances": 7}]),
        ("POST", "/v2/apps/a/restart", None),
        ("PUT", "/v2/groups", {"id": "/", "apps": [body(cmd="new")]}),
        ("PUT", "/v2/groups/", {"apps": []}),
        ("DELETE", "/v2/apps/a?force=false", None),
        ("DELETE", "/v2/apps/a/tasks?scale=true", None),
        ("POST", "/v2/tasks/delete?scale=true", "tasks"),
        ("PUT", "/v2/apps/a", "version"),
    ],
)
def test_a_locked_app_is_told_as_marathon_does(
    api: ApiClient, controller: FakeController, method: str, path: str, json: Any
) -> None:
    version = put(api, body())["version"]
    rest(controller)
    deployment_id = put(api, body(instances=3, cmd="other"))["deploymentId"]
    task = next(i.task_id for i in controller.machine.state.with_task())
    json = {"ids": [task]} if json == "tasks" else {"version": version} if json == "version" else json
    answer = api.request(method, path, json=json)
    assert answer.status_code == 409, answer.text
    assert answer.json() == {"message": commands.LOCKED, "deployments": [{"id": deployment_id}]}
    address = path.replace("force=false", "")
    forced = api.request(method, f"{address}{'&' if '?' in address else '?'}force=true", json=json)
    assert forced.status_code == 200, forced.text
    assert forced.headers["marathon-deployment-id"] == forced.json()["deploymentId"] != deployment_id


def test_deleting_an_app_forces_unless_told_otherwise_and_deleting_a_group_does_not(api: ApiClient) -> None:
    put(api, body("/g/a"))
    assert api.delete("/v2/groups/g").status_code == 409
    assert api.delete("/v2/apps/g/a").status_code == 200
    put(api, body("/g/b"))
    assert api.delete("/v2/groups/g", params={"force": True}).status_code == 200


# To take back, and to end


def test_a_deployment_is_taken_back_by_another(api: ApiClient, controller: FakeController) -> None:
    put(api, body(instances=2))
    rest(controller)
    deployment_id = put(api, body(instances=3, cmd="new"))["deploymentId"]
    answer = api.delete(f"/v2/deployments/{deployment_id}")
    assert answer.status_code == 200
    assert set(answer.json()) == {"version", "deploymentId"}
    assert answer.headers["marathon-deployment-id"] == answer.json()["deploymentId"]
    app = api.get("/v2/apps/a").json()["app"]
    assert (app["instances"], app.get("cmd")) == (2, None)
    ended = api.get(f"/v2/deployments/{deployment_id}").json()["eratos"]
    assert (ended["outcome"], ended["reason"]) == ("rolled back", f"as deployment {answer.json()['deploymentId']}")


def test_a_deployment_is_ended_without_a_way_back(api: ApiClient) -> None:
    deployment_id = put(api, body())["deploymentId"]
    answer = api.delete(f"/v2/deployments/{deployment_id}", params={"force": True})
    assert (answer.status_code, answer.content) == (202, b"")
    assert api.get("/v2/deployments").json() == []
    assert api.put("/v2/apps/a", json={"instances": 2}).status_code == 200


@pytest.mark.parametrize("force", [True, False])
def test_a_deployment_that_is_not_there_cannot_be_ended(api: ApiClient, force: bool) -> None:
    answer = api.delete("/v2/deployments/nosuch", params={"force": force})
    assert (answer.status_code, answer.json()) == (404, {"message": "DeploymentPlan nosuch does not exist"})


def test_what_failed_is_explained(api: ApiClient, controller: FakeController) -> None:
    put(api, body(cpus=64, labels={"ERATOS_DEPLOYMENT_DEADLINE_S": "60"}))
    controller.launch(an_offer())
    controller.now += 60
    controller.handle(Tick())
    assert api.get("/v2/deployments").json() == []
    [ended] = api.get("/v2/deployments", params={"ended": True}).json()
    assert ended["eratos"]["outcome"] == "failed"
    reason = api.get("/v2/explain/a").json()["reasons"][0]
    assert reason["reason"] == "DeploymentFailed"
    assert "came no further for 60 s" in reason["message"] and "still tried" in reason["message"]


# Versions


def test_versions_are_listed_newest_first_and_shown(api: ApiClient, controller: FakeController) -> None:
    first = put(api, body())["version"]
    rest(controller)
    controller.now += 60
    second = put(api, body(cmd="new"))["version"]
    assert api.get("/v2/apps/a/versions").json() == {"versions": [second, first]}
    former = api.get(f"/v2/apps/a/versions/{first}").json()
    assert former.pop("versionInfo") == {"lastScalingAt": first, "lastConfigChangeAt": first}
    assert definition.restore(former).image == "eratos/prime"
    assert (former["version"], "cmd" in former) == (first, False)
    answer = api.get("/v2/apps/a/versions/2020-01-01T00:00:00.000Z")
    assert (answer.status_code, answer.json()) == (
        404,
        {"message": "App '/a' does not exist in version 2020-01-01T00:00:00.000Z"},
    )
    assert api.get("/v2/apps/none/versions").status_code == 404
    assert api.get(f"/v2/apps/none/versions/{first}").status_code == 404


def test_a_definition_that_is_refused_today_is_still_shown_as_json(api: ApiClient, controller: FakeController) -> None:
    put(api, body())
    kept = controller.machine.state.versions["/a"]
    kept["2020-01-01T00:00:00.000Z"] = VersionRecord("/a", "2020-01-01T00:00:00.000Z", b'{"id": "/a", "strange": 1}')
    assert api.get("/v2/apps/a/versions/2020-01-01T00:00:00.000Z").json()["strange"] == 1
    answer = api.put("/v2/apps/a?force=true", json={"version": "2020-01-01T00:00:00.000Z"})
    assert answer.status_code == 404


def test_an_app_goes_back_to_a_version(api: ApiClient, controller: FakeController) -> None:
    first = put(api, body(instances=2))["version"]
    rest(controller)
    controller.now += 60
    put(api, body(instances=2, cmd="new"))
    rest(controller)
    answer = api.put("/v2/apps/a", json={"id": "/a", "version": first})
    assert answer.status_code == 200
    assert answer.json()["version"] == first
    app = api.get("/v2/apps/a").json()["app"]
    assert (app["version"], app["instances"], app.get("cmd")) == (first, 2, None)
    assert app["versionInfo"]["lastConfigChangeAt"] == app["versionInfo"]["lastScalingAt"] > first
    assert steps(shown(api)) == [[("RestartApplication", "/a")]]
    assert len(api.get("/v2/apps/a/versions").json()["versions"]) == 2


@pytest.mark.parametrize(
    ("json", "status", "words"),
    [
        ({"version": "2020-01-01T00:00:00.000Z"}, 404, "does not exist in version"),
        ({"version": "2020-01-01T00:00:00.000Z", "instances": 2}, 422, "may only be combined with id"),
        ({"version": 7}, 422, "must be a version"),
        ({"version": "2020-01-01T00:00:00.000Z", "id": "/b"}, 422, "correct one of them"),
    ],
)
def test_no_other_field_stands_beside_a_version_to_go_back_to(
    api: ApiClient, controller: FakeController, json: Any, status: int, words: str
) -> None:
    put(api, body())
    rest(controller)
    answer = api.put("/v2/apps/a", json=json)
    assert answer.status_code == status and words in answer.text
    many = api.put("/v2/apps", json=[{"id": "/a"} | json])
    assert many.status_code == 422


def test_scaling_keeps_the_version_and_its_time_is_noted(api: ApiClient, controller: FakeController) -> None:
    version = put(api, body())["version"]
    rest(controller)
    controller.now += 60
    assert api.put("/v2/apps/a", json={"instances": 2}).json()["version"] == version
    app = api.get("/v2/apps/a").json()["app"]
    assert app["version"] == version
    assert app["versionInfo"] == {"lastScalingAt": "1970-01-01T00:17:40.000Z", "lastConfigChangeAt": version}


# Pause, canaries, and what would happen


def test_a_deployment_is_paused_and_goes_on(api: ApiClient, controller: FakeController) -> None:
    put(api, body(instances=2))
    rest(controller)
    deployment_id = put(api, body(instances=2, cmd="new"))["deploymentId"]
    answer = api.post(f"/v2/deployments/{deployment_id}/pause")
    assert (answer.status_code, answer.json()) == (200, {"deploymentId": deployment_id})
    rest(controller)
    assert shown(api)["eratos"]["paused"] is True
    assert shown(api)["eratos"]["newInstancesAtMost"] == {"/a": 0}
    assert api.post(f"/v2/deployments/{deployment_id}/resume").status_code == 200
    assert shown(api)["eratos"]["paused"] is False
    rest(controller)
    assert api.get("/v2/deployments").json() == []


def test_a_canary_shows_its_gate_and_is_promoted(api: ApiClient, controller: FakeController) -> None:
    labels = {"ERATOS_CANARY": "1"}
    put(api, body(instances=3, labels=labels))
    rest(controller)
    deployment_id = put(api, body(instances=3, cmd="new", labels=labels))["deploymentId"]
    early = api.post(f"/v2/deployments/{deployment_id}/promote")
    assert early.status_code == 409 and "stands at a gate" in early.json()["message"]
    rest(controller)
    found = shown(api)["eratos"]
    assert (found["newInstancesAtMost"], list(found["atGateSince"])) == ({"/a": 1}, ["/a"])
    reason = api.get("/v2/explain/a").json()["reasons"][0]
    assert reason["reason"] == "Canary" and "promote" in reason["message"]
    assert api.post(f"/v2/deployments/{deployment_id}/promote").status_code == 200
    rest(controller)
    assert api.get("/v2/deployments").json() == []


def test_of_two_whole_fleets_it_is_shown_which_has_the_traffic(api: ApiClient, controller: FakeController) -> None:
    labels = {"ERATOS_BLUE_GREEN": "20%", "ERATOS_ROLLBACK": "true"}
    put(api, body(instances=2, labels=labels))
    rest(controller)
    controller.now += 1
    deployment_id = put(api, body(instances=2, cmd="new", labels=labels))["deploymentId"]
    assert api.get("/v2/explain/a").json()["reasons"][0]["message"] == (
        "2 of 2 instances are to be of the new version, beside all of the one before; 0% of the traffic goes to the new ones"
    )
    for share in (0, 20, 100):
        rest(controller)
        found = shown(api)["eratos"]
        assert (found["trafficOfNew"], found["newInstancesAtMost"]) == ({"/a": share}, {"/a": 2})
        assert list(found["atGateSince"]) == ["/a"]
        assert api.get("/v2/explain/a").json()["reasons"][0]["message"] == (
            f"2 of 2 instances are of the new version and ready; {share}% of the traffic goes to the new ones: "
            f"eratos deployment promote {deployment_id}"
        )
        assert api.post(f"/v2/deployments/{deployment_id}/promote").status_code == 200
    rest(controller)
    assert api.get("/v2/deployments").json() == []


def test_a_gate_that_is_judged_shows_what_was_counted(api: ApiClient, controller: FakeController) -> None:
    labels = {"ERATOS_CANARY": "1", "ERATOS_CANARY_HOLD_S": "60", "ERATOS_CANARY_ERRORS": "5%", "ERATOS_ROLLBACK": "true"}
    put(api, body(instances=3, labels=labels))
    rest(controller)
    controller.now += 1
    put(api, body(instances=3, cmd="new", labels=labels))
    rest(controller)

    def explained() -> str:
        return str(api.get("/v2/explain/a").json()["reasons"][0]["message"])

    assert shown(api)["eratos"]["gateFigures"]["/a"]["missing"] == "no balancer was asked yet"
    version = controller.machine.state.apps["/a"].version
    [new] = [i.task_id for i in controller.machine.state.instances.values() if i.version == version]
    for requests in (100, 140):
        row = ServerFigures("b1", names.service_id(new), requests, requests - 100, 20)
        controller.handle(FiguresSeen((row,), "b2 says nothing" if requests == 140 else ""))
        if requests == 100:
            assert explained().endswith(
                "0 of 0 requests failed, and an answer took 0 ms; the gate waits: they had 0 requests through balancers, "
                "of 50 (ERATOS_CANARY_REQUESTS)"
            )
    assert shown(api)["eratos"]["gateFigures"] == {
        "/a": {"requests": 40, "failed": 40, "answerMs": 20.0, "missing": "b2 says nothing", "overdue": False}
    }
    assert explained() == (
        "1 of 3 instances are of the new version and ready: at the balancers 40 of 40 requests failed, and an answer took 20 ms; "
        "the gate waits: b2 says nothing"
    )
    controller.now += 60
    controller.handle(Tick())
    assert shown(api)["eratos"]["gateFigures"]["/a"]["overdue"] is True
    assert "; its deployment fails at 1970-01-01T00:47:41.000Z otherwise" in explained()


@pytest.mark.parametrize("what", ["pause", "resume", "promote"])
def test_only_a_deployment_that_is_there_is_steered(api: ApiClient, what: str) -> None:
    answer = api.post(f"/v2/deployments/nosuch/{what}")
    assert (answer.status_code, answer.json()) == (404, {"message": "DeploymentPlan nosuch does not exist"})


def test_a_dry_run_shows_what_starts_and_stops_and_changes_nothing(api: ApiClient, controller: FakeController) -> None:
    new = api.post("/v2/apps", params={"dryRun": True}, json=body(instances=2))
    assert new.status_code == 200
    assert steps(new.json()) == [[("StartApplication", "/a")], [("ScaleApplication", "/a")]]
    assert not controller.machine.state.apps
    put(api, body(instances=2))
    rest(controller)
    version = controller.machine.state.apps["/a"].version

    def tried(method: str, path: str, json: Any) -> dict[str, Any]:
        answer = api.request(method, path, params={"dryRun": True}, json=json)
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["eratos"])

    scaled = tried("PUT", "/v2/apps/a", {"instances": 5})
    assert scaled == {"apps": {"/a": {"version": version, "starts": 3, "stops": 0, "keeps": 2}}, "lockedBy": {}, "heldBy": {}}
    [changed] = tried("PUT", "/v2/apps", [body(instances=1, cmd="new")])["apps"].values()
    assert changed["version"] > version
    assert (changed["starts"], changed["stops"], changed["keeps"]) == (1, 2, 0)
    [dropped] = tried("PUT", "/v2/groups", {"id": "/", "apps": []})["apps"].values()
    assert dropped == {"version": None, "starts": 0, "stops": 2, "keeps": 0}
    assert tried("PUT", "/v2/apps/a", body(instances=2)) == {"apps": {}, "lockedBy": {}, "heldBy": {}}
    assert api.get("/v2/deployments").json() == [] and not controller.machine.state.changes
    deployment_id = put(api, body(instances=3))["deploymentId"]
    assert tried("PUT", "/v2/apps/a", {"instances": 5})["lockedBy"] == {"/a": deployment_id}
    assert api.put("/v2/apps/a?dryRun=true", json={"mem": -1}).status_code == 422
    assert api.put("/v2/apps/a?dryRun=true", json={"version": version}).status_code == 422


# Versions of groups


def test_a_group_has_the_versions_of_its_apps_and_goes_back_to_one(api: ApiClient, controller: FakeController) -> None:
    first = put(api, body("/g/a"), body("/g/below/b", instances=2), body("/other"))["version"]
    rest(controller)
    controller.now += 60
    second = put(api, body("/g/a", cmd="new"))["version"]
    rest(controller)
    controller.now += 60
    third = put(api, body("/g/c"))["version"]
    rest(controller)
    assert api.get("/v2/groups/g/versions").json() == [third, second, first]
    assert api.get("/v2/groups/versions").json() == [third, second, first]
    assert api.get("/v2/groups/g/below/versions").json() == [first]
    former = api.get(f"/v2/groups/g/versions/{first}").json()
    assert (former["id"], former["version"]) == ("/g", first)
    assert [(app["id"], app.get("cmd")) for app in former["apps"]] == [("/g/a", None)]
    assert [app["id"] for app in former["groups"][0]["apps"]] == ["/g/below/b"]
    tried = api.put("/v2/groups/g?dryRun=true", json={"version": first}).json()
    assert {app_id: (app["starts"], app["stops"]) for app_id, app in tried["eratos"]["apps"].items()} == {
        "/g/a": (1, 1),
        "/g/c": (0, 1),
    }
    answer = api.put("/v2/groups", json={"id": "/g", "version": first})
    assert answer.status_code == 200
    assert steps(shown(api)) == [[("StopApplication", "/g/c")], [("RestartApplication", "/g/a")]]
    rest(controller)
    assert sorted(controller.machine.state.apps) == ["/g/a", "/g/below/b", "/other"]
    assert controller.machine.state.apps["/g/a"].cmd is None


@pytest.mark.parametrize(
    ("json", "status", "words"),
    [
        ({"version": "2020-01-01T00:00:00.000Z"}, 404, "Group '/g' does not exist in version"),
        ({"version": 5}, 422, "must be a version"),
        ({"version": "2020-01-01T00:00:00.000Z", "apps": []}, 422, "goes alone"),
        ({"version": "2020-01-01T00:00:00.000Z", "id": "/none"}, 404, "Group '/none' does not exist"),
    ],
)
def test_a_version_that_a_group_has_not_is_refused(
    api: ApiClient, controller: FakeController, json: Any, status: int, words: str
) -> None:
    put(api, body("/g/a"))
    rest(controller)
    answer = api.put("/v2/groups/g", json=json)
    assert answer.status_code == status and words in answer.text
    assert set(controller.machine.state.apps) == {"/g/a"}
    assert api.get("/v2/groups/g/versions/2020-01-01T00:00:00.000Z").status_code == 404
    assert api.get("/v2/groups/none/versions").status_code == 404


def test_a_group_is_as_its_apps_were_whenever_they_came_back_to_a_version(api: ApiClient, controller: FakeController) -> None:
    first = put(api, body("/g/a"))["version"]
    rest(controller)
    moments = []
    for number in range(2):
        controller.now += 60
        put(api, body("/g/a", cmd=f"run {number}"))
        rest(controller)
        controller.now += 60
        assert api.put("/v2/apps/g/a", json={"version": first}).status_code == 200
        rest(controller)
        moments.append(controller.machine.state.newest_version)
    assert set(moments) < set(api.get("/v2/groups/g/versions").json())
    for moment in moments:
        [app] = api.get(f"/v2/groups/g/versions/{moment}").json()["apps"]
        assert app["version"] == first
