"""The OpenAPI document tells the truth: schemathesis asks every operation, well and badly formed, and no answer is another one
than the document has. Bounded here; more cases with ``HYPOTHESIS_PROFILE=nightly``.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation.meta import TestPhase
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support.api import OPEN, ApiClient
from support.builders import a_job, an_app, an_offer
from support.controller import FakeController

from eratos.scheduler.api.document import OPERATIONS
from eratos.scheduler.api.schemas import SCHEMAS
from eratos.scheduler.api.server import create_api
from eratos.scheduler.core.events import PutApps, PutJob, StartRun

CONTROLLER = FakeController()
API = create_api(CONTROLLER, access=OPEN)
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", API, headers={"Host": "api.test"})
QUICK = bool(settings.default and settings.default.max_examples <= 100)
CASES = 6 if QUICK else 300
#: Of the cases that schemathesis derives from the schema of a group every so many are asked.
ONE_OF = 10 if QUICK else 1
COVERED = itertools.count()
CHECK = {"protocol": "HTTP", "path": "/", "portIndex": 0}


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


def asked(cases: int) -> settings:
    return settings(
        max_examples=cases,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )


@SCHEMA.exclude(path_regex="^/v2/groups").parametrize()
@asked(CASES)
def test_no_answer_is_another_than_the_document_has(case: Any) -> None:
    check(case)


# A group holds groups of apps, so one case has as many definitions as several of an app, and a body's cases are as many as its
# fields: five thousand for each of four operations. Those of an app are all asked for apps, so of groups' some do.
@SCHEMA.include(path_regex="^/v2/groups").parametrize()
@asked(CASES // 3)
def test_no_answer_about_groups_is_another_than_the_document_has(case: Any) -> None:
    if case.meta.phase.name is not TestPhase.COVERAGE or next(COVERED) % ONE_OF == 0:
        check(case)


def check(case: Any) -> None:
    global fresh
    if not fresh:
        world()
    fresh = case.method in ("GET", "HEAD", "OPTIONS")
    answer = case.call(headers={"Host": "api.test"})
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
    answer = ApiClient(API).get(path, headers={"Accept": "application/json"})
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
