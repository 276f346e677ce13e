"""An app of another Mesos role than the default one, beside one of that, with one executor, on an agent of the real cluster."""

from __future__ import annotations

from typing import Any

import pytest
from support.cluster import SOON_S, Cluster
from support.waiting import until

pytestmark = pytest.mark.e2e

AGENT = "agent1"


def test_apps_of_two_roles_run_on_one_agent_with_one_executor(cluster: Cluster, prime: dict[str, Any]):
    here = {"constraints": [["hostname", "CLUSTER", AGENT]], "instances": 1, "cpus": 0.1}
    plain = {**prime, **here, "id": "/beside", "labels": {"HAPROXY_0_VHOST": "beside.test"}}
    team = {**prime, **here, "id": "/team/prime", "role": "team", "labels": {"HAPROXY_0_VHOST": "team.test"}}
    try:
        for app in (plain, team):
            cluster.apply(app)
        for app in (plain, team):
            cluster.settle(app, 1)
        roles = {app["id"]: _roles(cluster, app["id"]) for app in (plain, team)}
        assert roles == {"/beside": {"*"}, "/team/prime": {"team"}}
        for app in (plain, team):
            [task] = cluster.tasks(app["id"])
            assert cluster.any_api("GET", f"/v2/tasks/{task}/logs").status_code == 200
            until(lambda app_id=app["id"]: _measured(cluster, app_id), SOON_S, f"what {app['id']} takes is known")
        cluster.apply(team, role="*")
        until(lambda: _roles(cluster, "/team/prime") == {"*"}, SOON_S, "it is replaced by one of the default role")
        cluster.settle({**team, "role": "*"}, 1)
    finally:
        for app in (plain, team):
            cluster.delete(app["id"])
    for app in (plain, team):
        cluster.settle(app, 0)


def _roles(cluster: Cluster, app_id: str) -> set[str]:
    return {task["role"] for task in cluster.any_api("GET", f"/v2/apps{app_id}/tasks").json()["tasks"]}


def _measured(cluster: Cluster, app_id: str) -> bool:
    found = cluster.any_api("GET", f"/v2/usage?app={app_id}").json()["tasks"]
    return bool(found) and not any(each["missing"] for each in found)
