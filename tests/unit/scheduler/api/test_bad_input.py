"""What is badly formed or cannot be: answered in Marathon's shape, never with a 500, and nothing is changed."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from support.api import ApiClient, an_api
from support.builders import a_machine, an_offer
from support.builders import an_app as parsed
from support.controller import FakeController
from support.records import an_instance

from eratos.scheduler.core.actions import Put
from eratos.scheduler.core.events import PutApps
from eratos.scheduler.core.records import APPS, CHANGES, DEPLOYMENTS, GROUPS, INSTANCES, VERSIONS
from eratos.scheduler.store import codec
from eratos.scheduler.store.memory import MemoryStore

LONG_AGO = "2000-01-01T00:00:00.000Z"
POD = {"id": "/pod", "containers": [{"name": "c", "image": {"kind": "DOCKER", "id": "x"}, "resources": {"cpus": 0.1, "mem": 32}}]}


def an_app(app_id: str, **fields: Any) -> dict[str, Any]:
    return {"id": app_id, "cmd": "sleep 1000", "instances": 1, **fields}


def check(answer: Any, status: int, path: str | None = None) -> None:
    """Hold a refusal against Marathon's shape: a message, and details of path and errors where the body is at fault."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) <= {"message", "details", "deployments"}
    assert isinstance(body["message"], str) and body["message"]
    for detail in body.get("details", ()):
        assert set(detail) == {"path", "errors"}
        assert detail["errors"] and all(isinstance(error, str) and error for error in detail["errors"])
    if path is not None:
        assert path in [detail["path"] for detail in body["details"]]


@pytest.fixture
def shop(api: ApiClient, controller: FakeController) -> None:
    """An app and a group with apps that run, and a pod."""
    made = [
        api.post("/v2/apps", json=an_app("/app")),
        api.put("/v2/groups/shop", json={"apps": [an_app("cart"), an_app("db")], "dependencies": ["/app"]}),
        api.post("/v2/pods", json=POD),
    ]
    assert {answer.status_code for answer in made} == {200, 201}
    for task in controller.launch(an_offer(cpus=32, mem=4096)):
        controller.update(task, "RUNNING")


# Bodies that are no JSON, or too much of it

