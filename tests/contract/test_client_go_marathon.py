"""gambol99/go-marathon 0.7.1, pinned by ``tests/clients/go_marathon/go.sum``, against a running API.

It is what Traefik 1 and 2, Terraform's provider and others speak Marathon with. It knows ports of a container in the form of
Marathon 1.4 only, so it cannot find endpoints of bridged tasks, nor with Marathon 1.5 and later; and no pods.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.builders import an_offer
from support.controller import FakeController

from eratos.common.resources import Resources
from eratos.scheduler import about
from eratos.scheduler.api.server import ApiServer, create_api
from eratos.scheduler.config import Config
from eratos.scheduler.process import core_settings

SOURCE = Path(__file__).resolve().parents[1] / "clients" / "go_marathon"
GO = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
#: What Go says where it has the module neither here nor from its proxy.
_AWAY = ("dial tcp", "no such host", "i/o timeout", "proxyconnect", "connection refused", "lookup disabled")


class Informed(FakeController):
    """Says of itself what a scheduler does."""

    def info(self) -> dict[str, Any]:
        config = Config(master="zk://m:2181/mesos", zk="zk://m:2181/eratos")
        standing = about.Standing(True, "http://s1:8080", "f-1", "m1:5050")
        return about.info(config, core_settings(config, "", Resources()), standing)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    if GO is None:
        pytest.skip("go is not installed")
    target = tmp_path_factory.mktemp("go") / "client"
    built = subprocess.run(
        [GO, "build", "-mod=readonly", "-o", target, "."], cwd=SOURCE, capture_output=True, text=True, timeout=300, check=False
    )
    if built.returncode and any(words in built.stderr for words in _AWAY):
        pytest.skip(f"go-marathon is not here and cannot be had: {built.stderr.strip().splitlines()[-1]}")
    assert built.returncode == 0, built.stderr
    return str(target)


class Client:
    """The program against one API, with the core behind it."""

    def __init__(self, program: str, port: int, controller: Informed) -> None:
        self._program = program
        self._url = f"http://127.0.0.1:{port}"
        self.controller = controller

    def start(self, scenario: str) -> subprocess.Popen[str]:
        environment = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
        words = [self._program, self._url, scenario]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    def __call__(self, scenario: str) -> dict[str, Any]:
        out, problems = self.start(scenario).communicate(timeout=60)
        assert out, problems
        return dict(json.loads(out))

    def run_tasks(self) -> list[str]:
        tasks = self.controller.launch(an_offer())
        for task in tasks:
            self.controller.update(task, "RUNNING", healthy=True, addresses=("10.0.0.1",))
        return tasks


@pytest.fixture
def client(program: str) -> Iterator[Client]:
    controller = Informed()
    server = ApiServer(create_api(controller), "127.0.0.1", 0)
    server.start()
    try:
        yield Client(program, server.port, controller)
    finally:
        controller.events.close()
        server.stop()


def test_it_looks_at_the_process(client: Client) -> None:
    assert client("process") == {"ping": True, "name": "eratos", "frameworkId": "f-1", "leader": "leader.test:8080"}


def test_it_creates_an_app_and_looks_at_it_and_its_tasks(client: Client) -> None:
    assert client("create") == {"id": "/shop/cart", "deployments": 1, "version": True}
    client.run_tasks()
    found = client("look")
    service_ports = [port.service_port for port in client.controller.machine.state.apps["/shop/cart"].ports]
    assert found == {
        **{"instances": 2, "running": 2, "tasks": 2, "ok": True, "servicePorts": service_ports},
        **{"versions": 1, "groups": 1},
    }


def test_it_scales_restarts_and_goes_back(client: Client) -> None:
    client("create")
    found = client("change")
    assert found == {
        **{"scaled": True, "restarted": found["restarted"], "affected": ["/shop/cart"], "steps": 1},
        **{"back": True, "queue": 3},
    }


def test_it_makes_and_deletes_groups(client: Client) -> None:
    assert client("group") == {"there": True, "deleted": True}
    assert not client.controller.machine.state.apps


def test_it_understands_refusals(client: Client) -> None:
    found = client("wrong")
    assert found["code"]
    assert "cpus" in found["refused"]


def test_it_follows_events(client: Client) -> None:
    follower = client.start("events")
    assert follower.stdout is not None
    assert json.loads(follower.stdout.readline()) == "follows"
    client("create")
    tasks = client.run_tasks()
    out, problems = follower.communicate(timeout=60)
    told = [json.loads(line) for line in out.splitlines()]
    assert told, problems
    assert told[-1]["task"] in tasks
    assert (told[-1]["app"], told[-1]["state"]) == ("/shop/cart", "TASK_RUNNING")
    assert "api_post_event" in told
