"""The OpenAPI document tells the truth: schemathesis asks every operation, well and badly formed, and no answer is another one
than the document has. Bounded here; every case of the schema with ``./dev test --all``, more random ones with
``HYPOTHESIS_PROFILE=nightly``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support.api import OPEN, session
from support.builders import a_job, an_app, an_offer
from support.controller import FakeController

from eratos.scheduler.api.document import OPERATIONS
from eratos.scheduler.api.schemas import SCHEMAS
from eratos.scheduler.api.server import create_api
from eratos.scheduler.core.events import PutApps, PutJob, StartRun

pytestmark = pytest.mark.slow

CONTROLLER = FakeController()
API = create_api(CONTROLLER, access=OPEN)
SCHEMA = schemathesis.openapi.from_dict(API.openapi())
SCHEMA.config.update(base_url="http://api.test")
QUICK = bool(settings.default and settings.default.max_examples <= 100)
CASES = 6 if QUICK else 300
#: Operations on groups all take the same bodies, and a group holds apps and groups of apps: its 5,400 cases are those of apps,
#: which are all asked for apps, several times over. So of what groups hold each operation is asked every tenth case, and each
#: of them others.
OF_GROUPS = sorted(
    key for key in OPERATIONS if key in set(itertools.product(("post", "put"), ("/v2/groups", "/v2/groups/{group_id}")))
)
ONE_OF = 10
HELD = ("/properties/apps", "/properties/groups", "/properties/pods")
CHECK = {"protocol": "HTTP", "path": "/", "portIndex": 0}
#: How schemathesis asks the API; it would read a stream of events for seconds.
SESSION = session(API, hang_up=True)


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


OF_EACH_OPERATION = pytest.mark.parametrize(("method", "path"), [pytest.param(*key, id=" ".join(key)) for key in OPERATIONS])


@OF_EACH_OPERATION
def test_no_answer_to_what_chance_makes_of_the_schema_is_another(method: str, path: str) -> None:
    operation = SCHEMA[path][method.upper()]
    modes = SCHEMA.config.generation_for(operation=operation).modes

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


@OF_EACH_OPERATION
def test_no_answer_to_what_the_schema_allows_or_forbids_is_another(method: str, path: str) -> None:
    for number, case in enumerate(derived(method, path)):
        if (method, path) not in OF_GROUPS or is_asked(number, case, OF_GROUPS.index((method, path))):
            check(case)


def is_asked(number: int, case: Any, operation: int) -> bool:
    """Return whether a case of a group breaks what is its own, a field or a parameter, or is this operation's turn."""
    location = case.meta.phase.data.location
    its_own = location is not None and not location.startswith(HELD)
    return its_own or (number - operation * ONE_OF // len(OF_GROUPS)) % ONE_OF == 0


@pytest.mark.hours
@pytest.mark.parametrize(("method", "path"), [pytest.param(*key, id=" ".join(key)) for key in OF_GROUPS])
def test_no_answer_to_any_case_of_the_schema_is_another(method: str, path: str) -> None:
    for case in derived(method, path):
        check(case)


def test_each_operation_on_groups_is_asked_other_cases() -> None:
    asked = [{n for n in range(100) if (n - k * ONE_OF // len(OF_GROUPS)) % ONE_OF == 0} for k in range(len(OF_GROUPS))]
    assert len(OF_GROUPS) == 4
    assert len(set().union(*asked)) == sum(map(len, asked)) == 40


def derived(method: str, path: str) -> Iterator[Any]:
    """Yield a case for each thing that the schema allows or forbids of an operation."""
    operation = SCHEMA[path][method.upper()]
    generation = SCHEMA.config.generation_for(operation=operation)
    made = 0
    for case in SCHEMA.iter_coverage_cases(operation, generation_modes=generation.modes, generation_config=generation):
        made += 1
        yield case
    assert made, "the schema gives no case at all"


def check(case: Any) -> None:
    global fresh
    if not fresh:
        world()
    fresh = case.method in ("GET", "HEAD", "OPTIONS")
    answer = case.call(session=SESSION)
    case.validate_response(
        answer,
        checks=[not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance],
    )
    fresh = fresh or answer.status_code >= 400


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
    answer = SESSION.get("http://api.test" + path, headers={"Accept": "application/json"})
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
    SCHEMA[template]["GET"].validate_response(answer)


#: What users ask for and get: of what a schema allows nearly all is refused, as an id of another app is.
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
    ("post", "/v2/groups", "", {"id": "/g", "apps": [{"id": "a", **APP}], "groups": [{"id": "h", "dependencies": ["a"]}]}),
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
    answer = SESSION.request(method, f"http://api.test{asked}?{query}", json=body)
    assert answer.ok, answer.text
    assert str(answer.status_code) in API.openapi()["paths"][path][method]["responses"]
    SCHEMA[path][method.upper()].validate_response(answer)


def fits(template: str, path: str) -> bool:
    head, _, tail = template.partition("{")
    return path.startswith(head) and path.endswith(tail.partition("}")[2])


def test_every_operation_is_described_and_no_other() -> None:
    document = API.openapi()
    assert {(method, path) for path, methods in document["paths"].items() for method in methods} == set(OPERATIONS)
    assert set(SCHEMAS) <= set(document["components"]["schemas"])


def test_bodies_and_their_absence_are_told() -> None:
    for path, methods in API.openapi()["paths"].items():
        for method, shown in methods.items():
            bare = path.endswith(("/restart", "/pause", "/resume", "/promote", "/runs", "/stop"))
            with_body = (method in ("post", "put", "patch") and not bare) or (method == "delete" and path.endswith("::instances"))
            assert ("requestBody" in shown) == with_body, (method, path)
            assert all(item["name"] in path or item["in"] != "path" for item in shown["parameters"])
            assert "{" in path or not any(item["name"] == "group_id" for item in shown["parameters"])
