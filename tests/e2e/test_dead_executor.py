"""An executor dies, and with it every instance of an app: what it left serves until those that replace it do."""

from __future__ import annotations

from typing import Any

import pytest
from support.cluster import SOON_S, Cluster
from support.containers import kill_processes
from support.visitors import Visitors
from support.waiting import until

pytestmark = pytest.mark.e2e

AGENT = "agent1"
EXECUTOR = "/opt/eratos/bin/python*eratos-executor"


def app(app_id: str, instances: int, prime: dict[str, Any]) -> dict[str, Any]:
    """Return an app whose instances all lie on one host."""
    name = app_id.strip("/")
    labels = {"HAPROXY_0_VHOST": f"{name}.test"}
    return {**prime, "id": app_id, "instances": instances, "labels": labels, "constraints": [["hostname", "CLUSTER", AGENT]]}


def test_an_executor_that_dies_with_all_instances_of_an_app_costs_no_request(cluster: Cluster, prime: dict[str, Any]):
    apps = [app("/alone", 1, prime), app("/together", 3, prime)]
    try:
        for each in apps:
            cluster.apply(each)
        for each in apps:
            cluster.settle(each, each["instances"])
        lost = cluster.tasks("/alone") | cluster.tasks("/together")
        with Visitors(cluster.balancers, {"alone.test": "/alone", "together.test": "/together"}) as visitors:
            kill_processes(cluster.container_of(AGENT), EXECUTOR)
            until(lambda: not lost & (cluster.tasks("/alone") | cluster.tasks("/together")), SOON_S, "all of them are lost")
            for each in apps:
                cluster.settle(each, each["instances"])
            until(lambda: visitors.rounds > 20, SOON_S, "all of it was seen by visitors")
        assert not visitors.wrong, f"{len(visitors.wrong)} of {sum(visitors.answers.values())}: {visitors.wrong[:5]}"
    finally:
        for each in apps:
            cluster.delete(each["id"])
    for each in apps:
        cluster.settle(each, 0)
