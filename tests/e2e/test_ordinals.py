"""A replicated database on the real cluster: Redis of examples/redis, whose roles go by ordinals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.cluster import SOON_S, Cluster
from support.containers import docker
from support.folders import ROOT
from support.waiting import until

pytestmark = pytest.mark.e2e

EXAMPLE = ROOT / "examples" / "redis"
APP: dict[str, Any] = json.loads((EXAMPLE / "app.json").read_text())


def by_ordinal(cluster: Cluster) -> dict[int, str]:
    """Return the tasks that hold ordinals 0 to 2; assert that each is held once, and healthy."""
    tasks = cluster.any_api("GET", f"/v2/apps{APP['id']}").json()["app"]["tasks"]
    assert sorted(task["eratos"]["ordinal"] for task in tasks) == [0, 1, 2], tasks
    unwell = [
        task["id"] for task in tasks if not all(result["alive"] for result in task["healthCheckResults"] or [{"alive": False}])
    ]
    assert not unwell, f"not healthy are {unwell}"
    return {task["eratos"]["ordinal"]: task["id"] for task in tasks}


def redis(cluster: Cluster, task: str, *words: str) -> str:
    """Have a task's Redis carry out a command, and return its answer."""
    containers = cluster.containers(APP["id"])
    assert task in containers, f"{task} has no container"
    return docker("exec", containers[task], "sh", "-c", 'redis-cli -p "$PORT0" "$@"', "redis-cli", *words).strip()


def test_a_killed_primary_comes_back_with_its_ordinal_and_the_data(cluster: Cluster) -> None:
    docker("build", "-q", "-t", APP["container"]["docker"]["image"], str(EXAMPLE))
    cluster.apply(APP)
    try:
        tasks = until(lambda: by_ordinal(cluster), 2 * SOON_S, "each ordinal is held and healthy")
        assert redis(cluster, tasks[0], "set", "greeting", "hello") == "OK"

        def copied(key: str, value: str) -> bool:
            found = by_ordinal(cluster)
            assert [redis(cluster, found[ordinal], "get", key) for ordinal in (0, 1, 2)] == [value] * 3
            return True

        until(lambda: copied("greeting", "hello"), SOON_S, "the replicas copy the primary")
        docker("kill", cluster.containers(APP["id"])[tasks[0]])

        def back() -> str:
            found = by_ordinal(cluster)
            assert found[0] != tasks[0], "its task is still the one that was killed"
            assert {ordinal: found[ordinal] for ordinal in (1, 2)} == {ordinal: tasks[ordinal] for ordinal in (1, 2)}
            return found[0]

        primary = until(back, SOON_S, "another task holds ordinal 0")
        assert redis(cluster, primary, "get", "greeting") == "hello", "the primary took the data of no replica"
        assert redis(cluster, primary, "set", "more", "yes") == "OK"
        until(lambda: copied("more", "yes"), SOON_S, "the replicas were told of the primary")
    finally:
        cluster.delete(APP["id"])
    until(lambda: not cluster.states(APP["id"]), SOON_S, "nothing of the app is left")
