"""docs/metrics.md names each metric that there is, and the alerts ask for no other."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from support.builders import an_app, an_offer
from support.controller import FakeController
from support.folders import ROOT

from eratos.common import exposition
from eratos.executor.figures import Figures
from eratos.executor.usage import UsageWatch
from eratos.haproxy import config
from eratos.haproxy.apply import Applier
from eratos.scheduler.api.metrics import StateCollector
from eratos.scheduler.core.events import FiguresSeen, PutApps

DOCUMENT = ROOT / "docs" / "metrics.md"
ALERTS = ROOT / "examples" / "prometheus" / "alerts.yml"
PANELS = ROOT / "examples" / "prometheus" / "dashboard.json"


def exposed(folder: Path) -> dict[str, str]:
    """Return the families of all parts, by the name that their samples begin with, and their kind."""
    controller = FakeController()
    routed = {"labels": {"HAPROXY_0_VHOST": "a.test"}, "eratos": {"errorBudget": {"objective": 99, "window": "1h"}}}
    controller.submit(PutApps((an_app("/a", **routed),)))
    controller.launch(an_offer())
    controller.handle(FiguresSeen(()))
    registry = CollectorRegistry()
    registry.register(StateCollector(controller, lambda: controller.now))
    applier = Applier(config.read({"ERATOS_STATE_DIR": str(folder)}), None, set, dict)  # type: ignore[arg-type]
    old = exposition.gauge("eratos_balancer_old_processes", "x", 0)
    executor = [*Figures().families([]), *UsageWatch(tuple, dict).families()]
    parts = exposition.render([*executor, *applier.families(), old, *exposition.of_process()])
    text = generate_latest(registry).decode() + parts.decode()
    families = text_string_to_metric_families(text)
    return {family.name + ("_total" if family.type == "counter" else ""): family.type for family in families}


def family(name: str) -> str:
    """Return the family of a sample: a histogram's have endings of their own."""
    return re.sub(r"_(bucket|sum|count)$", "", name)


def test_each_metric_stands_in_the_document_and_no_other(tmp_path: Path) -> None:
    named = set(re.findall(r"\b(?:eratos|process)_[a-z_]+[a-z]\b", DOCUMENT.read_text()))
    assert named == exposed(tmp_path).keys()


def test_alerts_ask_for_metrics_that_there_are_and_each_has_its_advice(tmp_path: Path) -> None:
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    asked = {family(name) for rule in rules for name in re.findall(r"\beratos_[a-z_]+", rule["expr"])}
    assert asked <= exposed(tmp_path).keys()
    rows = "".join(line.split("|")[1] for line in DOCUMENT.read_text().splitlines() if line.startswith("| `Eratos"))
    assert set(re.findall(r"Eratos\w+", rows)) == {rule["alert"] for rule in rules}


def test_panels_ask_for_metrics_that_there_are(tmp_path: Path) -> None:
    panels = [panel for panel in json.loads(PANELS.read_text())["panels"] if panel["type"] != "row"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    asked = {family(name) for query in queries for name in re.findall(r"\b(?:eratos|process)_[a-z_]+", query)}
    assert asked and asked <= exposed(tmp_path).keys()
    assert len({panel["title"] for panel in panels}) == len(panels) and all(panel["targets"] for panel in panels)
