"""While an app has no instance nobody else answers for it, and an app that did not ask is not served: on the real cluster.

A fleet is on `/` all the time: it is who answered for others before.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support.cluster import AFTER_HOST_LOSS_S, SOON_S, Cluster
from support.containers import docker
from support.waiting import until

pytestmark = pytest.mark.e2e

HOST = "solo.test"


class Visitor:
    """Asks both balancers for one host name until the end, and counts who answers: an app's id, or a status."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._visit, daemon=True)
        self.answers: Counter[str] = Counter()

    def __enter__(self) -> Visitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(timeout=60)

    def _visit(self) -> None:
        while not self._end.wait(0.01):
            for balancer in self._cluster.balancers:
                try:
                    answer = requests.get(balancer, headers={"Host": HOST}, timeout=30)
                except requests.RequestException as error:
                    self.answers[str(error)] += 1
                    continue
                instance = answer.headers.get("X-Instance", "")
                self.answers[instance.partition(".")[0] if answer.status_code == 200 else str(answer.status_code)] += 1


@pytest.fixture
def solo(cluster: Cluster, fleet: dict[str, Any]) -> Iterator[dict[str, Any]]:
    app = fleet | {"id": "/solo", "instances": 1, "labels": {"HAPROXY_0_VHOST": HOST}}
    cluster.apply(app)
    try:
        cluster.settle(app, 1)
        yield app
    finally:
        cluster.delete("/solo")
    cluster.settle(app, 0, AFTER_HOST_LOSS_S)


def served(cluster: Cluster) -> bool:
    return cluster.reached("/solo", HOST)


def test_nobody_else_answers_while_an_app_is_killed_scaled_to_nothing_or_made_anew(cluster: Cluster, solo: dict[str, Any]):
    with Visitor(cluster) as visitor:
        (container,) = cluster.containers("/solo").values()
        docker("kill", container)
        until(lambda: set(cluster.containers("/solo").values()) - {container}, SOON_S, "it has a successor")
        cluster.settle(solo, 1)
        cluster.apply(solo, instances=0)
        cluster.settle(solo, 0)
        until(lambda: visitor.answers["503"] > 20, SOON_S, "visitors hear that there is none")
        none = requests.get(cluster.balancers[0], headers={"Host": HOST}, timeout=30)
        assert none.status_code == 503 and "no instance of solo is ready" in none.text, none.text
        cluster.apply(solo, instances=1)
        cluster.settle(solo, 1)
        cluster.delete("/solo")
        cluster.apply(solo)
        cluster.settle(solo, 1)
        until(lambda: served(cluster), SOON_S, "it serves again")
    assert set(visitor.answers) <= {"solo", "503"}, visitor.answers
    assert visitor.answers["solo"] > 0


def test_nobody_else_answers_while_all_hosts_come_back_from_a_power_cut(
    cluster: Cluster, fleet: dict[str, Any], solo: dict[str, Any]
):
    hosts = ("agent1", "agent2", "agent3")
    with Visitor(cluster) as visitor:
        for host in hosts:
            cluster.power_off(host)
        for host in hosts:
            cluster.power_on(host)
        # Balancers have lived on, with all that they knew: nothing of it is held although new tasks have old tasks' place.
        cluster.settle(solo, 1, AFTER_HOST_LOSS_S)
        cluster.settle(fleet, 20, AFTER_HOST_LOSS_S)
        until(lambda: served(cluster), SOON_S, "it serves again")
    assert {answer for answer in visitor.answers if not answer.startswith("50")} == {"solo"}, visitor.answers


def test_an_app_that_did_not_ask_is_registered_and_not_served(cluster: Cluster, fleet: dict[str, Any]):
    # Named before the fleet, which it once took `/` from.
    app = fleet | {"id": "/a-plain", "instances": 1, "labels": {}}
    cluster.apply(app)
    try:
        until(lambda: cluster.services("a-plain"), SOON_S, "it is in Consul")
        for balancer in (1, 2):
            assert cluster.servers(balancer, "a-plain") == []
        answers = cluster.spread(cluster.balancers[0], 40, "/prime")
        assert {instance.partition(".")[0] for instance in answers} == {"prime"}
        explained = cluster.any_api("GET", "/v2/explain/a-plain").json()
        assert explained["balancers"][0].startswith("port 0: not balanced: nothing asks for it")
        assert not [reason for reason in explained["reasons"] if reason["reason"] == "NotBalanced"]
    finally:
        cluster.delete("/a-plain")
    until(lambda: not cluster.services("a-plain", passing=False), SOON_S, "it is gone")
