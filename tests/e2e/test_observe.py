"""``./dev up --observe``: Prometheus finds every part, has samples for each panel and each alert, and outlives a scheduler."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from devtool import health
from devtool.settings import read_settings
from support.cluster import SOON_S, Cluster, dev
from support.containers import docker
from support.folders import ROOT
from support.prometheus import Prometheus
from support.waiting import until

pytestmark = pytest.mark.e2e

EXAMPLE = ROOT / "examples" / "prometheus"


@pytest.fixture
def prometheus(cluster: Cluster, fleet: dict[str, Any]) -> Iterator[Prometheus]:
    dev("up", "--observe")
    yield Prometheus(cluster.url("ERATOS_PROMETHEUS_PORT"))
    dev("up", "--no-observe")
    docker("volume", "rm", f"{cluster.project}_prometheus")


def with_samples(expression: str) -> str:
    """Return an alert's expression so that it has samples while all is well, too: 0 or 1 instead of nothing or something."""
    inner = re.sub(r"^absent\((.*)\)$", r"\1", expression)
    return re.sub(r"(==|<|>) ", r"\1 bool ", inner)


def test_prometheus_finds_every_part_and_has_what_panels_and_alerts_ask_for(
    cluster: Cluster, fleet: dict[str, Any], prometheus: Prometheus, budgeted: str
) -> None:
    hosts = {cluster.host_of(container) for container in cluster.containers(fleet["id"]).values()}
    wanted = {("eratos-scheduler", "leader")} | {("eratos-executor", host) for host in hosts}
    wanted |= {("eratos-schedulers", f"scheduler{number}:8080") for number in (1, 2)}
    wanted |= {(job, f"balancer{number}") for job in ("eratos-balancer", "haproxy") for number in (1, 2)}

    def up() -> bool:
        found = prometheus.targets()
        by_name = {(each["labels"]["job"], each["labels"]["instance"]): each["health"] for each in found}
        workers = {each["labels"]["task"] for each in found if each["labels"]["job"] == "apps" and each["health"] == "up"}
        assert {name: by_name.get(name) for name in wanted} == dict.fromkeys(wanted, "up")
        assert workers == cluster.tasks(fleet["id"])
        return True

    until(up, SOON_S, "every part and every worker is scraped")

    prometheus.await_budget(cluster.balancers[0], budgeted)
    panels = json.loads((EXAMPLE / "dashboard.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    rules = [rule for group in yaml.safe_load((EXAMPLE / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
    for query in [*queries, *(with_samples(rule["expr"]) for rule in rules)]:
        until(lambda query=query: prometheus.samples(query), SOON_S, f"there are samples of {query}")

    def judged() -> bool:
        found = [rule for group in (prometheus.ask("rules") or {"groups": ()})["groups"] for rule in group["rules"]]
        return {rule["health"] for rule in found} == {"ok"} and len(found) == len(rules)

    until(judged, SOON_S, "every alert was judged")
    found = health.prometheus(read_settings(os.environ))
    assert not found.lacks, found

    # A scheduler is lost: the other is asked under the same name.
    docker("kill", cluster.container_of("scheduler1"))
    lost = time.time()
    query = 'timestamp(eratos_leader{job="eratos-scheduler"} == 1)'
    until(lambda: [one for one in prometheus.samples(query) if float(one["value"][1]) > lost], SOON_S, "the other's figures come")
