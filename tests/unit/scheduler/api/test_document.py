"""The OpenAPI document tells the truth: schemathesis asks every operation, well and badly formed, and no answer is another one
than the document has. Bounded here; every case of the schema with ``./dev test --all``, more random ones with
``HYPOTHESIS_PROFILE=nightly``.
"""

from __future__ import annotations

import copy
import functools
import itertools
import re
from collections.abc import Collection, Iterator
from typing import Any

import pytest
import requests
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings, strategies
from support.api import OPEN, session
from support.builders import a_job, an_app, an_offer
from support.controller import FakeController

from eratos.scheduler.api.document import OPERATIONS
from eratos.scheduler.api.schemas import SCHEMAS
from eratos.scheduler.api.server import create_api
from eratos.scheduler.core.events import PutApps, PutJob, StartRun

pytestmark = pytest.mark.slow

CONTROLLER = FakeController()
QUICK = bool(settings.default and settings.default.max_examples <= 100)
CASES = 6 if QUICK else 300
#: Operations that take the same bodies, of which each is asked of one of them in turn. The first one's are all derived.
FAMILIES = {
    "apps": (
        *(("post", "/v2/apps"), ("put", "/v2/apps"), ("patch", "/v2/apps")),
        *(("put", "/v2/apps/{app_id}"), ("patch", "/v2/apps/{app_id}")),
    ),
    "groups": tuple(itertools.product(("post", "put"), ("/v2/groups", "/v2/groups/{group_id}"))),
    "pods": (("post", "/v2/pods"), ("put", "/v2/pods/{pod_id}")),
    "jobs": (
        *(("post", "/v1/jobs"), ("put", "/v1/jobs/{job_id}")),
        *(("post", "/v0/scheduled-jobs"), ("put", "/v0/scheduled-jobs/{job_id}")),
    ),
}
SHARING = tuple(itertools.chain(*FAMILIES.values()))
DERIVING = tuple(operations[0] for operations in FAMILIES.values())
#: Of them, those that take a list of such bodies.
OF_LISTS = (("put", "/v2/apps"), ("patch", "/v2/apps"))
#: What a group holds. Of what that may be, which apps and pods are asked themselves, groups are asked one in so many.
HELD = ("apps", "groups", "pods")
#: Fields that go without others.
ALONE = ("version", "scaleBy")
ONE_OF_HELD = 10
CHECK = {"protocol": "HTTP", "path": "/", "portIndex": 0}


@functools.cache
def api() -> FastAPI:
    return create_api(CONTROLLER, access=OPEN)


@functools.cache
def client() -> requests.Session:
    """Return how schemathesis asks the API; it would read a stream of events for seconds."""
    return session(api(), hang_up=True)


@functools.cache
def schema() -> Any:
    """Return the document as schemathesis has it, whose import takes longer than most tests: who leaves these out has it not."""
    return read(api().openapi())


def read(document: dict[str, Any]) -> Any:
    import schemathesis

    made = schemathesis.openapi.from_dict(document)
    made.config.update(base_url="http://api.test")
    return made


@functools.cache
def checks() -> list[Any]:
    """Return what an answer has to hold."""
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks as of_document

    names = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")
    return [not_a_server_error, *(getattr(of_document, name) for name in names)]


#: Whether the apps are as :func:`world` made them: a request that is refused changes nothing.
fresh = False


def world() -> None:
    """Have some apps there, in every state that answers show."""
    CONTROLLER.machine = FakeController().machine
    apps = (
        an_app(
            "/shop/cart", 2, healthChecks=[CHECK], readinessChecks=[{"portName": "http"}], constraints=[["hostname", "UNIQUE"]]
        ),
        an_app("/shop/db", mem=10**6, unreachableStrategy="disabled", env={"A": "b"}),
        an_app("/plain", networks=[{"mode": "container/bridge"}], portDefinitions=None),
    )
    CONTROLLER.submit(PutApps(apps))
    CONTROLLER.submit(PutJob(a_job("shop.backup", {}, {"enabled": False}), create_only=True))
    CONTROLLER.submit(PutJob(a_job("plain", args=["x"], cmd=None, docker={"image": "y"}), create_only=True))
    for _ in range(3):
        CONTROLLER.submit(StartRun("shop.backup"))
    tasks = CONTROLLER.launch(an_offer("a1", hostname="127.0.0.1"), an_offer("a2", hostname="127.0.0.2"))
    for task in tasks:
        CONTROLLER.update(task, "RUNNING", healthy=True, addresses=("10.0.0.1",))
    failing = next(task for task in tasks if task.startswith("shop_cart"))
    CONTROLLER.update(failing, "FAILED", message="out of luck")
    first, second, _ = (task for task in tasks if task.startswith("shop_backup"))
    CONTROLLER.update(first, "FINISHED", message="exit code 0")
    CONTROLLER.update(second, "FAILED", message="exit code 1")


