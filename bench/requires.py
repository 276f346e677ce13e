"""How soon a change in Consul is told to many consumers, and what requirements add to a start.

``change_p99_s``: from the change of a key in Consul to the moment when a consumer's command for it runs, of 200 process tasks on
three hosts, in the worst 1 of 100; a quarter of a second of it is the quiet that is waited for. ``start_ms``: by how much longer
an instance that requires a service and a key takes from POST to running than one that requires nothing, median of interleaved
pairs. Run by ``./dev bench requires`` on a running cluster; it uses apps of its own and removes them. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from functools import partial
from typing import Any

import requests
from _fleet import machine
from support.cluster import Cluster
from support.containers import docker
from support.waiting import until

KEY = "bench/requires"
TOLD = "/tmp/eratos-bench-told"
CONSUMERS = "/bench/consumers"
AGENTS = ("agent1", "agent2", "agent3")
#: From a change to the first look at who was told: looking takes CPU on every host, which the consumers' commands want.
LOOK_S = 3.0


def put(cluster: Cluster, value: str) -> float:
    """Change the key; return when it was changed."""
    answer = requests.put(f"{cluster.url('ERATOS_CONSUL_PORT')}/v1/kv/{KEY}", data=value, timeout=10)
    answer.raise_for_status()
    return time.time()


def a_process(app_id: str, instances: int, extras: dict[str, Any]) -> dict[str, Any]:
    app = {"id": app_id, "instances": instances, "cpus": 0.005, "mem": 6, "cmd": "exec sleep 100000", "portDefinitions": []}
    return app | {"eratos": extras}


def told(cluster: Cluster, value: str) -> list[float]:
    """Return when each consumer's command ran with a value."""
    found = []
    for agent in AGENTS:
        text = docker("exec", cluster.container_of(agent), "sh", "-c", f"cat {TOLD} 2>/dev/null || true")
        found += [float(line.split()[1]) for line in text.splitlines() if line.split()[0] == value]
    return found


def all_told(cluster: Cluster, value: str, count: int) -> bool:
    return len(told(cluster, value)) == count


def change(cluster: Cluster, count: int, rounds: int) -> list[float]:
    """Return the seconds from each change to each consumer's command."""
    put(cluster, "v0")
    command = f'echo "$REQUIRE_SETTING $(date +%s.%N)" >> {TOLD}'
    setting = {"key": KEY, "onChange": {"command": command}}
    cluster.apply(a_process(CONSUMERS, count, {"requires": {"setting": setting}}))
    until(lambda: len(cluster.tasks(CONSUMERS)) == count, 180, f"{count} consumers run", pace_s=1)
    took: list[float] = []
    for number in range(1, rounds + 1):
        value = f"v{number}-{time.time():.0f}"
        began = put(cluster, value)
        time.sleep(LOOK_S)
        until(partial(all_told, cluster, value, count), 120, "all were told", pace_s=1)
        took += [moment - began for moment in told(cluster, value)]
    return took


def start_s(cluster: Cluster, app: dict[str, Any]) -> float:
    """Return the seconds from POST to running, and remove the app."""
    began = time.monotonic()
    cluster.apply(app)
    until(lambda: len(cluster.tasks(app["id"])) == 1, 60, "it runs", pace_s=0.005)
    took = time.monotonic() - began
    cluster.delete(app["id"])
    until(lambda: not cluster.tasks(app["id"]), 60, "it is gone")
    return took


def start(cluster: Cluster, pairs: int) -> float:
    """Return by how many milliseconds requirements make a start longer."""
    wanted = {"requires": {"setting": {"key": KEY}, "self": {"service": "consul"}}}
    more = [
        start_s(cluster, a_process("/bench/with", 1, wanted)) - start_s(cluster, a_process("/bench/without", 1, {}))
        for _ in range(pairs)
    ]
    return 1000 * statistics.median(more)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--consumers", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=10)
    options = parser.parse_args()
    cluster = Cluster.from_environment()
    try:
        took = sorted(change(cluster, options.consumers, options.rounds))
        cluster.delete(CONSUMERS)
        until(lambda: not cluster.tasks(CONSUMERS), 180, "the consumers are gone", pace_s=1)
        p99 = took[min(len(took) - 1, round(0.99 * len(took)))]
        print(f"told after {took[0]:.3f} s at least, {statistics.median(took):.3f} s in the middle, {p99:.3f} s at p99")
        start_ms = start(cluster, options.pairs)
    finally:
        for app_id in (CONSUMERS, "/bench/with", "/bench/without"):
            cluster.delete(app_id)
        for agent in AGENTS:
            docker("exec", cluster.container_of(agent), "rm", "-f", TOLD)
    print(json.dumps({"bench": "requires", "change_p99_s": round(p99, 3), "start_ms": round(start_ms, 1), **machine()}))


if __name__ == "__main__":
    main()
