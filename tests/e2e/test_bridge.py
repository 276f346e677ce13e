"""Apps with bridge networking, as most public app files have it, on the real cluster: containers play its hosts.

Each test leaves the cluster without any of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from support.cluster import AFTER_HOST_LOSS_S, SOON_S, Cluster
from support.containers import docker, kill_processes
from support.waiting import until

pytestmark = pytest.mark.e2e

AGENTS = ("agent1", "agent2", "agent3")
EXECUTOR = "/opt/eratos/bin/python*eratos-executor"


@pytest.fixture
def web(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """An app as Marathon's documentation writes one: the container listens on 8080, and the host's port is whatever is free."""
    app = {
        "id": "/bridged",
        "cpus": 0.1,
        "mem": 64,
        "instances": 3,
        "container": {
            "type": "DOCKER",
            "docker": {
                "image": "eratos/hello",
                "network": "BRIDGE",
                "portMappings": [{"containerPort": 8080, "hostPort": 0, "servicePort": 0, "protocol": "tcp"}],
            },
        },
        # The worker's own name for its port wins over Mesos', which is the host's.
        "env": {"PORT": "8080", "BASE_PATH": "/bridged"},
        "constraints": [["hostname", "UNIQUE"]],
        "healthChecks": [{"protocol": "HTTP", "path": "/health", "portIndex": 0, "gracePeriodSeconds": 30, "intervalSeconds": 5}],
        "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_PATH": "/bridged"},
    }
    yield app
    cluster.delete(app["id"])
    # A host that returns from a power cut has its old services in Consul again, until they have been critical for long.
    cluster.settle(app, 0, AFTER_HOST_LOSS_S)
    until(lambda: not any(rules(cluster).values()), SOON_S, "no host has a published port left")


def rules(cluster: Cluster) -> dict[str, int]:
    """Return how many ports of bridged tasks each running host has published."""
    listed = {}
    for agent in AGENTS:
        container = cluster.container_of(agent)
        if docker("inspect", "-f", "{{.State.Running}}", container) == "true":
            listed[agent] = docker("exec", container, "iptables", "-w", "-t", "nat", "-S", "ERATOS").count("--dport")
    return listed


def instances(cluster: Cluster, app: dict[str, Any]) -> Counter[str]:
    """Return how often each task answers ten requests for each of them through each balancer."""
    found: Counter[str] = Counter()
    for balancer in cluster.balancers:
        found += cluster.spread(f"{balancer}{app['id']}/example1.html", 10 * len(cluster.tasks(app["id"])), app["id"])
    return found


def test_bridged_instances_on_three_hosts_are_balanced_and_reached_from_each(cluster: Cluster, web: dict[str, Any]):
    cluster.apply(web)
    cluster.settle(web, 3)
    until(lambda: rules(cluster) == dict.fromkeys(AGENTS, 1), SOON_S, "each host has one published port")
    for balancer in cluster.balancers:
        cluster.spreads_evenly(f"{balancer}{web['id']}/example1.html", 10, web, 3)
    task = cluster.any_api("GET", "/v2/apps/bridged").json()["app"]["tasks"][0]
    host, [port] = task["host"], task["ports"]
    get = f"import urllib.request as r; print(r.urlopen('http://{host}:{port}/health', timeout=10).status)"
    for agent in AGENTS:
        assert docker("exec", cluster.container_of(agent), "python3", "-c", get) == "200"
    # The port is the host's own: its loopback has it as well.
    assert docker("exec", cluster.container_of(host), "python3", "-c", get.replace(f"//{host}:", "//127.0.0.1:")) == "200"


def test_a_killed_host_takes_its_bridged_instances_along_and_they_run_elsewhere(cluster: Cluster, web: dict[str, Any]):
    web = web | {"constraints": []}
    cluster.apply(web)
    cluster.settle(web, 3)
    host, lost = cluster.fullest_host(web["id"])
    cluster.power_off(host)
    try:
        cluster.settle(web, 3, AFTER_HOST_LOSS_S)
        assert not lost & cluster.tasks(web["id"])
        assert instances(cluster, web).keys() == cluster.tasks(web["id"])
        until(lambda: sum(rules(cluster).values()) == 3, SOON_S, "three ports are published")
    finally:
        cluster.power_on(host)
    until(lambda: rules(cluster).get(host) == 0, SOON_S, f"{host} is back, without the ports of before")


def test_a_killed_executors_ports_and_containers_are_its_successors_to_clear(cluster: Cluster, web: dict[str, Any]):
    cluster.apply(web)
    cluster.settle(web, 3)
    before = cluster.containers(web["id"])
    kill_processes(cluster.container_of("agent1"), EXECUTOR)
    until(lambda: cluster.containers(web["id"]).keys() != before.keys(), SOON_S, "its instance is replaced")
    cluster.settle(web, 3)
    until(lambda: rules(cluster) == dict.fromkeys(AGENTS, 1), SOON_S, "nothing of the dead executor's is left")
    assert instances(cluster, web).keys() == cluster.tasks(web["id"])


def test_a_port_that_the_app_names_is_handed_from_task_to_task(cluster: Cluster, web: dict[str, Any]):
    mapping = [{"containerPort": 8080, "hostPort": 31800, "protocol": "tcp"}]
    container = {"type": "DOCKER", "docker": {"image": "eratos/hello"}, "portMappings": mapping}
    fixed = web | {"container": container, "networks": [{"mode": "container/bridge"}], "requirePorts": True}
    fixed["upgradeStrategy"] = {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}
    cluster.apply(fixed)
    cluster.settle(fixed, 3)
    old = cluster.tasks(fixed["id"])
    # The next version is on the host's network: what listens on the very port is a process of the host's now.
    host = {key: value for key, value in fixed.items() if key not in ("networks", "env")}
    host |= {"container": {"type": "DOCKER", "docker": {"image": "eratos/hello", "network": "HOST"}}}
    host |= {"portDefinitions": [{"port": 31800}], "env": {"BASE_PATH": "/bridged"}}
    cluster.apply(host)
    until(lambda: not old & cluster.tasks(fixed["id"]), AFTER_HOST_LOSS_S, "the old ones are gone")
    cluster.settle(host, 3, AFTER_HOST_LOSS_S)
    until(lambda: rules(cluster) == dict.fromkeys(AGENTS, 0), SOON_S, "no host has a published port left")
    assert instances(cluster, host).keys() == cluster.tasks(fixed["id"])


def test_a_volume_stays_with_its_host_when_the_app_moves_and_when_the_power_is_cut(cluster: Cluster, web: dict[str, Any]):
    external = {"name": "seen", "provider": "dvdi", "options": {"dvdi/driver": "local"}}
    root = [{"key": "user", "value": "root"}]
    app: dict[str, Any] = {
        "id": "/disk",
        "cpus": 0.1,
        "mem": 32,
        "cmd": 'echo "$HOST" >> /data/seen; cat /data/seen; echo end; exec sleep 1000',
        "container": {"type": "DOCKER", "docker": {"image": "eratos/hello", "parameters": root}},
        "networks": [{"mode": "container/bridge"}],
    }
    app["container"]["volumes"] = [{"containerPath": "/data", "mode": "RW", "external": external}]

    def lines_on(agent: str) -> list[str]:
        cluster.apply(app, constraints=[["hostname", "CLUSTER", agent]])

        def lines() -> list[str]:
            found = [container for container in cluster.containers("/disk").values() if cluster.host_of(container) == agent]
            assert len(found) == 1, f"{len(found)} run on {agent}"
            said = docker("logs", found[0]).split()
            return said if said[-1:] == ["end"] else []

        return until(lines, AFTER_HOST_LOSS_S, f"it runs on {agent}")[:-1]

    try:
        assert lines_on("agent1") == ["agent1"]
        assert lines_on("agent2") == ["agent2"], "agent2 saw agent1's disk"
        cluster.power_off("agent1")
        cluster.power_on("agent1")
        assert lines_on("agent1") == ["agent1", "agent1"], "the power cut cost agent1 its disk"
    finally:
        cluster.delete("/disk")
        cluster.settle(app, 0, AFTER_HOST_LOSS_S)
