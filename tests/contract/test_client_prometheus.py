"""Debian's Prometheus against a running API: ``marathon_sd`` finds tasks, and the scheduler's own metrics are scraped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.builders import an_app, an_offer
from support.controller import FakeController
from support.prometheus import Prometheus, build, running
from support.waiting import until

from eratos.scheduler.api.server import ApiServer, create_api
from eratos.scheduler.core.events import PutApps

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: tasks
    marathon_sd_configs: [{{servers: ["http://127.0.0.1:{port}"], refresh_interval: 1s}}]
  - job_name: eratos
    metrics_path: {path}
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


@pytest.fixture
def controller() -> FakeController:
    return FakeController()


@pytest.fixture
def port(controller: FakeController) -> Iterator[int]:
    server = ApiServer(create_api(controller), "127.0.0.1", 0)
    server.start()
    yield server.port
    server.stop()


@pytest.fixture(params=["/metrics", "/metrics/prometheus"])
def prometheus(request: pytest.FixtureRequest, port: int, tmp_path: Path) -> Iterator[Prometheus]:
    """One that asks the API."""
    build()
    tmp_path.chmod(0o755)
    (tmp_path / "prometheus.yml").write_text(CONFIG.format(port=port, path=request.param))
    with running(tmp_path) as made:
        yield made


def test_it_finds_the_tasks_and_scrapes_the_scheduler(prometheus: Prometheus, controller: FakeController) -> None:
    app = an_app("/shop/cart", 2, labels={"tier": "web"}, portDefinitions=[{"port": 0, "name": "http", "labels": {"m": "yes"}}])
    controller.submit(PutApps((app, an_app("/idle", 0))))
    for task in controller.launch(an_offer()):
        controller.update(task, "RUNNING")

    def targets() -> list[dict[str, Any]]:
        found = [each for each in prometheus.targets() if each["labels"]["job"] == "tasks"]
        return found if len(found) == 2 else []

    first, second = until(targets, 60, "both tasks are found")
    labels = first["discoveredLabels"]
    assert labels["__meta_marathon_app"] == "/shop/cart"
    assert labels["__meta_marathon_app_label_tier"] == "web"
    assert labels["__meta_marathon_port_definition_label_m"] == "yes"
    assert {first["discoveredLabels"]["__address__"], second["discoveredLabels"]["__address__"]} == {
        f"host-a1:{port}" for instance in controller.machine.state.instances.values() for port in instance.ports
    }

    (sample,) = until(lambda: prometheus.samples("eratos_leader"), 60, "the scheduler's metrics are there")
    assert sample["value"][1] == "1"
