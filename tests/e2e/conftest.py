"""The real cluster for the end-to-end tests: a second compose project beside whatever the user runs, on other ports."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from devtool import secure
from devtool.settings import COMPOSE_FILE, SECURE_FILE, Settings, read_settings
from support.cluster import AFTER_HOST_LOSS_S, DEFAULT_PORTS, SOON_S, Cluster, dev, whole
from support.folders import ROOT
from support.waiting import until

PROJECT = "eratos-test"
PORTS = {name: port + 20_000 for name, port in DEFAULT_PORTS.items()}
#: Whether all of it is tried on a cluster that asks who asks: ./dev test --secure tests/e2e.
SECURE = bool(os.environ.get("ERATOS_TEST_SECURE"))
#: Beside those that ./dev chooses from.
NETWORK = "10.87.254"
BRIDGES = "10.89"


@pytest.fixture(scope="session")
def docker_compose_project_name() -> Iterator[str]:
    os.environ.update({"ERATOS_PROJECT": PROJECT, "ERATOS_NETWORK": NETWORK, "ERATOS_BRIDGES": BRIDGES})
    os.environ["ERATOS_GROUP_ROLES"] = "team"  # of test_roles
    os.environ.update({name: str(port) for name, port in PORTS.items()})
    yield PROJECT
    # Once more when the cluster is gone: while it lives, it replaces workers that are removed.
    Cluster(PROJECT, PORTS).remove_workers()


@pytest.fixture(scope="session")
def docker_compose_file() -> list[str]:
    return [str(COMPOSE_FILE), *([str(SECURE_FILE)] if SECURE else [])]


@pytest.fixture(scope="session")
def docker_setup() -> list[str]:
    # What an interrupted run left is removed first; `./dev test` has built the images already.
    Cluster(PROJECT, PORTS).remove_workers()
    if SECURE:
        dev("down", "--volumes")
        dev("up", "--secure", "--workers", "0")
        os.environ.update(secure.variables(Settings(project=PROJECT, secure=True)))
        return ["up -d"]
    Settings(project=PROJECT).forget()  # a run with --secure before this one is remembered
    return ["down -v --remove-orphans", "up -d"]


@pytest.fixture(scope="session")
def docker_cleanup() -> list[str]:
    return ["down -v --remove-orphans -t 2"]


@pytest.fixture(scope="session")
def cluster(docker_services: Any) -> Iterator[Cluster]:
    made = Cluster(PROJECT, PORTS, SECURE)
    until(lambda: made.leader(), SOON_S, "a scheduler leads")
    until(lambda: made.framework_ids(), SOON_S, "the framework is registered")
    yield made
    made.remove_workers()  # a network with one in it could not be removed


@pytest.fixture(autouse=True)
def _begun_whole(request: pytest.FixtureRequest) -> None:
    """Begin each test of the shared cluster with every part up: the test before may have broken some that are coming back."""
    if "cluster" in request.fixturenames:
        request.getfixturevalue("cluster")
        until(lambda: whole(read_settings(os.environ)), AFTER_HOST_LOSS_S, "every part is up")


@pytest.fixture
def prime() -> dict[str, Any]:
    app = json.loads((ROOT / "marathon" / "apps" / "prime.json").read_text())
    # Less work per answer than the sample's: hundreds of requests are sent, and what is tested is their way.
    return app | {"env": {"WORK_S": "0.002"}}


@pytest.fixture
def fleet(cluster: Cluster, prime: dict[str, Any]) -> dict[str, Any]:
    """Twenty workers at rest, however the test before left them."""
    cluster.apply(prime, instances=20)
    cluster.settle(prime, 20)
    return prime


@pytest.fixture
def hello() -> dict[str, Any]:
    return json.loads((ROOT / "marathon" / "apps" / "hello.json").read_text())


@pytest.fixture
def settings(cluster: Cluster) -> Settings:
    """Return what ``./dev`` knows of the cluster."""
    found = read_settings(os.environ)
    assert found.project == cluster.project
    return found


@pytest.fixture
def budgeted(cluster: Cluster, hello: dict[str, Any]) -> Iterator[str]:
    """An app with an error budget, which every request judges; return the host by which balancers route to it."""
    budget = {"objective": 99, "window": "1h", "minRequests": 1}
    cluster.apply(hello | {"id": "/observed", "labels": {"HAPROXY_0_VHOST": "observed.test"}, "eratos": {"errorBudget": budget}})
    yield "observed.test"
    cluster.delete("/observed")
    until(lambda: not cluster.containers("/observed"), SOON_S, "the app is gone")
