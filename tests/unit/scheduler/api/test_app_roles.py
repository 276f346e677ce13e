"""Mesos roles of apps and groups: who may have which, what a group enforces; what tasks show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.api import ApiClient, an_api
from support.builders import a_machine, an_app, an_offer
from support.controller import FakeController

from eratos.scheduler.api import app_roles
from eratos.scheduler.api.app_roles import Roles
from eratos.scheduler.core.events import Subscribed

ROLES = ("prod", "dev", "ops")
JSON = dict[str, Any]


def definition(app_id: str, **fields: Any) -> JSON:
    return {"id": app_id, "cmd": "sleep 1000", "instances": 1, "portDefinitions": [], **fields}


@pytest.fixture
def controller() -> FakeController:
    controller = FakeController()
    controller.machine = a_machine(roles=ROLES)
    controller.handle(Subscribed("fw1", "m:5050"))
    return controller


@pytest.fixture
def api(controller: FakeController) -> ApiClient:
    return ApiClient(an_api(controller, role="prod", group_roles=ROLES[1:]))


def role(api: ApiClient, app_id: str) -> str:
    found: str = api.get(f"/v2/apps{app_id}").json()["app"]["role"]
    return found


def problems(answer: Any) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    return {each["path"]: each["errors"][0] for each in answer.json()["details"]}


@pytest.mark.parametrize(
    ("app_id", "stated", "problem"),
    [
        ("/web", None, ""),
        ("/web", "prod", ""),
        ("/web", "dev", "is dev, that of another group: must be prod, the scheduler's own, or left out"),
        ("/dev/in/web", "dev", ""),
        ("/dev/web", "prod", ""),
        (
            "/dev/web",
            "ops",
            "is ops, that of another group: must be prod, the scheduler's own, or dev, that of its own, or left out",
        ),
        ("/dev", "dev", "is dev, that of another group"),  # it lies in the root, which has no role
        ("/test/web", "test", "is test, for which this scheduler asks for no offers: leave it out, or see the"),
        ("/dev/web", "*", "must be prod, the scheduler's own role, or be left out"),
    ],
)
def test_an_app_has_the_schedulers_role_or_that_of_its_top_level_group(
    api: ApiClient, app_id: str, stated: str | None, problem: str
) -> None:
    answer = api.post("/v2/apps", json=definition(app_id, role=stated))
    if problem:
        assert problems(answer)["/role"].startswith(problem)
    else:
        assert answer.status_code == 201
        assert role(api, app_id) == (stated or "prod")


@pytest.mark.parametrize(
    ("accepted", "taken"), [(["*"], True), (["dev"], True), (["*", "dev"], True), (["prod"], False), (["*", "ops"], False)]
)
def test_resources_are_accepted_of_the_apps_own_role(api: ApiClient, accepted: list[str], taken: bool) -> None:
    answer = api.post("/v2/apps", json=definition("/dev/web", role="dev", acceptedResourceRoles=accepted))
    assert answer.status_code == (201 if taken else 422)
    if not taken:
        assert "it is offered resources of * and dev" in problems(answer)["/acceptedResourceRoles"]


def test_a_pods_role_is_its_own_too(api: ApiClient) -> None:
    pod = {
        "id": "/dev/pod",
        "containers": [{"name": "a", "image": {"kind": "DOCKER", "id": "busybox"}, "resources": {"cpus": 0.1, "mem": 32}}],
    }
    api.post("/v2/groups", json={"id": "/dev", "enforceRole": True})
    assert api.post("/v2/pods", json=pod).status_code == 201
    assert api.get("/v2/pods/dev/pod").json()["role"] == "dev"
    status = api.get("/v2/pods/dev/pod::status").json()
    assert {each["role"] for each in status["instances"]} == {"dev"}
    assert "/role" in problems(api.put("/v2/pods/dev/pod", json={**pod, "role": "prod"}))


def test_a_group_that_enforces_its_role_gives_it_to_new_apps_and_leaves_others(api: ApiClient) -> None:
    api.post("/v2/apps", json=definition("/dev/old"))
    assert api.get("/v2/groups/dev").json()["enforceRole"] is False
    answer = api.patch("/v2/groups/dev", json={"enforceRole": True})
    assert (answer.status_code, answer.content) == (200, b"")
    assert api.get("/v2/groups/dev").json()["enforceRole"] is True
    assert api.get("/v2/groups").json()["groups"][0]["enforceRole"] is True

    assert api.post("/v2/apps", json=definition("/dev/in/new")).json()["role"] == "dev"
    assert "expected one of: [dev]" in problems(api.post("/v2/apps", json=definition("/dev/x", role="prod")))["/role"]
    # What was there keeps its role, whatever else is changed of it, until it asks for the group's. There is no way back.
    for change in ({"cpus": 0.5}, {"cpus": 0.6, "role": "prod"}):
        assert api.patch("/v2/apps/dev/old", json=change).status_code == 200
    assert api.put("/v2/apps/dev/old", json=definition("/dev/old", instances=3)).status_code == 200
    assert role(api, "/dev/old") == "prod"
    assert api.patch("/v2/apps/dev/old", json={"role": "dev"}).status_code == 200
    assert api.put("/v2/apps/dev/old", json=definition("/dev/old", cpus=0.7)).status_code == 200
    assert role(api, "/dev/old") == "dev"
    assert "/role" in problems(api.patch("/v2/apps/dev/old", json={"role": "prod"}))

    assert api.patch("/v2/groups/dev", json={"enforceRole": None}).status_code == 200
    assert api.get("/v2/groups/dev").json()["enforceRole"] is True, "nothing was said of it"
    assert api.patch("/v2/groups/dev", json={"enforceRole": False}).status_code == 200
    assert api.patch("/v2/apps/dev/old", json={"role": "prod"}).status_code == 200


def test_a_group_comes_with_what_it_enforces(api: ApiClient) -> None:
    group = {"id": "/dev", "enforceRole": True, "groups": [{"id": "in", "apps": [definition("web")]}], "apps": [definition("db")]}
    assert api.post("/v2/groups", json=group).status_code == 201
    assert {role(api, app_id) for app_id in ("/dev/db", "/dev/in/web")} == {"dev"}
    # It may be sent back as it is shown, and as it came.
    before = api.get("/v2/apps/dev/db").json()["app"]["version"]
    shown = api.get("/v2/groups/dev").json()
    for document in (shown, group):
        assert api.put("/v2/groups/dev", json={**document, "version": None}).status_code == 200
    assert api.get("/v2/apps/dev/db").json()["app"]["version"] == before
    without = {key: value for key, value in group.items() if key != "enforceRole"}
    assert api.put("/v2/groups/dev", json=without).status_code == 200
    assert api.get("/v2/groups/dev").json()["enforceRole"] is True


def test_an_earlier_version_of_a_group_has_the_roles_of_before(api: ApiClient) -> None:
    first = api.put("/v2/groups/dev", json={"apps": [definition("db")]}).json()["version"]
    assert api.patch("/v2/apps/dev/db", json={"role": "dev"}).status_code == 200
    assert api.put("/v2/groups/dev", json={"version": first}).status_code == 200
    assert role(api, "/dev/db") == "prod"


def test_an_earlier_version_of_an_app_is_held_to_what_its_group_enforces(api: ApiClient) -> None:
    first = api.put("/v2/apps/dev/db", json=definition("/dev/db")).json()["version"]
    api.put("/v2/apps/dev/db", json={"role": "dev"})
    assert api.patch("/v2/groups/dev", json={"enforceRole": True}).status_code == 200
    for address, place in (("/v2/apps/dev/db", "/role"), ("/v2/groups/dev", "/role")):
        found = problems(api.put(address, json={"version": first}))
        assert found[place] == "got prod, expected one of: [dev], as the group /dev enforces its role (enforceRole)"
    assert role(api, "/dev/db") == "dev"
    assert api.patch("/v2/groups/dev", json={"enforceRole": False}).status_code == 200
    assert api.put("/v2/apps/dev/db", json={"version": first}).status_code == 200
    assert role(api, "/dev/db") == "prod"


@pytest.mark.parametrize(
    ("method", "path", "body", "problem"),
    [
        ("post", "/v2/groups", {"id": "/test", "enforceRole": True}, "of /test is refused: this scheduler asks for no offers"),
        ("put", "/v2/groups", {"id": "/", "groups": [{"id": "test", "enforceRole": True}]}, "of /test is refused"),
        ("post", "/v2/groups", {"id": "/dev/in", "enforceRole": True}, "can only be set for top-level groups, and /dev/in is"),
        ("put", "/v2/groups", {"id": "/", "enforceRole": True}, "can only be set for top-level groups, and / is not"),
        ("post", "/v2/groups", {"id": "/dev", "enforceRole": "yes"}, "must be true or false, not text"),
        ("patch", "/v2/groups/test", {"enforceRole": True}, "is refused: this scheduler asks for no offers for the role test"),
        ("patch", "/v2/groups/test", {"enforceRole": 1}, "must be true or false, not"),
        (
            "put",
            "/v2/groups/test",
            {"enforceRole": False, "groups": [{"id": "in", "enforceRole": True}]},
            "can only be set for top-level groups",
        ),
    ],
)
def test_a_role_that_cannot_be_enforced_is_refused(api: ApiClient, method: str, path: str, body: JSON, problem: str) -> None:
    api.post("/v2/groups", json={"id": "/test"})
    found = problems(api.request(method, path, json=body))
    [(place, message)] = [(place, said) for place, said in found.items() if place.endswith("/enforceRole")]
    assert message.startswith(problem), (place, message)


def test_whether_a_role_is_enforced_does_not_change_together_with_apps(api: ApiClient) -> None:
    """As in Marathon (Group.scala, disallowEnforceRoleChangeIfServicesChanged)."""
    group = {"id": "/dev", "apps": [definition("db")]}
    api.post("/v2/groups", json=group)
    for apps in ([definition("db", cpus=0.5)], [definition("db", instances=2)], [definition("db"), definition("web")], []):
        answer = api.put("/v2/groups/dev", json={**group, "apps": apps, "enforceRole": True})
        assert "cannot be changed together with apps" in problems(answer)["/enforceRole"]
    assert api.put("/v2/groups/dev", json={**group, "enforceRole": True}).status_code == 200
    assert api.get("/v2/groups/dev").json()["enforceRole"] is True


def test_an_app_whose_role_is_gone_takes_the_schedulers_with_its_next_change() -> None:
    roles, before = Roles("prod"), an_app("/dev/web", role="dev")
    known = {"/dev/web": before}
    [kept] = app_roles.settled(known, (an_app("/dev/web", cpus=0.5),), roles)
    assert kept.role is None and not list(app_roles.problems(before, kept, roles))
    [sent] = app_roles.settled(known, (an_app("/dev/web", cpus=0.5, role="dev"),), roles)
    assert [problem.path for problem in app_roles.problems(before, sent, roles)] == ["/role"]


def test_a_task_shows_the_role_that_it_was_launched_in(controller: FakeController, api: ApiClient) -> None:
    api.post("/v2/apps", json=definition("/web"))
    api.post("/v2/apps", json=definition("/dev/web"))
    controller.launch(replace(an_offer("a1"), role="prod"))
    api.patch("/v2/apps/dev/web", json={"role": "dev"})
    controller.launch(replace(an_offer("a2"), role="dev"))
    tasks = [(task["appId"], task["role"]) for task in api.get("/v2/tasks").json()["tasks"]]
    assert sorted(tasks) == [("/dev/web", "dev"), ("/dev/web", "prod"), ("/web", "prod")]


@pytest.fixture
def strict(controller: FakeController) -> ApiClient:
    """An API whose new groups enforce their role."""
    return ApiClient(an_api(controller, role="prod", group_roles=ROLES[1:], enforces_new=True))


def enforces(api: ApiClient, group: str) -> bool:
    return bool(api.get(f"/v2/groups{group}").json()["enforceRole"])


def test_a_new_top_level_group_enforces_its_role_where_the_scheduler_says_so(strict: ApiClient) -> None:
    assert strict.post("/v2/apps", json=definition("/dev/in/web")).status_code == 201
    assert (role(strict, "/dev/in/web"), enforces(strict, "/dev"), enforces(strict, "/dev/in")) == ("dev", True, False)
    assert "expected one of: [dev]" in problems(strict.post("/v2/apps", json=definition("/dev/x", role="prod")))["/role"]
    assert strict.post("/v2/groups", json={"id": "/ops"}).status_code == 201
    assert enforces(strict, "/ops")
    assert strict.post("/v2/apps", json=definition("/web")).status_code == 201
    assert role(strict, "/web") == "prod"  # the root has no role


def test_a_new_group_may_say_that_it_enforces_nothing(strict: ApiClient) -> None:
    made = strict.put("/v2/groups", json={"id": "/dev", "enforceRole": False, "apps": [definition("web")]})
    assert made.status_code == 200, made.text
    assert (role(strict, "/dev/web"), enforces(strict, "/dev")) == ("prod", False)
    # Nor do those that were there before.
    assert strict.post("/v2/apps", json=definition("/dev/other")).status_code == 201
    assert role(strict, "/dev/other") == "prod"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v2/apps", definition("/test/web")),
        ("POST", "/v2/apps?dryRun=true", definition("/test/web")),
        ("POST", "/v2/groups", {"id": "/test"}),
        ("PUT", "/v2/groups", {"id": "/", "groups": [{"id": "test", "apps": [definition("web")]}]}),
    ],
)
def test_a_new_group_whose_role_nobody_offers_is_refused(strict: ApiClient, method: str, path: str, body: JSON) -> None:
    said = problems(strict.request(method, path, json=body))["/enforceRole"]
    assert said.startswith("of /test, which is new, is true unless stated") and "--group-roles" in said
    assert strict.get("/v2/groups/test").status_code == 404
    assert strict.put("/v2/groups", json={"id": "/test", "enforceRole": False}).status_code == 200
