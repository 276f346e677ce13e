"""The policy at the API: new and changed apps are held against it, what is there goes on."""

from __future__ import annotations

from typing import Any

import pytest
from support.api import ApiClient, an_api
from support.controller import FakeController

from eratos.marathon import definition
from eratos.scheduler.access.policy import Policy
from eratos.scheduler.core.events import PutApps

METADATA = {"id": "/a", "cmd": "sleep 1000", "instances": 1, "fetch": [{"uri": "http://169.254.169.254/latest/x"}]}
PRIVILEGED = {"id": "/b", "instances": 1, "container": {"type": "DOCKER", "docker": {"image": "x", "privileged": True}}}


def api_with(policy: Policy) -> tuple[ApiClient, FakeController]:
    controller = FakeController()
    return ApiClient(an_api(controller, policy=policy)), controller


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v2/apps", METADATA),
        ("PUT", "/v2/apps", [METADATA]),
        ("PUT", "/v2/apps/a", METADATA),
        ("POST", "/v2/groups", {"id": "/g", "apps": [{**METADATA, "id": "x"}]}),
        ("PUT", "/v2/groups", {"id": "/g", "apps": [{**METADATA, "id": "x"}]}),
    ],
)
def test_what_the_policy_refuses_is_not_stored(method: str, path: str, body: Any) -> None:
    api, controller = api_with(Policy())
    answer = api.request(method, path, json=body)
    assert answer.status_code == 422
    assert "metadata service" in answer.text
    assert not controller.commands


def test_each_refusal_of_the_strict_policy_names_the_setting() -> None:
    api, _ = api_with(Policy(strict=True))
    assert "--allow-privileged" in api.post("/v2/apps", json=PRIVILEGED).text
    assert api_with(Policy())[0].post("/v2/apps", json=PRIVILEGED).status_code == 201
    assert api_with(Policy(strict=True, privileged=True))[0].post("/v2/apps", json=PRIVILEGED).status_code == 201


def test_what_is_there_goes_on_and_may_be_scaled_restarted_and_deleted() -> None:
    api, controller = api_with(Policy(strict=True))
    controller.submit(PutApps((definition.parse(METADATA), definition.parse(PRIVILEGED))))
    assert api.put("/v2/apps/a", json={"instances": 3}).status_code == 200
    assert api.put("/v2/apps/b", json={**PRIVILEGED, "instances": 2}).status_code == 200
    assert api.put("/v2/apps", json=[{"id": "/a", "instances": 4}]).status_code == 200
    assert api.put("/v2/groups", json={"scaleBy": 2}).status_code == 200
    assert api.post("/v2/apps/a/restart").status_code == 200
    # Whoever changes it meets the policy: the same might would go to another command.
    assert api.put("/v2/apps/a", json={"cmd": "other"}).status_code == 422
    assert api.put("/v2/apps/b", json={"container": {"docker": {"image": "y", "privileged": True}}}).status_code == 422
    assert api.put("/v2/apps/a", json={"fetch": [], "user": "nobody"}).status_code == 200
    assert api.delete("/v2/apps/b").status_code == 200
