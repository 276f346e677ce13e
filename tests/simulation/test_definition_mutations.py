"""Mutated definitions through everything that reads one: each is taken or refused in words, and nothing else happens.

The count bounds the time; another seed tries others, as ``./dev test --all`` does.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from support import mutations
from support.api import ApiClient, an_api
from support.builders import an_app
from support.controller import FakeController

from eratos.marathon import definition
from eratos.marathon.app import App
from eratos.marathon.errors import InvalidApp
from eratos.marathon.group import Group
from eratos.scheduler.api import definitions
from eratos.scheduler.core.instances import Instance
from eratos.scheduler.core.task_payload import payload
from eratos.scheduler.store import codec

PARSED = 600
ASKED = 50
#: Of each test, by ``./dev test --all``; one of them otherwise.
SEEDS = 10


def seeds(first: int) -> list[Any]:
    return [first, *(pytest.param(seed, marks=pytest.mark.hours) for seed in range(first + 1, first + SEEDS))]


@pytest.mark.parametrize("seed", seeds(0))
def test_a_mutated_definition_is_read_or_refused(seed: int) -> None:
    outcome: Counter[bool] = Counter()
    existing = [definition.parse(document) for document in mutations.documents()]
    for number, document in enumerate(mutations.mutated(seed, PARSED)):
        app = read(document)
        outcome[app is not None] += 1
        if app is not None:
            # What is taken can be shown and sent back, stored and loaded, and launched.
            assert definition.parse(app.to_json()) == app, document
            stored = codec.decode_all([(f"apps/{app.id}", codec.encode(f"apps/{app.id}", app))])
            assert stored.apps == (app,), stored.spoilt
            payload(app, Instance("i", app.id, "v", ports=tuple(range(31000, 31000 + len(app.ports)))), "f").to_bytes()
        restored(document)
        partly(existing[number % len(existing)], document)
    assert min(outcome[True], outcome[False]) > PARSED // 20, f"the mutations are all too wild, or too tame: {outcome}"


def read(document: dict[str, Any]) -> App | None:
    try:
        return definition.parse(document)
    except InvalidApp as error:
        check(error)
        return None


def restored(document: dict[str, Any]) -> None:
    try:
        definition.restore(document)
    except InvalidApp as error:
        check(error)


def partly(existing: App, document: dict[str, Any]) -> None:
    for partial in (True, False):
        try:
            definitions.updated(existing, {**document, "id": existing.id}, existing.id, partial=partial)
        except InvalidApp as error:
            check(error)


def check(error: InvalidApp) -> None:
    assert error.problems
    for problem in error.problems:
        assert problem.path.startswith("/"), problem
        assert 0 < len(problem.message) <= 1000, problem
    try:
        str(error).encode()
    except UnicodeEncodeError:
        pytest.fail("a message holds what cannot be sent")


@pytest.mark.parametrize("seed", seeds(100))
def test_no_mutated_request_breaks_the_api(seed: int) -> None:
    controller = FakeController()
    api = ApiClient(an_api(controller))
    for document in mutations.mutated(seed, ASKED):
        # Apps of both kinds to be changed, as the last document left them, or anew.
        for app in (an_app("/shop/cart"), an_app("/mv", container=None, cmd="sleep 1000")):
            if app.id not in controller.machine.state.apps:
                assert api.put(f"/v2/apps{app.id}", json=app.to_json()).status_code in (200, 201)
        own = {**document, "id": None}
        for method, path, body in (
            ("POST", "/v2/apps", document),
            ("PUT", "/v2/apps/shop/cart", own),
            ("PATCH", "/v2/apps/mv", own),
            ("PUT", "/v2/apps/mv?partialUpdate=false", own),
            ("PUT", "/v2/apps", [document, {**document, "id": "/mv"}]),
            ("PATCH", "/v2/apps", [{**document, "id": "/shop/cart"}]),
            ("PUT", "/v2/groups?dryRun=true", {"id": "/g", "apps": [document], "groups": [{"id": "h", "apps": [document]}]}),
            ("POST", "/v2/groups", {"id": "/g", **document}),
            ("PUT", "/v2/groups/shop", document),
            ("POST", "/v2/tasks/delete", document),
        ):
            answer = api.request(method, path, content=json.dumps(body))
            said = answer.json()
            assert answer.status_code < 500, f"{method} {path} {json.dumps(body)}: {said}"
            if answer.status_code >= 400:
                assert isinstance(said["message"], str)
                assert all(detail["errors"] and detail["path"][0] in "/(" for detail in said.get("details", ()))
        for path in ("/v2/apps?embed=apps.tasks", "/v2/groups", "/v2/queue", "/v2/deployments"):
            assert api.get(path).status_code == 200
        controller.machine.state.check()
        if len(controller.machine.state.apps) > 20:
            assert api.delete("/v2/groups?force=true").status_code == 200


def test_mutated_groups_are_read_or_refused() -> None:
    for document in mutations.mutated(7, 300):
        for group in ({"id": "/g", "apps": [document]}, document, {"groups": [document, {"apps": document.get("ports")}]}):
            try:
                Group.parse(group)
            except InvalidApp as error:
                check(error)
