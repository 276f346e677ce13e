"""An executor dies, and nothing of ours comes to its host any more: what it left there goes all the same."""

from __future__ import annotations

from typing import Any

import pytest
from support.cluster import SOON_S, Cluster
from support.containers import kill_processes
from support.waiting import until

pytestmark = pytest.mark.e2e

AGENT = "agent1"
EXECUTOR = "/opt/eratos/bin/python*eratos-executor"


def test_what_a_dead_executor_left_is_removed_without_another_task(cluster: Cluster, prime: dict[str, Any]):
    app = {**prime, "id": "/left", "instances": 2, "labels": {"HAPROXY_0_VHOST": "left.test"}}
    app["constraints"] = [["hostname", "CLUSTER", AGENT]]
    try:
        cluster.apply(app)
        cluster.settle(app, 2)
        # It stands still first, so that it can neither stop the tasks nor be followed by others that are still wanted.
        kill_processes(cluster.container_of(AGENT), EXECUTOR, "STOP")
        cluster.apply(app, instances=0)
        kill_processes(cluster.container_of(AGENT), EXECUTOR)
        until(lambda: not cluster.states("/left"), SOON_S, "Mesos knows none of its tasks any more")
        until(lambda: not cluster.all_worker_containers(app_id="/left"), SOON_S, "its containers are removed")
        until(lambda: not cluster.services("left", passing=False), SOON_S, "its services have left Consul")
        until(lambda: not _to_sweep(cluster), SOON_S, "nothing is left to sweep")
    finally:
        cluster.delete("/left")
    cluster.settle(app, 0)


def _to_sweep(cluster: Cluster) -> bool:
    agents = cluster.api("GET", "/v2/overview", scheduler=cluster.leader()).json()["agents"]
    return any("sweep" in agent for agent in agents)
