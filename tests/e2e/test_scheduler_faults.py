"""What goes wrong around the scheduler, on the real cluster: whatever it is, tasks that nothing forced to move are not touched.

Each test begins and ends with twenty workers at rest.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from support.cluster import AFTER_HOST_LOSS_S, SOON_S, Cluster
from support.containers import docker
from support.waiting import MOMENT_S, until

pytestmark = pytest.mark.e2e

#: How long a leader is frozen: its session with ZooKeeper (6 s) is long over then, and Mesos has sent it two heartbeats.
FROZEN_S = 45.0
#: And longer than Mesos may be silent before a subscription counts as lost, five heartbeats of 15 s.
SILENT_S = 90.0


def same_framework(cluster: Cluster, frameworks: set[str]) -> None:
    """Wait until the framework is connected, after a change of scheduler or master, and is the one that was there before."""
    until(lambda: cluster.framework_ids() == frameworks, SOON_S, f"the framework is {frameworks} again")


@pytest.mark.parametrize("frozen_s", [FROZEN_S, pytest.param(SILENT_S, marks=pytest.mark.hours)])
def test_leader_frozen_and_thawed_does_no_harm(cluster: Cluster, fleet: dict[str, Any], frozen_s: float):
    leader, containers, frameworks = cluster.leader(), cluster.containers("/prime"), cluster.framework_ids()
    frozen = cluster.container_of(f"scheduler{leader}")
    docker("pause", frozen)
    froze_at = time.monotonic()
    try:
        until(lambda: cluster.leads(3 - leader), SOON_S, "the other one leads")
        change = ("PUT", "/v2/apps/prime?force=true", fleet | {"instances": 22})
        until(lambda: cluster.api(*change, scheduler=3 - leader).status_code == 200, SOON_S, "it takes a change")
        cluster.settle(fleet, 22)
        # Frozen for good means: longer than every timeout it could be saved by.
        until(lambda: time.monotonic() - froze_at >= frozen_s, frozen_s + 1, "the leader was frozen for long", pace_s=1)
    finally:
        docker("unpause", frozen)
    # It finds out that it no longer leads, ends, and is started again as a follower.
    info = ("GET", "/v2/info")
    until(lambda: cluster.api(*info, scheduler=leader).json().get("elected") is False, SOON_S, "it follows")
    cluster.settle(fleet, 22)
    cluster.assert_kept("/prime", containers)
    same_framework(cluster, frameworks)
    cluster.apply(fleet, instances=20)
    cluster.settle(fleet, 20)


def test_both_schedulers_down_and_up_again_find_everything_as_it_was(cluster: Cluster, fleet: dict[str, Any]):
    containers, frameworks = cluster.containers("/prime"), cluster.framework_ids()
    schedulers = [cluster.container_of(f"scheduler{number}") for number in (1, 2)]
    docker("kill", *schedulers)
    docker("start", *schedulers)
    until(lambda: cluster.leader(), SOON_S, "a scheduler leads")
    cluster.settle(fleet, 20)
    cluster.assert_kept("/prime", containers)
    same_framework(cluster, frameworks)


def test_stopped_scheduler_leaves_every_task(cluster: Cluster, fleet: dict[str, Any]):
    leader, containers = cluster.leader(), cluster.containers("/prime")
    docker("restart", cluster.container_of(f"scheduler{leader}"))
    until(lambda: cluster.leader(), SOON_S, "a scheduler leads")
    cluster.settle(fleet, 20)
    cluster.assert_kept("/prime", containers)


def test_death_of_the_leading_master_touches_no_task(cluster: Cluster, fleet: dict[str, Any]):
    containers, frameworks = cluster.containers("/prime"), cluster.framework_ids()
    leader = cluster.leading_master()
    master = cluster.container_of(f"master{leader}")
    docker("kill", master)
    try:
        until(lambda: cluster.leading_master() != leader, SOON_S, "another master leads")
        # The new master learns of tasks from agents, one after the other; scaling shows that it works with us.
        until(lambda: cluster.framework_ids() == frameworks, SOON_S, "the framework is subscribed with it")
        cluster.settle(fleet, 20)
        cluster.assert_kept("/prime", containers)
        cluster.apply(fleet, instances=21)
        cluster.settle(fleet, 21)
        cluster.assert_kept("/prime", containers)
    finally:
        docker("start", master)


def test_zookeeper_restarted_costs_no_task(cluster: Cluster, fleet: dict[str, Any]):
    containers, frameworks = cluster.containers("/prime"), cluster.framework_ids()
    docker("restart", cluster.container_of("zookeeper"))
    until(lambda: cluster.any_api("PUT", "/v2/apps/prime", fleet | {"instances": 21}).ok, SOON_S, "changes are stored again")
    cluster.settle(fleet, 21)
    cluster.assert_kept("/prime", containers)
    same_framework(cluster, frameworks)


def test_store_out_of_reach_holds_changes_and_starts_back_until_it_returns(cluster: Cluster, fleet: dict[str, Any]):
    containers = cluster.containers("/prime")
    zookeeper, follower = cluster.container_of("zookeeper"), cluster.container_of(f"scheduler{3 - cluster.leader()}")

    def refused() -> bool:
        """Ask both, as without ZooKeeper either may just be starting: none may take it, and one has to say that it does not."""
        answered = []
        for scheduler in (1, 2):
            try:
                answer = cluster.api("PUT", "/v2/apps/prime?force=true", fleet | {"instances": 23}, scheduler=scheduler)
            except OSError:
                continue
            if answer.ok:
                pytest.fail("a change was taken that could not be stored")
            answered.append(answer.status_code)
        return 503 in answered

    docker("pause", zookeeper)
    try:
        # A scheduler that is started now has no store: it says so, and is started again until there is one.
        docker("restart", "-t", "1", follower)
        until(refused, SOON_S, "a scheduler says that it cannot store a change", pace_s=MOMENT_S)
        assert cluster.containers("/prime") == containers, "something was launched or killed without a store"
    finally:
        docker("unpause", zookeeper)
    until(lambda: cluster.leader(), SOON_S, "a scheduler leads")
    # A change that was answered 503 "may still be made". Asked for again it is made once; scaling back would stop others.
    cluster.apply(fleet, instances=23)
    cluster.settle(fleet, 23)
    cluster.assert_kept("/prime", containers)


def test_agent_process_restarted_keeps_its_tasks(cluster: Cluster, fleet: dict[str, Any]):
    containers = cluster.containers("/prime")
    docker("exec", cluster.container_of("agent1"), "s6-svc", "-k", "/etc/eratos/services/mesos-agent")
    cluster.settle(fleet, 20)
    cluster.apply(fleet, instances=21)
    cluster.settle(fleet, 21)
    cluster.assert_kept("/prime", containers)


def test_host_that_was_away_past_its_timeout_comes_back_and_the_surplus_goes(cluster: Cluster, fleet: dict[str, Any]):
    """The agent's container and its Consul agent are frozen, as if cut off by the network; the workers go on meanwhile."""
    host, there = cluster.fullest_host("/prime")
    cut_off = [cluster.container_of(name) for name in (host, f"consul-{host}")]
    docker("pause", *cut_off)
    try:
        until(lambda: not there & cluster.tasks("/prime"), AFTER_HOST_LOSS_S, "Mesos has given the host up")
        until(lambda: len(cluster.tasks("/prime")) == 20, AFTER_HOST_LOSS_S, "twenty run elsewhere")
    finally:
        docker("unpause", *cut_off)
    cluster.settle(fleet, 20, AFTER_HOST_LOSS_S)


