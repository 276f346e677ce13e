"""A host cut off with docker's own commands comes back by itself, and what `./dev up` does heals every other state.

As the other end-to-end tests: in order, on one cluster, each leaves it at rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from devtool import health, members, repair
from devtool.cluster import Compose, containers
from devtool.settings import Settings
from devtool.terminal import Step
from support.cluster import AFTER_HOST_LOSS_S, SOON_S, Cluster, whole
from support.containers import docker
from support.waiting import until

pytestmark = pytest.mark.e2e


@pytest.fixture
def settings(cluster: Cluster) -> Settings:
    ports = {name: str(port) for name, port in cluster.ports.items()}
    variables = {**ports, "ERATOS_NETWORK": os.environ["ERATOS_NETWORK"]}
    return Settings(project=cluster.project, variables=variables, secure=cluster.secure)


def test_a_host_that_was_cut_off_is_whole_again_by_itself(cluster: Cluster, fleet: dict[str, Any], settings: Settings):
    host, there = cluster.fullest_host("/prime")
    container, network = cluster.container_of(host), f"{cluster.project}_default"
    docker("network", "disconnect", network, container)
    try:
        until(lambda: not there & cluster.tasks("/prime"), AFTER_HOST_LOSS_S, "Mesos has given the host up")
    finally:
        # Without --ip, as anybody would: at another address.
        docker("network", "connect", network, container)
    until(lambda: whole(settings), SOON_S, "every part is well")
    cluster.settle(fleet, 20, AFTER_HOST_LOSS_S)


def cut(cluster: Cluster, service: str) -> None:
    docker("network", "disconnect", f"{cluster.project}_default", cluster.container_of(service))


def elsewhere(cluster: Cluster, service: str) -> None:
    cut(cluster, service)
    docker("network", "connect", f"{cluster.project}_default", cluster.container_of(service))


def paused_and_cut(cluster: Cluster, service: str) -> None:
    docker("pause", cluster.container_of(service))
    cut(cluster, service)


def restarted_while_cut(cluster: Cluster, service: str) -> None:
    cut(cluster, service)
    docker("restart", "-t", "1", cluster.container_of(service))


def killed(cluster: Cluster, service: str) -> None:
    docker("kill", cluster.container_of(service))


def removed(cluster: Cluster, service: str) -> None:
    docker("rm", "-f", cluster.container_of(service))


@pytest.mark.parametrize(
    ("trouble", "service"),
    [
        (cut, "agent1"),
        (cut, "consul1"),
        (elsewhere, "balancer1"),
        (paused_and_cut, "agent2"),
        (restarted_while_cut, "agent3"),
        (killed, "consul-agent1"),
        (removed, "agent2"),
        (removed, "zookeeper"),
    ],
)
def test_up_heals(
    cluster: Cluster, fleet: dict[str, Any], settings: Settings, trouble: Callable[[Cluster, str], None], service: str
):
    trouble(cluster, service)
    compose = Compose(settings)
    step = Step("heal")
    assert repair.start(compose, step), "nothing was found to do"
    health.await_infrastructure(settings, step, AFTER_HOST_LOSS_S, 0, lambda services: repair.remake(compose, services))
    cluster.settle(fleet, 20, AFTER_HOST_LOSS_S)


def test_a_cluster_whose_parts_are_all_gone_is_made_anew_with_what_was_deployed_and_nothing_of_before(
    cluster: Cluster, fleet: dict[str, Any], settings: Settings
):
    # Not their workers: these run on where no host is any more.
    docker("rm", "-f", *(one.id for one in containers(cluster.project)))
    compose = Compose(settings)
    step = Step("heal")
    assert repair.start(compose, step), "nothing was found to do"
    health.await_infrastructure(settings, step, AFTER_HOST_LOSS_S, 0, lambda services: repair.remake(compose, services))
    cluster.settle(fleet, 20, AFTER_HOST_LOSS_S)


def test_a_dead_host_is_forgotten_and_comes_back_without_its_dead_services(
    cluster: Cluster, fleet: dict[str, Any], settings: Settings
):
    host, _ = cluster.fullest_host("/prime")
    cluster.power_off(host)
    try:
        members.forget_dead(settings, host, Step("forget"))
        until(lambda: host not in members.known_to_consul(settings), SOON_S, f"Consul has forgotten {host}")
        cluster.settle(fleet, 20, AFTER_HOST_LOSS_S)
    finally:
        cluster.power_on(host)
    until(lambda: whole(settings), SOON_S, "the host is back")
    # Its services of before would be in the catalogue by now, until Consul drops them a minute later.
    cluster.settle(fleet, 20)
