"""Each endpoint for each role, generated from the OpenAPI document: one without a role fails here."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from support.api import ApiClient
from support.builders import a_job, an_app, an_offer
from support.controller import FakeController

from eratos.common.browser_guard import BrowserGuard
from eratos.scheduler.access import credentials
from eratos.scheduler.access.authenticator import Authenticator, CredentialsFile
from eratos.scheduler.access.roles import Grant
from eratos.scheduler.api.addresses import Addresses
from eratos.scheduler.api.caller import EVERYWHERE, NOBODY_ASKED, ROLE_FIELD
from eratos.scheduler.api.document import OPERATIONS
from eratos.scheduler.api.gate import Access
from eratos.scheduler.api.server import create_api
from eratos.scheduler.core.events import PutApps, PutJob, PutQuota, StartRun
from eratos.scheduler.core.records import QuotaRecord, VolumeRecord

#: Who has what. The apps are /shop/cart and /bank/vault, and the requests below are about /shop/cart.
PEOPLE = {
    "stranger": "",
    "watcher": "view:/",
    "shop-watcher": "view:/shop",
    "bank-watcher": "view:/bank",
    "deployer": "deploy:/",
    "shop-deployer": "deploy:/shop",
    "bank-deployer": "deploy:/bank",
    "operator": "operate:/",
    "shop-operator": "operate:/shop",
}
#: Role of an endpoint, as the document has it -> who may use it for /shop/cart.
MAY = {
    "none": set(PEOPLE),
    "view": set(PEOPLE) - {"stranger", "bank-watcher", "bank-deployer"},
    "view:/": {"watcher", "deployer", "operator"},
    "deploy": {"deployer", "shop-deployer", "operator", "shop-operator"},
    "operate": {"operator"},  # who operates the group around /shop
    "operate:/": {"operator"},
}
#: Endpoints of the role "view" that are about no app: whoever may view anything may use them, and lists show what they may view.
ABOUT_NO_APP = {
    *("/v2/apps", "/v2/tasks", "/v2/info", "/v2/leader", "/v2/deployments", "/v2/queue", "/v2/plugins"),
    *("/v2/pods", "/v2/pods/::status", "/v2/needs", "/v1/jobs", "/v0/scheduled-jobs", "/v2/quotas", "/v2/volumes", "/v2/moves"),
    *("/v2/logs", "/v2/overview", "/v2/balancers", "/v2/requests/{request_id}", "/v2/usage", "/v2/whoami"),
    *("/v2/events", "/v2/groups", "/v2/groups/apps", "/v2/groups/versions", "/v2/groups/versions/{version}"),
}
#: What says which app a request is about, where its address does not.
QUERIES = {"/v2/tunnels/exec": "?name=/shop/cart", "/v2/tunnels/forward": "?app=/shop/cart", "/v2/usage": "?app=/none"}
APP = {"id": "/shop/cart", "cmd": "sleep 1000", "cpus": 0.1, "mem": 32, "instances": 2}
CONTAINER = {"name": "web", "resources": {"cpus": 0.1, "mem": 32}, "image": {"id": "eratos/hello"}}
POD = {"id": "/shop/cart", "containers": [CONTAINER]}
JOB = {"id": "shop.new", "run": {"cmd": "x"}}
BODIES: dict[tuple[str, str], Any] = {
    ("post", "/v1/jobs"): JOB,
    ("put", "/v1/jobs/{job_id}"): {**JOB, "id": "shop.cart"},
    ("post", "/v0/scheduled-jobs"): JOB,
    ("put", "/v0/scheduled-jobs/{job_id}"): {**JOB, "id": "shop.cart"},
    ("post", "/v1/jobs/{job_id}/schedules"): {"id": "new", "cron": "* * * * *"},
    ("put", "/v1/jobs/{job_id}/schedules/{schedule_id}"): {"cron": "* * * * *"},
    ("post", "/v2/pods"): {**POD, "id": "/shop/new"},
    ("put", "/v2/pods/{pod_id}"): POD,
    ("delete", "/v2/pods/{pod_id}::instances"): ["shop_cart.instance-x"],
    ("post", "/v2/apps"): {**APP, "id": "/shop/new"},
    ("put", "/v2/apps"): [APP],
    ("patch", "/v2/apps"): [APP],
    ("put", "/v2/apps/{app_id}"): APP,
    ("patch", "/v2/apps/{app_id}"): APP,
    ("patch", "/v2/groups/{group_id}"): {"enforceRole": False},
    ("put", "/v2/quotas/{group_id}"): {"instances": 100},
    ("post", "/v2/moves"): {"app": "/shop/cart"},
    ("put", "/v2/drains/{host}"): {"deadlineSeconds": 600},
    ("post", "/logging"): {"logger": "eratos.test", "level": "info"},
    ("post", "/v2/groups"): {"id": "/shop/new", "apps": [{**APP, "id": "x"}]},
    ("post", "/v2/groups/{group_id}"): {"id": "/shop/new", "apps": [{**APP, "id": "x"}]},
    ("put", "/v2/groups"): {"id": "/shop", "apps": [{**APP, "id": "cart"}]},
    ("put", "/v2/groups/{group_id}"): {"id": "/shop", "apps": [{**APP, "id": "cart"}]},
}
TOKENS = {name: credentials.new_token() for name in PEOPLE}


def credentials_file(path: Any) -> CredentialsFile:
    lines = [
        credentials.line(name, "token", credentials.token_entry(TOKENS[name]), tuple(map(Grant.parse, roles.split())))
        for name, roles in PEOPLE.items()
        if roles
    ]
    path.write_text("".join(lines))
    path.chmod(0o600)
    return CredentialsFile(path)


@dataclass
class World:
    """An API with two apps, and with all else that an address may be about."""

    app: FastAPI
    controller: FakeController
    changed: bool = True  #: whether anything may be otherwise than :meth:`begin` leaves it

    def begin(self) -> None:
        """Have all be as at the beginning; what was refused has changed nothing."""
        self.controller.commands.clear()
        if not self.changed:
            return
        self.changed = False
        self.controller.machine = FakeController().machine
        self.controller.submit(PutApps((an_app("/shop/cart", 1), an_app("/bank/vault", 1))))
        self.controller.submit(PutJob(a_job("shop.cart", {}), create_only=True))
        self.controller.submit(StartRun("shop.cart"))
        self.controller.submit(PutQuota(QuotaRecord("/shop", instances=100)))
        self.controller.launch(an_offer())
        volume = VolumeRecord("eratos-shop_cart-1", "/shop/cart", "s1", "data", 10, "a1", "host-a1", 1.0)
        self.controller.machine.state.keep_volume(volume)
        # A deployment of /shop/cart alone.
        self.controller.submit(PutApps((an_app("/shop/cart", 3),)))
        self.controller.commands.clear()

    def address(self, path: str) -> str:
        """Return an endpoint's address that is about /shop/cart."""
        state = self.controller.machine.state
        task = next(i.task_id for i in state.instances.values() if i.app_id == "/shop/cart" and not i.waiting)
        deployment = next(each.deployment_id for each in state.deployments.values() if each.app_ids == {"/shop/cart"})
        ids = {"app_id": "shop/cart", "pod_id": "shop/cart", "group_id": "shop", "instance_id": task.partition("._app.")[0]}
        ids |= {"host": "agent1", "name": "b1", "volume_id": "eratos-shop_cart-1", "request_id": "request-1", "task_id": task}
        ids |= {"job_id": "shop.cart", "schedule_id": "s0", "run_id": state.runs_of("shop.cart")[0].record.run_id}
        ids |= {"deployment_id": deployment, "version": state.apps["/shop/cart"].version}
        return path.format(**ids)

    def body(self, method: str, path: str) -> Any:
        """Return what an endpoint is sent."""
        state = self.controller.machine.state
        tasks = [i.task_id for i in state.instances.values() if i.app_id == "/shop/cart" and not i.waiting]
        return BODIES.get((method, path), {"ids": tasks} if path == "/v2/tasks/delete" else None)


