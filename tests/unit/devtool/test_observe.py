"""./dev up --observe: what Prometheus is told, and when it counts as well."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from devtool import health, web
from devtool.health import Finding
from devtool.settings import COMPOSE_FOLDER, Settings

FOLDER = COMPOSE_FOLDER / "images" / "prometheus"
OBSERVED = Settings(observe=True)


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return found


def without_access(found: Any) -> Any:
    """Return a configuration without what tells how somebody is asked who asks who asks."""
    if isinstance(found, dict):
        kept = {key: without_access(value) for key, value in found.items() if key not in ("authorization", "tls_config")}
        return {key: "http" if key == "scheme" else value for key, value in kept.items()}
    if isinstance(found, list):
        return [without_access(each) for each in found]
    return found.replace("https://", "http://") if isinstance(found, str) else found


def test_the_configuration_of_a_secure_cluster_differs_by_credentials_alone() -> None:
    assert without_access(read("secure.yml")) == without_access(read("prometheus.yml"))


def test_schedulers_alone_are_shown_the_token() -> None:
    for job in read("secure.yml")["scrape_configs"]:
        discoveries = [each for kind in ("http_sd_configs", "marathon_sd_configs") for each in job.get(kind, ())]
        asked = [*discoveries, *([job] if job["job_name"] in ("eratos", "eratos-schedulers") else [])]
        assert asked and all(each["authorization"] == {"credentials_file": "/secrets/token"} for each in asked), job
        assert all(each["tls_config"]["ca_file"] == "/secrets/api-ca.pem" for each in asked), job
        if job["job_name"] in ("haproxy", "apps"):
            assert "authorization" not in job and "tls_config" not in job


def targets(**healths: str) -> str:
    """Return what Prometheus says of its targets: job_instance=health."""
    labels = [(dict(zip(("job", "instance"), name.split("__"), strict=True)), health) for name, health in healths.items()]
    return json.dumps({"data": {"activeTargets": [{"labels": each, "health": health} for each, health in labels]}})


@pytest.mark.parametrize(
    ("answer", "serves", "lack"),
    [
        ((200, targets(**{"eratos-scheduler__leader": "up", "haproxy__balancer1": "up"})), "2 of 2 targets answer", ""),
        (
            (200, targets(**{"eratos-scheduler__leader": "up", "eratos-executor__agent1": "down"})),
            "1 of 2 targets answer, but not eratos-executor agent1",
            "",
        ),
        ((200, targets()), "0 of 0 targets answer", "it has no figures of the leading scheduler yet"),
        (
            (200, targets(**{"eratos-scheduler__leader": "down"})),
            "0 of 1 targets answer, but not eratos-scheduler leader",
            "it has no figures of the leading scheduler yet",
        ),
        ((503, "Service Unavailable"), "", "prometheus answers HTTP 503"),
        (web.Unanswered("refused"), "", "prometheus does not answer (refused)"),
    ],
)
def test_prometheus_is_well_once_it_has_figures_of_the_leader(
    monkeypatch: pytest.MonkeyPatch, answer: Any, serves: str, lack: str
) -> None:
    def asked(*_: Any) -> tuple[int, str]:
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    monkeypatch.setattr(web, "request", asked)
    lacks = (health.Lack(lack, ("prometheus",)),) if lack else ()
    assert health.prometheus(OBSERVED) == Finding(serves, lacks)


def test_prometheus_is_a_part_of_a_cluster_that_has_it() -> None:
    assert "Prometheus" in health.parts(OBSERVED)
    assert "Prometheus" not in health.parts(Settings())