#: Every operation that reads a body, at an address that is there.
READING = [
    *(("POST", "/v2/apps"), ("PUT", "/v2/apps"), ("PATCH", "/v2/apps"), ("PUT", "/v2/apps/app"), ("PATCH", "/v2/apps/app")),
    *(("POST", "/v2/groups"), ("POST", "/v2/groups/new"), ("PUT", "/v2/groups"), ("PUT", "/v2/groups/shop")),
    *(("PATCH", "/v2/groups/shop"), ("POST", "/v2/pods"), ("PUT", "/v2/pods/pod"), ("DELETE", "/v2/pods/pod::instances")),
    *(("POST", "/v2/tasks/delete"), ("POST", "/logging")),
]
#: name -> the body, and the statuses of which one is right
BODIES: dict[str, tuple[bytes, set[int]]] = {
    "50 MB": (b'{"id": "' + b"a" * 50_000_000 + b'"}', {413}),
    "invalid UTF-8": (b'{"id": "/\xff"}', {400}),
    "half a character": (b'{"id": "/\\ud800", "cmd": "\\udfff"}', {400, 422}),
    "objects nested 10,000 deep": (b'{"groups":' * 10_000 + b"1" + b"}" * 10_000, {400, 422}),
    "lists nested 10,000 deep": (b"[" * 10_000 + b"]" * 10_000, {400, 422}),
    "lists nested 10,000 deep without an end": (b"[" * 10_000, {400, 422}),
    "a key twice": (b'{"id": "/x", "id": "/y"}', {400}),
    "NaN": (b'{"cpus": NaN}', {400}),
    "a number beyond a double": (b'{"cpus": 1e999}', {400, 422}),
    "a number of 5,000 digits": (b'{"instances": ' + b"9" * 5000 + b"}", {400, 422}),
    "a byte order mark": (b"\xef\xbb\xbf{}", {400}),
    "nothing": (b"", {400, 422}),
    "null": (b"null", {400, 422}),
    "a number": (b"5", {400, 422}),
    "a text": (b'"/app"', {400, 422}),
    "a list of a number": (b"[5]", {400, 422}),
    "ids of numbers": (b'{"id": 5, "ids": [5]}', {400, 422}),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.usefixtures("shop")
def test_no_operation_takes_such_a_body(api: ApiClient, controller: FakeController, name: str) -> None:
    body, statuses = BODIES[name]
    before = len(controller.commands)
    for method, address in READING:
        answer = api.request(method, address, content=body)
        assert answer.status_code in statuses, f"{method} {address}: {answer.text[:300]}"
        check(answer, answer.status_code)
    assert len(controller.commands) == before


# Bodies that ask for what cannot be

#: what is asked for -> method, address, body, status, path of the problem
ASKED: dict[str, tuple[str, str, Any, int, str | None]] = {
    "an app that waits for itself": ("POST", "/v2/apps", an_app("/new", dependencies=["new"]), 422, "/dependencies(0)"),
    "apps that wait for each other": (
        "PUT", "/v2/apps", [an_app("/a", dependencies=["/b"]), an_app("/b", dependencies=["/a"])], 422, "/dependencies",
    ),
    "an app that waits for what waits for it": ("PUT", "/v2/apps/app", {"dependencies": ["/shop"]}, 422, "/dependencies"),
    "a group that waits for itself": ("PUT", "/v2/groups/shop", {"dependencies": ["/shop"]}, 422, "/dependencies"),
    "groups that wait for each other": (
        "POST", "/v2/groups",
        {"id": "/new", "groups": [
            {"id": "a", "dependencies": ["../b"], "apps": [an_app("x")]},
            {"id": "b", "dependencies": ["../a"], "apps": [an_app("y")]},
        ]},
        422, "/dependencies",
    ),
    "an app below an app": ("POST", "/v2/apps", an_app("/app/below"), 422, "/id"),
    "an app below an app, in one document": ("PUT", "/v2/apps", [an_app("/new"), an_app("/new/below")], 422, "/id"),
    "a pod below an app": ("POST", "/v2/pods", {**POD, "id": "/app/pod"}, 422, "/id"),
    "a group below an app": ("POST", "/v2/groups", {"id": "/app/below"}, 422, "/id"),
    "a group in place of an app": ("POST", "/v2/groups", {"id": "/app"}, 409, None),
    "an app in place of a group": ("POST", "/v2/apps", an_app("/shop"), 422, "/id"),
    "an app in place of a pod": ("PUT", "/v2/apps/pod", an_app("/pod"), 422, "/id"),
    **{
        f"an id that ends in {last}, of {what}": (method, address, {**body, "id": f"/new/{last}"}, 422, "/id")
        for last in ("tasks", "versions", "restart")
        for what, method, address, body in (
            ("an app", "POST", "/v2/apps", an_app("")),
            ("an app put", "PUT", f"/v2/apps/%2Fnew%2F{last}", an_app("")),
            ("a group", "POST", "/v2/groups", {}),
            ("a group put", "PUT", "/v2/groups", {"apps": []}),
            ("a pod", "POST", "/v2/pods", POD),
        )
    },
    "an app in a version that it never had": ("PUT", "/v2/apps/app", {"version": LONG_AGO}, 404, None),
    "an app in what is no version": ("PUT", "/v2/apps/app", {"version": "yesterday"}, 404, None),
    "an app in a version that is a number": ("PUT", "/v2/apps/app", {"version": 5}, 422, "/version"),
    "an app that is not there in a version": ("PUT", "/v2/apps/nosuch", {"version": LONG_AGO}, 404, None),
    "a group in a version that it never had": ("PUT", "/v2/groups/shop", {"version": LONG_AGO}, 404, None),
    "a group in what is no version": ("PUT", "/v2/groups/shop", {"version": "yesterday"}, 404, None),
    "a group in a version that is a number": ("PUT", "/v2/groups/shop", {"version": 5}, 422, "/version"),
    "a group that is not there in a version": ("PUT", "/v2/groups/nosuch", {"version": LONG_AGO}, 404, None),
    "an app's version beside other fields": ("PUT", "/v2/apps/app", {"version": LONG_AGO, "cmd": "x"}, 422, "/version"),
    "the same by PATCH": ("PATCH", "/v2/apps/app", {"version": LONG_AGO, "instances": 2}, 422, "/version"),
    "the same of several": ("PUT", "/v2/apps", [{"id": "/app", "version": LONG_AGO, "cmd": "x"}], 422, "(0)/version"),
    "a group's version beside other fields": ("PUT", "/v2/groups/shop", {"version": LONG_AGO, "apps": []}, 422, "/version"),
    "a group's version beside what it depends on": (
        "PUT", "/v2/groups/shop", {"version": LONG_AGO, "dependencies": []}, 422, "/version",
    ),
    "scaleBy beside other fields": ("PUT", "/v2/groups/shop", {"scaleBy": 2, "apps": []}, 422, "/scaleBy"),
    "instances as a text": ("POST", "/v2/apps", an_app("/new", instances="2"), 422, "/instances"),
    "cpus as a text": ("PUT", "/v2/apps/app", {"cpus": "0.5"}, 422, "/cpus"),
    "a port as a text": ("PUT", "/v2/apps/app", {"portDefinitions": [{"port": "80"}]}, 422, "/portDefinitions(0)/port"),
    "a truth value as a text": ("PUT", "/v2/apps/app", {"requirePorts": "true"}, 422, "/requirePorts"),
    "scaleBy as a text": ("PUT", "/v2/groups/shop", {"scaleBy": "2"}, 422, "/scaleBy"),
    "a pod's instances as a text": (
        "PUT", "/v2/pods/pod", {**POD, "scaling": {"kind": "fixed", "instances": "2"}}, 422, "/scaling/instances",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.usefixtures("shop")
def test_what_cannot_be_is_refused_with_its_place(api: ApiClient, controller: FakeController, name: str) -> None:
    method, address, body, status, path = ASKED[name]
    state = controller.machine.state
    before = dict(state.apps), dict(state.groups)
    check(api.request(method, address, json=body), status, path)
    assert (state.apps, state.groups) == before


@pytest.mark.parametrize(
    "address",
    [
        *("/v2/apps/app/versions/yesterday", f"/v2/apps/app/versions/{LONG_AGO}", f"/v2/apps/nosuch/versions/{LONG_AGO}"),
        *("/v2/groups/versions/yesterday", f"/v2/groups/versions/{LONG_AGO}", f"/v2/groups/shop/versions/{LONG_AGO}"),
        *(f"/v2/pods/pod::versions/{LONG_AGO}", "/v2/pods/pod::versions/yesterday", "/v2/deployments/yesterday"),
        *("/v2/apps/%ff", "/v2/apps/a%00b", "/v2/groups/%ff", "/v2/pods/%ff::status", "/v2/deployments/%00"),
        *("/v2/apps/" + "a" * 5000, "/v2/groups/" + "..%2F" * 20),
    ],
)
@pytest.mark.usefixtures("shop")
def test_what_is_not_there_is_not_found(api: ApiClient, address: str) -> None:
    check(api.get(address), 404)


# What vanishes while a deployment goes on


@pytest.mark.usefixtures("shop")
def test_a_deployment_of_an_app_that_is_deleted_meanwhile(api: ApiClient, controller: FakeController) -> None:
    controller.locks = True
    api.put("/v2/apps/app?force=true", json={"cmd": "other"})
    (older,) = [found["id"] for found in api.get("/v2/deployments").json() if found["affectedApps"] == ["/app"]]
    gone = api.delete("/v2/apps/app").json()["deploymentId"]
    for method, address in (
        *(("GET", f"/v2/deployments/{older}"), ("DELETE", f"/v2/deployments/{older}")),
        *(("POST", f"/v2/deployments/{older}/{what}") for what in ("pause", "resume", "promote")),
        *(("DELETE", "/v2/apps/app"), ("POST", "/v2/apps/app/restart"), ("GET", "/v2/apps/app/tasks")),
        *(("DELETE", "/v2/apps/app/tasks"), ("GET", "/v2/apps/app/versions"), ("DELETE", "/v2/queue/app/delay")),
    ):
        answer = api.request(method, address)
        if (method, address) == ("GET", f"/v2/deployments/{older}"):
            assert answer.json()["eratos"]["outcome"] == "superseded", "how it ended is remembered"
        else:
            check(answer, 404)
    check(api.put("/v2/apps/app", json={"version": LONG_AGO}), 404)
    check(api.put("/v2/apps/app", json=an_app("/app")), 409)  # locked by its own deletion, not half made
    # What is deleted may be wanted again while it goes, and that taken back in its turn.
    back = api.delete(f"/v2/deployments/{gone}")
    assert back.status_code == 200, back.text
    assert api.get("/v2/apps/app").status_code == 200
    for each in api.get("/v2/deployments").json():
        assert api.delete(f"/v2/deployments/{each['id']}?force=true").status_code == 202
    controller.machine.state.check()


# Records that a later version wrote


@pytest.mark.parametrize("kind", [APPS, VERSIONS, DEPLOYMENTS, CHANGES, GROUPS, INSTANCES])
def test_a_record_of_a_newer_schema_is_set_aside_and_breaks_no_answer(kind: str) -> None:
    records: dict[str, bytes] = {}
    store = MemoryStore(records)
    first = FakeController()
    writes = [*first.handle_writes(PutApps((parsed("/shop/cart"), parsed("/other"))))]
    store.write([*writes, Put(INSTANCES + an_instance(1).instance_id, an_instance(1))])
    key = next(key for key in records if key.startswith(kind) and (kind == DEPLOYMENTS or "shop" in key))
    records[key] = json.dumps({"schema": codec.SCHEMA + 1, "record": {"what": "nobody knows"}}).encode()
    later = FakeController()
    later.machine = a_machine(store.load())
    ids = itertools.count()
    later.machine.step.new_id = lambda: f"later-{next(ids)}"
    assert next(iter(later.machine.state.spoilt)) == key
    api = ApiClient(an_api(later))
    there = kind != APPS
    for address in ("/v2/apps/shop/cart", "/v2/apps/shop/cart/versions", "/v2/apps/shop/cart/tasks", "/v2/explain/shop/cart"):
        answer = api.get(address)
        assert answer.status_code == 200 if there else check(answer, 404) is None
    for address in ("/v2/apps", "/v2/groups", "/v2/groups/versions", "/v2/deployments", "/v2/tasks", "/v2/queue", "/metrics"):
        assert api.get(address).status_code == 200, address
    assert api.put("/v2/apps/other?force=true", json={"cmd": "x"}).status_code in (200, 201)
    later.machine.state.check()
    assert json.loads(records[key])["schema"] == codec.SCHEMA + 1, "it stays as it is"
