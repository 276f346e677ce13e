"""The policy at the API: new and changed apps are held against it, what is there goes on."""

from __future__ import annotations

from typing import Any

import pytest
from support.api import ApiClient, an_api
from support.controller import FakeController

from eratos.marathon import definition, pod_definition
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


def test_to_go_back_to_a_version_is_a_change() -> None:
    """The policy may have come since, and what an app had once, such as a service's name, may be another's by now."""
    controller = FakeController()
    before, strict = (ApiClient(an_api(controller, policy=Policy(strict=strict))) for strict in (False, True))
    mighty = before.post("/v2/apps", json=PRIVILEGED).json()["version"]
    harmless = before.put("/v2/apps/b", json={"container": {"docker": {"image": "x", "privileged": False}}}).json()["version"]
    for address in ("/v2/apps/b", "/v2/groups/"):
        answer = strict.put(address, json={"version": mighty})
        assert (answer.status_code, "--allow-privileged" in answer.text) == (422, True)
    assert strict.get("/v2/apps/b").json()["app"]["version"] == harmless
    assert before.put("/v2/apps/b", json={"version": mighty}).status_code == 200
    assert strict.put("/v2/apps/b", json={"version": harmless}).status_code == 200


def test_a_version_takes_back_nothing_that_is_anothers_by_now() -> None:
    api, controller = api_with(Policy())
    named = {"id": "/shop", "cmd": "sleep 1000", "cpus": 0.1, "mem": 32, "portDefinitions": [{"port": 0, "name": "db"}]}
    first = api.post("/v2/apps", json={**named, "portDefinitions": [{"port": 0}, {"port": 0, "name": "db"}]}).json()["version"]
    assert "shop-db" in controller.read(lambda state: state.apps["/shop"].service_names)
    api.put("/v2/apps/shop", json={"portDefinitions": [{"port": 0}]})
    assert api.post("/v2/apps", json={"id": "/shop-db", "cmd": "sleep 1000", "cpus": 0.1, "mem": 32}).status_code == 201
    answer = api.put("/v2/apps/shop", json={"version": first})
    assert (answer.status_code, "the Consul service shop-db, which /shop-db has already" in answer.text) == (422, True)


def test_a_stored_job_may_get_other_times_whatever_the_policy_refuses_of_it_now() -> None:
    controller = FakeController()
    before, strict = (ApiClient(an_api(controller, policy=Policy(strict=strict))) for strict in (False, True))
    run = {"docker": {"image": "x", "privileged": True}, "cpus": 0.1, "mem": 32}
    assert before.post("/v1/jobs", json={"id": "nightly", "run": run}).status_code == 201
    schedule = {"id": "at-one", "cron": "0 1 * * *"}
    assert strict.post("/v1/jobs/nightly/schedules", json=schedule).status_code == 201
    assert strict.delete("/v1/jobs/nightly/schedules/at-one").status_code == 200
    assert strict.put("/v1/jobs/nightly", json={"description": "at night", "run": run}).status_code == 200
    assert strict.put("/v1/jobs/nightly", json={"run": {**run, "cmd": "other"}}).status_code == 422
    assert strict.post("/v1/jobs", json={"id": "other", "run": run}).status_code == 422


def test_what_was_stored_with_a_user_that_nobody_can_be_may_be_scaled() -> None:
    """It was taken by versions before; a change of anything else meets the rule."""
    api, controller = api_with(Policy())
    stored = definition.restore({"id": "/a", "cmd": "x", "instances": 1, "user": "www data"})
    container = {"name": "c", "resources": {"cpus": 0.1, "mem": 32}, "exec": {"command": {"shell": "x"}}, "user": "www data"}
    pod = {"id": "/p", "containers": [{**container, "image": {"kind": "DOCKER", "id": "x"}}], "scaling": {"kind": "fixed"}}
    old = definition.restore({"id": "/o", "cmd": "x", "instances": 1, "user": "www data"}).with_unasked(True)
    controller.submit(PutApps((stored, pod_definition.restore(pod), old)))
    for path in ("/v2/apps/a", "/v2/apps/o"):
        assert api.put(path, json={"instances": 2}).status_code == 200
        assert api.put(path, json={"instances": 0}).status_code == 200
    assert api.put("/v2/apps", json=[{"id": "/a", "instances": 3}]).status_code == 200
    assert api.put("/v2/pods/p", json={**pod, "scaling": {"kind": "fixed", "instances": 2}}).status_code == 200
    refused = [
        api.put("/v2/apps/a", json={"instances": 2, "cmd": "y"}),
        api.put("/v2/pods/p", json={**pod, "labels": {"a": "b"}}),
        api.put("/v2/apps/n", json={"cmd": "x", "user": "www data"}),
    ]
    assert [(answer.status_code, "/user" in answer.text) for answer in refused] == [(422, True)] * 3
