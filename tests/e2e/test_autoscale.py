"""Autoscaling on the real cluster: load makes an app grow, a balancer's silence keeps it, and the end of both makes it shrink.

By CPU as well, of workers that spend it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from support.cluster import SOON_S, Cluster
from support.containers import docker
from support.waiting import until

pytestmark = pytest.mark.e2e

HOST, APP = "scaled.test", "/scaled"


@pytest.fixture
def app(cluster: Cluster, hello: dict[str, Any]) -> Iterator[dict[str, Any]]:
    # Without a window it would shrink at the first look that finds less.
    policy = {"min": 1, "max": 3, "target": {"requestsPerSecond": 5}, "stabilizationWindowSeconds": 0, "cooldownSeconds": 1}
    yield hello | {"id": APP, "labels": {"HAPROXY_0_VHOST": HOST}, "eratos": {"autoscale": policy}}
    cluster.delete(APP)
    until(lambda: not cluster.containers(APP), SOON_S, "the app is gone")


@pytest.fixture
def busy(cluster: Cluster, prime: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A prime worker whose every answer takes half of the CPU that is its share of a second."""
    policy = {"min": 1, "max": 2, "target": {"cpu": 0.5}, "stabilizationWindowSeconds": 0, "cooldownSeconds": 1}
    labels = {"HAPROXY_0_VHOST": "busy.test"}
    yield prime | {"id": "/busy", "env": {"WORK_S": "0.05"}, "labels": labels, "eratos": {"autoscale": policy}}
    cluster.delete("/busy")
    until(lambda: not cluster.containers("/busy"), SOON_S, "the app is gone")


@contextmanager
def load(cluster: Cluster, host: str = HOST, path: str = "/hello") -> Iterator[None]:
    """Send more requests a second than two instances are to have, until left."""
    over = threading.Event()

    def send() -> None:
        while not over.wait(0.1):
            try:
                requests.get(cluster.balancers[0] + path, headers={"Host": host}, timeout=10)
            except requests.RequestException:
                pass  # how many come is what counts here

    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    try:
        yield
    finally:
        over.set()
        for sender in senders:
            sender.join()


def test_load_grows_an_app_and_silence_does_not_shrink_it(cluster: Cluster, app: dict[str, Any]) -> None:
    def shown() -> dict[str, Any]:
        found: dict[str, Any] = cluster.any_api("GET", f"/v2/explain{APP}").json()["autoscale"]
        return found

    def nothing_known_to_come() -> dict[str, Any]:
        found = shown()
        nothing = found["measured"]["requestsPerSecond"]["value"] == 0 and "not all is known" in found["message"]
        return found if nothing else {}

    def instances() -> int:
        return int(shown()["instances"])

    cluster.apply({key: value for key, value in app.items() if key != "instances"})
    until(lambda: len(cluster.services("scaled")) == 1, SOON_S, "it begins with the fewest")
    silent = cluster.container_of("balancer2")
    with load(cluster):
        until(lambda: instances() == 3 and len(cluster.services("scaled")) == 3, 2 * SOON_S, "load makes it grow")
        docker("pause", silent)
        until(lambda: shown()["missing"], SOON_S, "a balancer is silent")
    try:
        found = until(nothing_known_to_come, SOON_S, "nothing is known to come any more")
        assert found["instances"] == 3
    finally:
        docker("unpause", silent)
    until(lambda: instances() == 1, 3 * SOON_S, "it shrinks once all is known")
    assert shown()["last"]["message"].startswith("1 instances wanted because 0 requests/s at a target of 5 each")


def test_cpu_grows_an_app_and_its_end_shrinks_it(cluster: Cluster, busy: dict[str, Any]) -> None:
    def shown() -> dict[str, Any]:
        found: dict[str, Any] = cluster.any_api("GET", "/v2/explain/busy").json()["autoscale"]
        return found

    def measured() -> bool:
        tasks = cluster.any_api("GET", "/v2/usage?app=/busy").json()["tasks"]
        return len(tasks) == 2 and all(task["cpus"] is not None and task["memBytes"] > 0 for task in tasks)

    cluster.apply({key: value for key, value in busy.items() if key != "instances"})
    until(lambda: len(cluster.services("busy")) == 1, SOON_S, "it begins with the fewest")
    with load(cluster, "busy.test", "/"):
        until(lambda: shown()["instances"] == 2 and len(cluster.services("busy")) == 2, 3 * SOON_S, "CPU makes it grow")
        until(measured, SOON_S, "both are measured")
    until(lambda: shown()["instances"] == 1, 3 * SOON_S, "it shrinks once none is spent")
    assert "CPU limits in use at a target of 0.5 each" in shown()["last"]["message"]
