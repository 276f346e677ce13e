"""An app with one instance on each host, on the real cluster: it follows the hosts that go and come back."""

from __future__ import annotations

from typing import Any

import pytest
from devtool.settings import Settings
from support.cluster import AFTER_HOST_LOSS_S, SOON_S, Cluster
from support.waiting import until

pytestmark = pytest.mark.e2e

APP: dict[str, Any] = {
    "id": "/each",
    "cpus": 0.05,
    "mem": 32,
    "container": {"type": "DOCKER", "docker": {"image": "eratos/prime"}},
    "networks": [{"mode": "host"}],
    "portDefinitions": [{"port": 0, "name": "http"}],
    "env": {"WORK_S": "0.001"},
    "healthChecks": [{"protocol": "MESOS_HTTP", "path": "/", "intervalSeconds": 2, "gracePeriodSeconds": 30}],
    "labels": {"HAPROXY_0_VHOST": "each.test", "HAPROXY_0_ENABLED": "true"},
    "eratos": {"perHost": True},
}


def hosts(cluster: Cluster) -> list[str]:
    """Return the hosts of the app's containers."""
    return sorted(cluster.host_of(container) for container in cluster.containers(APP["id"]).values())


def test_each_host_has_one_whatever_hosts_go_and_come_back(cluster: Cluster, settings: Settings):
    def all_hosts() -> list[str]:
        found = cluster.master("GET", "/slaves").json()["slaves"]
        names = sorted(agent["hostname"] for agent in found if agent["active"])
        assert len(names) == settings.agents, f"registered are {names}"
        return names

    every = until(all_hosts, SOON_S, "every host is registered")
    cluster.apply(APP)
    try:
        cluster.settle(APP, len(every))
        assert hosts(cluster) == every
        lost = every[-1]
        cluster.power_off(lost)
        try:
            cluster.settle(APP, len(every) - 1, AFTER_HOST_LOSS_S)
            assert hosts(cluster) == every[:-1], "the host's instance was replaced elsewhere"

            def explained() -> bool:
                found = cluster.any_api("GET", "/v2/apps/each/explain").json()
                assert found["atRest"] and [host["host"] for host in found["hosts"]["without"]] == [lost], found
                return True

            until(explained, SOON_S, "the scheduler says which host has none")
        finally:
            cluster.power_on(lost)
        cluster.settle(APP, len(every), AFTER_HOST_LOSS_S)
        assert hosts(cluster) == every
        refused = cluster.any_api("PUT", "/v2/apps/each", {"instances": 7})
        assert refused.status_code == 422 and "hosts decide how many" in refused.text
    finally:
        cluster.delete(APP["id"])
    until(lambda: not cluster.states(APP["id"]), SOON_S, "nothing of the app is left")
