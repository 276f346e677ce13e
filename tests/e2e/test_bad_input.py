"""What users get wrong, on the real cluster: told with field and fix, nothing else disturbed, nothing half-done left."""

from __future__ import annotations

from typing import Any

import pytest
from support.cluster import SOON_S, Cluster
from support.waiting import until

pytestmark = pytest.mark.e2e


def an_app(app_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": app_id,
        "cpus": 0.1,
        "mem": 32,
        "container": {"type": "DOCKER", "docker": {"image": "eratos/prime"}},
        "portDefinitions": [{"port": 0, "name": "http"}],
    } | fields


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"cpus": "many"}, "/cpus"),
        ({"instances": -1}, "/instances"),
        ({"instancs": 3}, "/instancs"),
        ({"id": "/Bad_Id"}, "/id"),
        ({"labels": {"HAPROXY_0_MODE": "udp"}}, "/labels/HAPROXY_0_MODE"),
    ],
)
def test_wrong_field_is_refused_by_name(cluster: Cluster, fields: dict[str, Any], path: str):
    answer = cluster.any_api("POST", "/v2/apps", an_app("/wrong", **fields))
    assert answer.status_code == 422
    [detail] = answer.json()["details"]
    assert detail["path"] == path and detail["errors"]
    assert cluster.any_api("GET", "/v2/apps/wrong").status_code == 404


def waiting_reason(cluster: Cluster, app_id: str) -> str:
    for entry in cluster.any_api("GET", "/v2/queue").json()["queue"]:
        if entry["app"]["id"] == app_id:
            return str(entry)
    return ""


def test_more_cpu_than_any_agent_has_waits_with_the_reason(cluster: Cluster):
    cluster.apply(an_app("/huge", cpus=64))
    try:
        until(lambda: "cpus: 64 wanted" in waiting_reason(cluster, "/huge"), SOON_S, "the queue names the field")
    finally:
        cluster.delete("/huge")


def test_missing_image_shows_as_the_reason_while_waiting(cluster: Cluster):
    cluster.apply(an_app("/no-image", container={"type": "DOCKER", "docker": {"image": "eratos/no-such-image"}}))

    def told() -> bool:
        app = cluster.any_api("GET", "/v2/apps/no-image").json()["app"]
        return "eratos/no-such-image" in str(app.get("lastTaskFailure"))

    try:
        until(told, SOON_S, "the app shows the failure with the image's name")
    finally:
        cluster.delete("/no-image")
    cluster.settle({"id": "/no-image"}, 0)


def test_exhausted_port_is_named(cluster: Cluster):
    fixed = an_app("/one-port", instances=4, requirePorts=True, portDefinitions=[{"port": 31900, "name": "http"}])
    cluster.apply(fixed)
    try:
        until(lambda: "31900" in waiting_reason(cluster, "/one-port"), SOON_S, "the queue names the port")
        until(lambda: len(cluster.tasks("/one-port")) == 3, SOON_S, "one instance runs on each agent")
    finally:
        cluster.delete("/one-port")
    cluster.settle(fixed, 0)
