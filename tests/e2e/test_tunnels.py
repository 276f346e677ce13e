"""``eratos exec`` and ``eratos forward`` on the real cluster, through a scheduler that does not lead."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support.cluster import SOON_S, Cluster
from support.folders import ROOT
from support.waiting import until

pytestmark = pytest.mark.e2e

ERATOS = str(ROOT / ".venv" / "bin" / "eratos")
APP: dict[str, Any] = {
    "id": "/e2e/tunnels",
    "cpus": 0.1,
    "mem": 64,
    "instances": 2,
    "container": {
        "type": "DOCKER",
        "docker": {"image": "eratos/hello"},
        "portMappings": [{"containerPort": 8080, "hostPort": 0, "name": "web"}],
    },
    "networks": [{"mode": "container/bridge"}],
    "env": {"PORT": "8080"},
    "healthChecks": [{"protocol": "HTTP", "path": "/health", "portIndex": 0, "gracePeriodSeconds": 30, "intervalSeconds": 5}],
}


@pytest.fixture
def app(cluster: Cluster) -> Iterator[dict[str, Any]]:
    cluster.apply(APP)
    until(lambda: _healthy(cluster) == APP["instances"], 2 * SOON_S, "its instances are ready")
    yield APP
    cluster.delete(APP["id"])
    until(lambda: not cluster.containers(APP["id"]), SOON_S, "its containers are gone")


@pytest.fixture
def environment(cluster: Cluster) -> dict[str, str]:
    """Have commands ask a follower."""
    follower = 3 - until(lambda: cluster.leader(), SOON_S, "a scheduler leads")
    return cluster.typing(follower)


def test_a_command_runs_in_an_instance_and_a_port_leads_to_one(
    cluster: Cluster, app: dict[str, Any], environment: dict[str, str]
) -> None:
    data = os.urandom(2_000_000)
    command = [ERATOS, "exec", app["id"], "-i", "--", "sh", "-c", 'echo "$MARATHON_APP_ID" >&2; cat; exit 7']
    done = subprocess.run(command, input=data, capture_output=True, env=environment, timeout=60, check=False)
    assert done.returncode == 7, done.stderr
    assert done.stdout == data
    assert f"{app['id']}\n".encode() in done.stderr

    with subprocess.Popen(
        [ERATOS, "forward", f"0:{app['id']}:web"], stderr=subprocess.PIPE, text=True, env=environment
    ) as forwarding:
        try:
            assert forwarding.stderr is not None
            said = forwarding.stderr.readline()
            address = said.split()[0]
            assert f"leads to {app['id']}:web" in said
            first = _asked(address)
            # It goes on when its instances are others.
            before = cluster.tasks(app["id"])
            assert cluster.any_api("POST", f"/v2/apps{app['id']}/restart?force=true").status_code == 200
            until(lambda: _healthy(cluster) == 2 and not before & cluster.tasks(app["id"]), 2 * SOON_S, "all are new")
            assert _asked(address) != first
        finally:
            forwarding.send_signal(signal.SIGINT)
        assert forwarding.wait(20) == 0


def _healthy(cluster: Cluster) -> int:
    found = cluster.any_api("GET", f"/v2/apps{APP['id']}").json()["app"]
    return int(found["tasksHealthy"]) if found["tasksRunning"] == APP["instances"] else 0


def _asked(address: str) -> str:
    """Ask over the tunnel until an instance answers, and return which."""

    def ask() -> str:
        answer = requests.get(f"http://{address}/", headers={"Connection": "close"}, timeout=10)
        return answer.headers.get("X-Instance", "") if answer.status_code == 200 else ""

    return str(until(ask, SOON_S, "an instance answers through the tunnel"))