@pytest.fixture(scope="module")
def _world(tmp_path_factory: pytest.TempPathFactory) -> World:
    controller = FakeController()
    access = Access(
        BrowserGuard.of([".test"]), Authenticator(credentials_file(tmp_path_factory.mktemp("access") / "credentials"))
    )
    return World(create_api(controller, access=access), controller)


@pytest.fixture
def world(_world: World) -> Iterator[World]:
    _world.begin()
    yield _world
    _world.changed = True


@pytest.fixture
def api(world: World) -> ApiClient:
    return ApiClient(world.app)


def as_(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[name]}"}


@functools.cache
def document() -> dict[str, Any]:
    return create_api(FakeController()).openapi()["paths"]


def role_of(method: str, path: str) -> str:
    return str(document()[path][method].get(ROLE_FIELD, ""))


def test_each_endpoint_states_its_role() -> None:
    described = {(method, path) for path, methods in document().items() for method in methods}
    assert described == set(OPERATIONS)
    assert [endpoint for endpoint in described if role_of(*endpoint) not in MAY] == []


def test_no_route_that_the_document_leaves_out_is_open() -> None:
    app = create_api(FakeController())
    routes = next(part.kwargs["routes"] for part in app.user_middleware if part.cls is Addresses)
    hidden = [route for route in routes if isinstance(route, APIRoute)]
    open_ones = {route.path for route in hidden if (route.openapi_extra or {}).get(ROLE_FIELD, NOBODY_ASKED) == NOBODY_ASKED}
    assert len(hidden) > 30
    assert open_ones == {"/ping", "/", "/ui", "/ui/{name}"}


