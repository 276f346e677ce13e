"""What is told of a consul-template that does not stay up, or is about to run out of connections."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from eratos.common.errors import TemporaryError
from eratos.haproxy import consul_template


def test_one_that_never_ended_is_no_news(tmp_path: Path) -> None:
    assert consul_template.ended(tmp_path / "consul-template") == ()


@pytest.mark.parametrize(("note", "told"), [("status 14\n", "ended with status 14 "), ("", "a full disk?")])
def test_an_end_is_told_while_it_is_fresh(tmp_path: Path, note: str, told: str) -> None:
    file = tmp_path / "consul-template"
    file.write_text(note)
    (line,) = consul_template.ended(file)
    assert line.startswith("facts.ctmpl: consul-template ")
    assert told in line
    long_ago = time.time() - 60
    os.utime(file, (long_ago, long_ago))
    assert consul_template.ended(file) == ()


class PlayedAgent:
    """What Consul's agent says of its limit and of the services in the catalogue."""

    def __init__(self, services: int, most: int) -> None:
        self.services = services
        self.most = most
        self.away = False

    def get(self, path: str) -> Any:
        if self.away:
            raise TemporaryError("away")
        if path == "/v1/agent/self":
            return {"DebugConfig": {"HTTPMaxConnsPerClient": self.most}}
        if path.startswith("/v1/status/leader?dc="):
            return {"dc2": "10.0.0.1:8300", "dc3": ""}[path.partition("=")[2]]
        assert path == "/v1/catalog/services"
        return {"consul": [], "vault": ["active"], **{f"app-{number}": ["eratos", "v1"] for number in range(self.services)}}


@pytest.mark.parametrize(("services", "most", "scarce"), [(180, 200, False), (181, 200, True), (500, 200, True), (500, 0, False)])
def test_a_limit_that_is_nearly_reached_is_reported(services: int, most: int, scarce: bool) -> None:
    reported = consul_template.Connections(PlayedAgent(services, most)).scarce()  # type: ignore[arg-type]
    assert bool(reported) == scarce
    assert all(str(services) in line and "http_max_conns_per_client" in line and len(line) < 250 for line in reported)


def test_the_agent_is_asked_once_a_minute_and_the_last_answer_stays_while_it_is_away() -> None:
    agent, now = PlayedAgent(190, 200), [0.0]
    connections = consul_template.Connections(agent, lambda: now[0])  # type: ignore[arg-type]
    assert "190 services" in connections.scarce()[0]
    agent.services = 10
    now[0] = 59
    assert connections.scarce()
    agent.away = True
    now[0] = 61
    assert connections.scarce()
    agent.away = False
    now[0] = 122
    assert not connections.scarce()


def test_services_of_other_data_centers_take_connections_too() -> None:
    assert not consul_template.Connections(PlayedAgent(170, 200), far=lambda: 10).scarce()  # type: ignore[arg-type]
    assert "181 services" in consul_template.Connections(PlayedAgent(170, 200), far=lambda: 11).scarce()[0]  # type: ignore[arg-type]


def test_a_data_center_that_does_not_answer_is_reported_until_it_does() -> None:
    agent = PlayedAgent(1, 200)
    datacenters = consul_template.Datacenters(agent, ["dc2", "dc3"])  # type: ignore[arg-type]
    assert datacenters.silent() == ()
    agent.away = True
    datacenters.look()
    assert datacenters.silent() == tuple(
        f"facts-{name}.json: data center {name} does not answer, what it has stays as last known: away" for name in ("dc2", "dc3")
    )
    agent.away = False
    datacenters.look()
    (line,) = datacenters.silent()
    assert line.startswith("facts-dc3.json: ")
    assert line.endswith("it has no leader")