def test_host_is_emptied_before_its_maintenance_and_the_master_told(cluster: Cluster, fleet: dict[str, Any]):
    host, there = cluster.fullest_host("/prime")
    before = cluster.tasks("/prime")
    machine = {"hostname": host, "ip": cluster.agent_ip(host)}
    begin_ns = (time.time() + 120) * 1e9
    window = {"machine_ids": [machine], "unavailability": {"start": {"nanoseconds": int(begin_ns)}}}
    answer = cluster.master("POST", "/maintenance/schedule", {"windows": [window]})
    assert answer.ok, answer.text
    try:

        def emptied() -> bool:
            now = cluster.tasks("/prime")
            if len(there - now) > len(now - before):
                pytest.fail(f"instances were stopped before their replacements ran: {there - now} for {now - before}")
            return all(cluster.host_of(container) != host for container in cluster.containers("/prime").values())

        until(emptied, AFTER_HOST_LOSS_S, f"{host} is empty", pace_s=MOMENT_S)

        def accepted() -> bool:
            draining = cluster.master("GET", "/maintenance/status").json().get("draining_machines", ())
            return any(s.get("status") == "ACCEPT" for found in draining for s in found.get("statuses", ()))

        until(accepted, SOON_S, "the master knows that the host can go")
        cluster.settle(fleet, 20)
    finally:
        assert cluster.master("POST", "/maintenance/schedule", {"windows": []}).ok