@pytest.mark.parametrize(("method", "path"), [pytest.param(*key, id=" ".join(key)) for key in OPERATIONS])
def test_an_endpoint_is_for_those_who_have_its_role(api: ApiClient, world: World, method: str, path: str) -> None:
    role = role_of(method, path)
    may = MAY[role]
    if (method, path) == ("delete", "/v2/groups"):
        may = {"deployer", "operator"}  # every app there is
    if path == "/v2/tunnels/exec":
        may = {"operator", "shop-operator"}  # it is about the app, not the group around it
    if role == "view" and path in ABOUT_NO_APP:
        may = set(PEOPLE) - {"stranger"}
    for name, granted in PEOPLE.items():
        world.begin()
        address, body = world.address(path) + QUERIES.get(path, ""), world.body(method, path)
        answer = api.request(method, address, json=body, headers=as_(name) if granted else {})
        if name in may:
            assert answer.status_code not in (401, 403), (name, answer.text)
            world.changed = method != "get"
        else:
            assert answer.status_code == (403 if granted else 401), (name, answer.status_code, answer.text)
            assert not world.controller.commands, name


@pytest.mark.parametrize("path", ["/metrics", "/metrics/prometheus"])
@pytest.mark.parametrize("name", PEOPLE)
def test_metrics_name_all_apps_and_are_for_those_who_may_view_all(api: ApiClient, path: str, name: str) -> None:
    answer = api.get(path, headers=as_(name) if PEOPLE[name] else {})
    expected = 200 if name in MAY["view" + EVERYWHERE] else 403 if PEOPLE[name] else 401
    assert answer.status_code == expected


@pytest.mark.parametrize("path", ["/v2/pods", "/v2/nosuch", "/openapi.json"])
def test_what_there_is_not_tells_strangers_nothing(api: ApiClient, path: str) -> None:
    assert api.get(path).status_code == 401


