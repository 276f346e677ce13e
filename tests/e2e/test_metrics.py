"""Debian's Prometheus on the cluster, by the configuration and the alerts of examples/prometheus."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.cluster import SOON_S, Cluster
from support.folders import ROOT
from support.prometheus import Prometheus, build, promtool, running
from support.waiting import until

pytestmark = pytest.mark.e2e

EXAMPLE = ROOT / "examples" / "prometheus"


@pytest.fixture(scope="module", autouse=True)
def image() -> None:
    build()


@pytest.fixture
def prometheus(cluster: Cluster, fleet: dict[str, Any], tmp_path: Path) -> Iterator[Prometheus]:
    if cluster.secure:
        pytest.skip("the example shows no credential, which a secure cluster asks for")
    tmp_path.chmod(0o755)
    shutil.copy(EXAMPLE / "alerts.yml", tmp_path)
    example = (EXAMPLE / "prometheus.yml").read_text()
    port = cluster.ports["ERATOS_API1_PORT"]
    (tmp_path / "prometheus.yml").write_text(example.replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace("15s", "1s"))
    with running(tmp_path) as made:
        yield made


def test_every_part_is_found_and_scraped_and_every_alert_has_what_it_asks_for(
    cluster: Cluster, prometheus: Prometheus, budgeted: str
) -> None:
    # A host that came back after its tasks had gone elsewhere has no executor before its next task.
    hosts = {cluster.host_of(container) for container in cluster.containers("/prime").values()}

    def up() -> bool:
        targets = [(each["labels"], each["health"]) for each in prometheus.targets()]
        # Workers are there as well: the sample app's port has the label METRICS.
        assert {labels["task"] for labels, _ in targets if labels["job"] == "apps"} == cluster.tasks("/prime")
        found = {(labels["job"], labels["instance"]): health for labels, health in targets if labels["job"] != "apps"}
        wanted = {("eratos-executor", host) for host in hosts}
        wanted |= {("eratos-balancer", f"balancer{number}") for number in (1, 2)} | {("eratos-scheduler", "leader")}
        assert wanted <= found.keys() <= wanted | {("eratos-executor", f"agent{number}") for number in (1, 2, 3)}
        assert set(found.values()) == {"up"}, found
        return True

    until(up, SOON_S, "all parts are scraped, and the workers found")
    prometheus.await_budget(cluster.balancers[0], budgeted)
    rules = [rule for group in yaml.safe_load((EXAMPLE / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
    for metric in sorted({name for rule in rules for name in re.findall(r"\beratos_[a-z_]+", rule["expr"])}):
        until(lambda metric=metric: prometheus.samples(metric), SOON_S, f"there are samples of {metric}")

    def judged() -> bool:
        found = [rule for group in (prometheus.ask("rules") or {"groups": ()})["groups"] for rule in group["rules"]]
        return {rule["health"] for rule in found} == {"ok"} and len(found) == len(rules)

    until(judged, SOON_S, "every alert was judged")


@pytest.mark.parametrize(
    "words",
    [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")],
    ids=lambda words: " ".join(words),
)
def test_promtool_has_nothing_against_the_example(words: tuple[str, ...]) -> None:
    done = promtool(EXAMPLE, *words)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", ["leader", "executors/HOST", "balancers/balancer1"])
def test_promtool_has_nothing_against_the_metrics(cluster: Cluster, fleet: dict[str, Any], path: str) -> None:
    # One that has an executor.
    path = path.replace("HOST", cluster.fullest_host(fleet["id"])[0])

    def metrics() -> str:
        answer = cluster.any_api("GET", f"/v2/metrics/{path}")
        assert answer.status_code == 200, answer.text
        return answer.text

    done = promtool(EXAMPLE, "check", "metrics", stdin=until(metrics, SOON_S, f"{path} shows its metrics"))
    assert done.returncode == 0, done.stdout + done.stderr