def each(operations: Collection[tuple[str, str]], hours: Collection[tuple[str, str]] = ()) -> pytest.MarkDecorator:
    """Have a test for each operation; those of ``hours`` have that marker."""
    found = [pytest.param(*key, id=" ".join(key), marks=pytest.mark.hours if key in hours else ()) for key in operations]
    return pytest.mark.parametrize(("method", "path"), found)


@each(OPERATIONS, hours=set(SHARING) - set(DERIVING))
def test_no_answer_to_what_chance_makes_of_the_schema_is_another(method: str, path: str) -> None:
    operation = schema()[path][method.upper()]
    modes = schema().config.generation_for(operation=operation).modes

    @settings(
        max_examples=CASES // 3 if path.startswith("/v2/groups") else CASES,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(strategies.one_of([operation.as_strategy(generation_mode=mode) for mode in modes]))
    def ask(case: Any) -> None:
        check(case)

    ask()


@each(OPERATIONS, hours=SHARING)
def test_no_answer_to_what_the_schema_allows_or_forbids_is_another(method: str, path: str) -> None:
    for case in derived(schema(), method, path):
        check(case)


@each(SHARING)
def test_no_answer_to_what_a_parameter_may_be_is_another(method: str, path: str) -> None:
    """Each beside a body that is well, and what is no body at all."""
    body = good_body(method, path)
    for case in derived(without_bodies(), method, path):
        case.body, case.media_type = body, JSON
        check(case)
    operation = schema()[path][method.upper()]
    for wrong in ({}, {"body": "{", "media_type": "text/plain"}, {"body": None, "media_type": JSON}):
        check(operation.Case(path_parameters=place(path), **wrong))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_answer_to_what_a_body_may_be_is_another(family: str) -> None:
    operations = itertools.cycle(FAMILIES[family])
    asked, taken = 0, 0
    for body, allowed, location in bodies(family):
        method, path = next(operations)
        if allowed:
            body = sensible(body, location, good_part(method, path))
        sent = [body] if (method, path) in OF_LISTS else body
        operation = schema()[path][method.upper()]
        status = check(operation.Case(path_parameters=place(path), body=sent, media_type=JSON))
        if allowed:
            asked, taken = asked + 1, taken + (status < 400)
    assert taken > asked * TAKEN[family], f"{taken} of {asked} bodies that the schema allows are taken"


def bodies(family: str) -> Iterator[tuple[Any, bool, str]]:
    """Yield what a family's bodies may be: the body, whether the schema allows it, and the place of what it is about."""
    skipped = itertools.cycle([False] + [True] * (ONE_OF_HELD - 1))
    for case in derived(schema(), *DERIVING[list(FAMILIES).index(family)]):
        about = case.meta.phase.data
        # Of what has no body at all each operation is asked beside its parameters.
        if about.parameter_location != "body" or type(case.body).__name__ == "NotSet":
            continue
        location = about.location or ""
        if family == "groups" and holds(case.body, location) and next(skipped):
            continue
        name = location.removeprefix("/properties/").partition("/")[0]
        alone = name in ALONE and isinstance(case.body, dict) and name in case.body
        body = {name: case.body[name]} if alone else case.body
        yield body, case.meta.generation.mode.name == "POSITIVE" and not alone, location


def holds(body: Any, location: str) -> bool:
    """Return whether a group's body is about what the group holds."""
    if location:
        return location.startswith(tuple(f"/properties/{name}" for name in HELD))
    return isinstance(body, dict) and not body.keys().isdisjoint(HELD)


def place(path: str) -> dict[str, str]:
    """Return the parameters of an address at which there is something, or may be."""
    return {name: value for name, value in PLACES.items() if f"{{{name}}}" in path}


def good_body(method: str, path: str) -> Any:
    """Return a body that an operation takes."""
    found = {(method, path): body for method, path, _, body in reversed(CHANGES) if body is not None}
    return found[method, path.replace("/v0/scheduled-jobs/", "/v1/jobs/")]


def good_part(method: str, path: str) -> dict[str, Any]:
    """Return the same of one app, pod, job or group, with its id."""
    body = good_body(method, path)
    part = body[0] if isinstance(body, list) else body
    return {"id": "/" + "".join(place(path).values()), **part}


def sensible(body: Any, location: str, good: dict[str, Any]) -> Any:
    """Return a body that the schema allows so that it may be taken: the schema does not know what an app needs to run, that an id
    is the address', and which fields go together.
    """
    if not isinstance(body, dict):
        return body
    found = {**good, **body}
    if not location.startswith("/properties/id"):
        found["id"] = good["id"]
    if not location.startswith("/properties/version"):
        found.pop("version", None)
    if isinstance(run := found.get("run"), dict):
        found["run"] = {**good["run"], **run}
    if isinstance(container := found.get("container"), dict) and not container.get("docker"):
        found["container"] = {**container, "docker": {"image": "x"}}
    for held, of in (("apps", {"id": "a", **APP}), ("pods", {"id": "b", **POD}), ("groups", {"id": "c"})):
        if isinstance(found.get(held), list):
            found[held] = [sensible(each, "", of) for each in found[held]]
    return found


@functools.cache
def without_bodies() -> Any:
    """Return the document as if nothing took a body: of what does, the parameters are left."""
    document = copy.deepcopy(api().openapi())
    for methods in document["paths"].values():
        for shown in methods.values():
            shown.pop("requestBody", None)
    return read(document)


def derived(document: Any, method: str, path: str) -> Iterator[Any]:
    """Yield a case for each thing that the schema allows or forbids of an operation."""
    operation = document[path][method.upper()]
    generation = document.config.generation_for(operation=operation)
    made = 0
    for case in document.iter_coverage_cases(operation, generation_modes=generation.modes, generation_config=generation):
        made += 1
        yield case
    assert made, "the schema gives no case at all"


def check(case: Any) -> int:
    """Ask, hold the answer against the document, and return its status."""
    global fresh
    if not fresh:
        world()
    fresh = case.method in ("GET", "HEAD", "OPTIONS")
    answer = case.call(session=client())
    case.validate_response(answer, checks=checks())
    fresh = fresh or answer.status_code >= 400
    return int(answer.status_code)


def hold(answer: requests.Response, method: str, path: str) -> None:
    """Hold an answer against the document; its content type and status, too."""
    parameters = dict.fromkeys(re.findall(r"{(\w+)}", path), "x")
    schema()[path][method.upper()].Case(path_parameters=parameters).validate_response(answer, checks=checks())


@pytest.mark.parametrize(
    "path",
    [
        *("/v2/apps", "/v2/apps?embed=apps.tasks&embed=apps.taskStats&embed=apps.lastTaskFailure", "/v2/apps/shop/cart"),
        *("/v2/apps/*", "/v2/apps/shop/cart/explain", "/v2/explain/shop/cart", "/v2/apps/plain", "/v2/apps/shop/db"),
        *("/v2/apps/shop/cart/tasks", "/v2/apps/shop/cart/versions", "/v2/tasks", "/v2/queue?embed=lastUnusedOffers"),
        *(
            "/v2/groups",
            "/v2/groups/shop",
            "/v2/groups/apps",
            "/v2/groups/versions",
            "/v2/deployments",
            "/v2/brake",
            "/v2/leader",
        ),
        *("/v1/jobs?embed=history&embed=schedules&embed=activeRuns&embed=historySummary", "/v0/scheduled-jobs"),
        *("/v2/plugins", "/v2/info", "/v2/usage", "/config", "/logging", "/metrics", "/ping"),
    ],
)
def test_what_is_there_is_shown_as_the_document_has_it(path: str) -> None:
    world()
    answer = client().get("http://api.test" + path, headers={"Accept": "application/json"})
    assert answer.status_code == 200
    whole = path.partition("?")[0]
    known = {key for method, key in OPERATIONS if method == "get"}
    template = (
        whole
        if whole in known
        else next(
            candidate
            for candidate in (
                "/v2/explain/{app_id}",
                "/v2/apps/{app_id}/tasks",
                "/v2/apps/{app_id}/versions",
                "/v2/groups/{group_id}",
                "/v2/apps/{app_id}",
            )
            if candidate in known and fits(candidate, whole)
        )
    )
    hold(answer, "get", template)


JSON = "application/json"
#: What is there, or may be: the parameters of addresses.
PLACES = {"app_id": "plain", "group_id": "g", "pod_id": "p", "job_id": "plain"}
#: Of the bodies that the schema allows at least these shares are taken. Of what a job runs the schema says nothing.
TAKEN = {"apps": 0.4, "pods": 0.5, "jobs": 0.1, "groups": 0.3}
#: What users ask for and get.
APP = {"cmd": "sleep 1", "cpus": 0.1, "mem": 32}
POD = {"containers": [{"name": "web", "resources": {"cpus": 0.1, "mem": 32}, "image": {"kind": "DOCKER", "id": "x"}}]}
CHANGES: tuple[tuple[str, str, str, Any], ...] = (
    ("post", "/v2/apps", "", {"id": "/new", **APP}),
    ("put", "/v2/apps", "?force=true", [{"id": "/new", **APP}, {"id": "/plain", "instances": 2}]),
    ("patch", "/v2/apps", "?force=true", [{"id": "/plain", "instances": 2}]),
    ("put", "/v2/apps/{app_id}", "new", APP),
    ("put", "/v2/apps/{app_id}", "plain?force=true", {"instances": 3}),
    ("patch", "/v2/apps/{app_id}", "plain?force=true", {"instances": 3}),
    ("post", "/v2/apps/{app_id}/restart", "plain?force=true", None),
    ("delete", "/v2/apps/{app_id}", "plain?force=true", None),
    ("delete", "/v2/apps/{app_id}/tasks", "shop/cart?force=true", None),
    ("delete", "/v2/apps/{app_id}/tasks", "shop/cart?force=true&scale=true", None),
    ("post", "/v2/groups", "", {"id": "/g", "apps": [{"id": "a", **APP}], "groups": [{"id": "h", "dependencies": ["../a"]}]}),
    ("put", "/v2/groups", "?force=true", {"id": "/g", "apps": [{"id": "a", **APP}]}),
    ("put", "/v2/groups", "?dryRun=true", {"id": "/g", "apps": [{"id": "a", **APP}]}),
    ("post", "/v2/groups/{group_id}", "g", {"apps": [{"id": "a", **APP}]}),
    ("put", "/v2/groups/{group_id}", "g", {"apps": [{"id": "a", **APP}]}),
    ("put", "/v2/groups/{group_id}", "shop?force=true", {"scaleBy": 2}),
    ("delete", "/v2/groups/{group_id}", "shop?force=true", None),
    ("delete", "/v2/groups", "?force=true", None),
    ("post", "/v2/pods", "", {"id": "/p", **POD}),
    ("put", "/v2/pods/{pod_id}", "p", {"id": "/p", **POD}),
    ("put", "/v2/quotas/{group_id}", "%2Fshop", {"instances": 50}),
    ("put", "/v2/drains/{host}", "127.0.0.1", {"deadlineSeconds": 60}),
    ("post", "/v1/jobs", "", {"id": "new", "run": APP}),
    ("put", "/v1/jobs/{job_id}", "plain", {"id": "plain", "run": APP}),
    ("post", "/v1/jobs/{job_id}/runs", "plain", None),
    ("delete", "/v1/jobs/{job_id}", "plain?stopCurrentJobRuns=true", None),
    ("post", "/v0/scheduled-jobs", "", {"id": "new", "run": APP, "schedules": []}),
)


@pytest.mark.parametrize(("method", "path", "where", "body"), CHANGES)
def test_what_is_done_is_answered_as_the_document_has_it(method: str, path: str, where: str, body: Any) -> None:
    global fresh
    world()
    fresh = False
    name, _, query = where.partition("?")
    head, rest, tail = path.partition("{")
    asked = head + name + tail.partition("}")[2] if rest else path
    answer = client().request(method, f"http://api.test{asked}?{query}", json=body)
    assert answer.ok, answer.text
    hold(answer, method, path)


def fits(template: str, path: str) -> bool:
    head, _, tail = template.partition("{")
    return path.startswith(head) and path.endswith(tail.partition("}")[2])


def test_every_operation_is_described_and_no_other() -> None:
    document = api().openapi()
    assert {(method, path) for path, methods in document["paths"].items() for method in methods} == set(OPERATIONS)
    assert set(SCHEMAS) <= set(document["components"]["schemas"])


def test_bodies_and_their_absence_are_told() -> None:
    for path, methods in api().openapi()["paths"].items():
        for method, shown in methods.items():
            bare = path.endswith(("/restart", "/pause", "/resume", "/promote", "/runs", "/stop"))
            with_body = (method in ("post", "put", "patch") and not bare) or (method == "delete" and path.endswith("::instances"))
            assert ("requestBody" in shown) == with_body, (method, path)
            assert all(item["name"] in path or item["in"] != "path" for item in shown["parameters"])
            assert "{" in path or not any(item["name"] == "group_id" for item in shown["parameters"])
