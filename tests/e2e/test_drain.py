"""A host is drained by the API: emptied without fewer instances at any time, by the next leader too, and given back."""

from __future__ import annotations

from typing import Any

import pytest
from support.cluster import AFTER_HOST_LOSS_S, SOON_S, Cluster
from support.containers import docker
from support.waiting import MOMENT_S, until

pytestmark = pytest.mark.e2e


def test_a_drained_host_is_emptied_over_a_change_of_leader_and_given_back(cluster: Cluster, fleet: dict[str, Any]) -> None:
    host, there = cluster.fullest_host("/prime")
    before, leader = cluster.tasks("/prime"), cluster.container_of(f"scheduler{cluster.leader()}")
    answer = cluster.any_api("PUT", f"/v2/drains/{host}", {})
    assert answer.status_code == 200, answer.text
    try:
        docker("kill", leader)

        def empty() -> bool:
            now = cluster.tasks("/prime")
            if len(there - now) > len(now - before):
                pytest.fail(f"instances were stopped before their replacements ran: {there - now} for {now - before}")
            return bool(cluster.any_api("GET", f"/v2/drains/{host}").json()["empty"])

        until(empty, AFTER_HOST_LOSS_S, f"{host} is empty", pace_s=MOMENT_S)
        cluster.settle(fleet, 20)
        assert not there & cluster.tasks("/prime")
        assert host not in {cluster.host_of(container) for container in cluster.containers("/prime").values()}
    finally:
        ended = cluster.any_api("DELETE", f"/v2/drains/{host}")
        docker("start", leader)
    assert ended.status_code == 200, ended.text
    cluster.apply(fleet, instances=26)

    def used() -> bool:
        return any(cluster.host_of(container) == host for container in cluster.containers("/prime").values())

    until(used, SOON_S, f"{host} takes instances again")
