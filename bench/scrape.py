"""What it costs to be scraped: the CPU time that all parts, balancers and workers spend on answering Prometheus.

Everything that ``./dev up --observe`` asks is asked over and over for some seconds, as Prometheus would once in 15 s. What the
cluster spends by itself is measured before and after, and taken off. ``core_percent`` is what one core spends on it at that pace;
``prometheus_percent`` is what Prometheus itself takes meanwhile, where it is part of the cluster. Run by ``./dev bench scrape``
on a running cluster; the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import docker
from devtool import cluster as containers
from devtool.settings import SCHEDULERS, Settings, read_settings
from support.cluster import Cluster

INTERVAL_S = 15
SCOPES = "scope=global&scope=frontend&scope=backend"


def questions(cluster: Cluster, settings: Settings) -> list[Callable[[], int]]:
    """Return one call for each target; it returns the size of the answer in bytes."""

    def api(path: str, scheduler: int) -> int:
        answer = cluster.ask("GET", f"ERATOS_API{scheduler}_PORT", path)
        answer.raise_for_status()
        return len(answer.content)

    def plain(url: str) -> int:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return len(answer.read())

    leader = cluster.leader()
    targets = cluster.any_api("GET", "/v2/metrics/targets").json()
    calls: list[Callable[[], int]] = [partial(api, one["labels"]["__metrics_path__"], leader) for one in targets]
    calls += [partial(api, "/metrics/prometheus", number) for number in range(1, SCHEDULERS + 1)]
    # What finds the targets is asked as often.
    calls += [partial(api, path, leader) for path in ("/v2/metrics/targets", "/v2/metrics/targets", "/v2/apps/?embed=apps.tasks")]
    stats = [settings.url("STATS", number, f"/metrics?{SCOPES}") for number in range(1, settings.balancers + 1)]
    hosts = {one.service: one for one in containers.containers(settings.project)}
    network = f"{settings.project}_default"
    addresses = {name: one.networks[network].address for name, one in hosts.items() if network in one.networks}
    for task in cluster.any_api("GET", "/v2/tasks").json()["tasks"]:
        if task["appId"] == "/prime" and task["ports"]:
            stats.append(f"http://{addresses[task['host']]}:{task['ports'][0]}/metrics")
    return calls + [partial(plain, url) for url in stats]


class Meter:
    """The CPU time of all containers of a cluster but Prometheus'."""

    def __init__(self, settings: Settings) -> None:
        self._client = docker.from_env()
        found = [*containers.containers(settings.project), *containers.workers(settings)]
        self._parts = [one.id for one in found if one.running and one.service != "prometheus"]
        self._prometheus = [one.id for one in found if one.running and one.service == "prometheus"]

    def parts_s(self) -> float:
        with ThreadPoolExecutor(max_workers=len(self._parts)) as pool:
            return sum(pool.map(self._used_s, self._parts))

    def prometheus_s(self) -> float | None:
        """Return Prometheus' own, None where there is none."""
        return self._used_s(self._prometheus[0]) if self._prometheus else None

    def _used_s(self, container: str) -> float:
        stats: dict[str, Any] = self._client.api.stats(container, stream=False, one_shot=True)
        return float(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9


def spent(meter: Meter, work: Callable[[], None]) -> tuple[float, float]:
    """Return the CPU seconds that the parts spent during some work, and how long that was, from one reading to the next."""
    began = time.monotonic()
    before = meter.parts_s()
    work()
    took_s = time.monotonic() - began
    return meter.parts_s() - before, took_s


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench scrape", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60, help="how often everything is asked")
    parser.add_argument("--idle", type=float, default=30.0, help="seconds without questions, before and after each")
    options = parser.parse_args()
    settings = read_settings(os.environ)
    cluster, meter = Cluster.from_environment(), Meter(settings)
    asked = questions(cluster, settings)
    size = sum(call() for call in asked)
    own_s, started = meter.prometheus_s(), time.monotonic()

    def ask_all() -> None:
        for _ in range(options.rounds):
            for call in asked:
                call()

    before = spent(meter, lambda: time.sleep(options.idle))
    busy = spent(meter, ask_all)
    after = spent(meter, lambda: time.sleep(options.idle))
    idle_per_s = (before[0] + after[0]) / (before[1] + after[1])
    round_s = (busy[0] - idle_per_s * busy[1]) / options.rounds
    found: dict[str, Any] = {
        "targets": len(asked) - 3,
        "kib": round(size / 1024),
        "round_cpu_ms": round(round_s * 1000, 1),
        "idle_percent": round(idle_per_s * 100, 1),
        "core_percent": round(round_s / INTERVAL_S * 100, 2),
    }
    now_s = meter.prometheus_s()
    if own_s is not None and now_s is not None:
        found["prometheus_percent"] = round((now_s - own_s) / (time.monotonic() - started) * 100, 2)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