def test_lists_hold_what_their_reader_may_view(api: ApiClient) -> None:
    for name, sees in (
        ("shop-watcher", {"/shop/cart"}),
        ("bank-deployer", {"/bank/vault"}),
        ("watcher", {"/shop/cart", "/bank/vault"}),
    ):

        def get(path: str, name: str = name) -> Any:
            return api.get(path, headers=as_(name)).json()

        assert {app["id"] for app in get("/v2/apps")["apps"]} == sees
        assert {app["id"] for app in get("/v2/apps/*")["*"]} == sees
        assert {task["appId"] for task in get("/v2/tasks")["tasks"]} <= sees
        assert {f"/{group['id'].strip('/')}" for group in get("/v2/groups")["groups"]} == {app.rpartition("/")[0] for app in sees}
        assert {app for change in get("/v2/deployments") for app in change["affectedApps"]} == sees
        assert {item["app"]["id"] for item in get("/v2/queue")["queue"]} <= sees
    text = api.get("/v2/tasks", headers={**as_("bank-watcher"), "Accept": "text/plain"}).text
    assert "shop" not in text and "bank" in text


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v2/apps", [APP, {**APP, "id": "/bank/vault"}]),
        ("PUT", "/v2/groups", {"id": "/", "groups": [{"id": "shop", "apps": [{**APP, "id": "cart"}]}]}),
        ("PUT", "/v2/groups", {"id": "/", "scaleBy": 2}),
        ("DELETE", "/v2/groups?force=true", None),
        ("POST", "/v2/groups", {"id": "/shop/new", "apps": [{**APP, "id": "/bank/other"}]}),
        ("POST", "/v2/apps", {**APP, "id": "/shopping"}),
        ("POST", "/v2/apps", {**APP, "id": "/shop/../bank/other"}),
        ("PUT", "/v2/apps/%2Fbank%2Fvault", {"instances": 0}),
        ("DELETE", "/v2/apps/shop/..%2Fbank%2Fvault", None),
    ],
)
def test_a_change_needs_the_role_for_all_that_it_affects(api: ApiClient, world: World, method: str, path: str, body: Any) -> None:
    answer = api.request(method, path, json=body, headers=as_("shop-deployer"))
    assert answer.status_code in (403, 404, 422), answer.text
    assert not world.controller.commands


def test_tasks_of_several_apps_are_killed_by_whoever_may_deploy_all_of_them(api: ApiClient, world: World) -> None:
    state = world.controller.machine.state
    ids = [i.task_id for i in state.instances.values() if not i.waiting and i.app_id in state.apps]
    assert len(ids) == 2
    assert api.post("/v2/tasks/delete", json={"ids": ids}, headers=as_("shop-deployer")).status_code == 403
    assert api.post("/v2/tasks/delete", json={"ids": ids}, headers=as_("deployer")).status_code == 200


def test_a_refusal_names_no_app_that_its_reader_may_not_view(api: ApiClient) -> None:
    answer = api.put("/v2/groups", json={"id": "/", "groups": []}, headers=as_("shop-deployer"))
    assert answer.status_code == 403
    assert "bank" not in answer.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", "/v2/volumes/{volume_id}"), ("DELETE", "/v2/volumes/{volume_id}")),
        *(("GET", "/v2/deployments/{deployment_id}"), ("DELETE", "/v2/deployments/{deployment_id}")),
        *(("DELETE", "/v2/deployments/{deployment_id}?force=true"), ("POST", "/v2/deployments/{deployment_id}/pause")),
        *(("POST", "/v2/deployments/{deployment_id}/resume"), ("POST", "/v2/deployments/{deployment_id}/promote")),
    ],
)
def test_whose_something_is_that_its_reader_may_not_view_is_not_said(
    api: ApiClient, world: World, method: str, path: str
) -> None:
    answer = api.request(method, world.address(path), headers=as_("bank-deployer"))
    assert (answer.status_code, "shop" in answer.text) == (403, False), answer.text
    assert not world.controller.commands
