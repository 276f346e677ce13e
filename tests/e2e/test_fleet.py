"""The whole path on the real cluster: a fleet of workers behind two balancers, scaled, broken and mended.

Tests run in order on one cluster; each leaves it at rest.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests
from support.cluster import AFTER_HOST_LOSS_S, SOON_S, Cluster
from support.containers import docker
from support.waiting import until

pytestmark = pytest.mark.e2e


def is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def test_empty_pool_answers_503(cluster: Cluster):
    cluster.delete("/prime")
    until(lambda: not cluster.states("/prime"), SOON_S, "no worker is left of an earlier test")

    def empty() -> bool:
        for balancer in cluster.balancers:
            answer = requests.get(balancer, timeout=10)
            assert answer.status_code == 503, f"{balancer}: {answer.status_code} {answer.text[:80]}"
            assert answer.text.strip()
        return True

    until(empty, SOON_S, "each balancer says that there is nobody")


def test_requests_spread_evenly_over_twenty_workers_on_both_balancers(cluster: Cluster, fleet: dict[str, Any]):
    for balancer in cluster.balancers:
        cluster.spreads_evenly(balancer, 10, fleet, 20)


def test_answers_are_fresh_primes_from_a_named_instance(cluster: Cluster, fleet: dict[str, Any]):
    def asked() -> list[dict[str, Any]]:
        as_json = {"Accept": "application/json"}
        return [requests.get(cluster.balancers[0], headers=as_json, timeout=30).json() for _ in range(20)]

    answers = asked()
    assert all(is_prime(answer["prime"]) for answer in answers)
    assert len({answer["prime"] for answer in answers}) > 15
    # In turn, but for a reload meanwhile.
    until(lambda: {answer["instance"] for answer in asked()} == cluster.tasks("/prime"), SOON_S, "each has answered")


def test_balancers_register_themselves(cluster: Cluster):
    until(lambda: len(cluster.services("eratos-balancer")) == 2, SOON_S, "both balancers are in Consul")


def test_fleet_scales_up_and_down(cluster: Cluster, fleet: dict[str, Any]):
    before = cluster.tasks("/prime")
    cluster.apply(fleet, instances=30)
    cluster.settle(fleet, 30)
    assert before < cluster.tasks("/prime"), "scaling up replaced instances"
    cluster.apply(fleet, instances=5)
    cluster.settle(fleet, 5)


def test_killed_container_is_replaced(cluster: Cluster, fleet: dict[str, Any]):
    task, container = sorted(cluster.containers("/prime").items())[0]
    docker("kill", container)
    until(lambda: task not in cluster.tasks("/prime"), SOON_S, "Mesos knows of the death")
    cluster.settle(fleet, 20)


def test_workers_of_a_dead_host_run_elsewhere(cluster: Cluster, fleet: dict[str, Any]):
    host, lost = cluster.fullest_host("/prime")
    cluster.power_off(host)
    try:
        cluster.settle(fleet, 20, AFTER_HOST_LOSS_S)
        assert not lost & cluster.tasks("/prime")
    finally:
        cluster.power_on(host)
    until(lambda: any_on(cluster, fleet, host), AFTER_HOST_LOSS_S, f"{host} takes work again")


def any_on(cluster: Cluster, fleet: dict[str, Any], agent: str) -> bool:
    """Scale up and see whether the agent gets some of it."""
    cluster.apply(fleet, instances=30)
    cluster.settle(fleet, 30)
    on_agent = [c for c in cluster.containers("/prime").values() if cluster.host_of(c) == agent]
    if not on_agent:
        cluster.apply(fleet, instances=20)
        cluster.settle(fleet, 20)
    return bool(on_agent)


def test_death_of_the_leading_scheduler_touches_no_task(cluster: Cluster, fleet: dict[str, Any]):
    leader, containers, frameworks = cluster.leader(), cluster.containers("/prime"), cluster.framework_ids()
    scheduler = cluster.container_of(f"scheduler{leader}")
    docker("kill", scheduler)
    try:
        until(lambda: cluster.leads(3 - leader), SOON_S, "the other one leads")
        cluster.apply(fleet, instances=21)
        cluster.settle(fleet, 21)
        cluster.assert_kept("/prime", containers)
        until(lambda: cluster.framework_ids() == frameworks, SOON_S, "the framework is the same")
    finally:
        docker("start", scheduler)
    until(lambda: cluster.api("GET", "/v2/apps/prime", scheduler=leader).status_code == 200, SOON_S, "the follower forwards")


def test_second_app_answers_beside_the_first(cluster: Cluster, fleet: dict[str, Any], hello: dict[str, Any]):
    try:
        cluster.apply(hello)
        cluster.settle(hello, hello["instances"])
        for page in ("example1.html", "example2.html"):
            answer = requests.get(f"{cluster.balancers[1]}/hello/{page}", timeout=30)
            assert answer.status_code == 200, answer.text
            assert "<html" in answer.text.lower()
        assert re.fullmatch(r"\d+\s*", requests.get(cluster.balancers[1], timeout=30).text)
    finally:
        cluster.delete("/hello")
    cluster.settle(hello, 0)


def test_deleted_fleet_leaves_nothing(cluster: Cluster, fleet: dict[str, Any]):
    cluster.delete("/prime")
    cluster.settle(fleet, 0)
    # Of other apps a container may be kept for its log, for ten minutes.
    until(lambda: not cluster.all_worker_containers(app_id="/prime"), SOON_S, "every container is removed")
