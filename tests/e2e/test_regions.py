"""Two regions: the link between them is cut, and one of them dies. Who is left serves on, and no more ends than is too much.

A cluster of its own beside the other tests', as ``./dev up --regions 2`` makes it.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from devtool import fleet
from devtool.chaos.command import journal_of
from devtool.chaos.strike import SERVICE
from devtool.chaos.striking import broken
from devtool.cluster import worker_tasks
from devtool.load import generator
from devtool.settings import REGIONS, Settings, read_settings, region
from support.cluster import AFTER_HOST_LOSS_S, DEFAULT_PORTS, SOON_S, Cluster, dev, whole
from support.folders import ROOT
from support.visitors import Visitors
from support.waiting import until

pytestmark = pytest.mark.e2e

PROJECT = "eratos-test-regions"
PORTS = {name: port + 14_000 for name, port in {**DEFAULT_PORTS, "ERATOS_CONSUL4_PORT": 8503}.items()}
ENVIRONMENT = {"ERATOS_PROJECT": PROJECT, "ERATOS_NETWORK": "10.87.255", "ERATOS_BRIDGES": "10.91"}
ENVIRONMENT |= {name: str(port) for name, port in PORTS.items()}
EAST, WEST = REGIONS
APP, HOST, COUNT = "/regions", "regions.test", 8
#: Clients go on for so many rounds before it counts as serving.
ROUNDS = 30


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    dev("down", "--volumes", **ENVIRONMENT)
    try:
        dev("up", "--regions", "2", "--zones", "2", "--agents", "4", "--workers", "0", **ENVIRONMENT)
        found = read_settings(ENVIRONMENT)
        assert found.regions == 2, "it is remembered"
        generator.build(found, SERVICE)
        yield found
    finally:
        dev("down", "--volumes", **ENVIRONMENT)


@pytest.fixture
def pair(settings: Settings) -> Iterator[Cluster]:
    """The cluster, with an app that is at rest in both regions."""
    cluster = Cluster(PROJECT, PORTS)
    until(lambda: whole(settings), AFTER_HOST_LOSS_S, "every part is up")
    app = json.loads((ROOT / "marathon" / "apps" / "prime.json").read_text())
    app |= {"id": APP, "instances": COUNT, "env": {"WORK_S": "0.002"}, "labels": {"HAPROXY_0_VHOST": HOST}}
    cluster.apply(fleet.everywhere(settings, app))
    until(lambda: at_rest(cluster, settings, {EAST, WEST}), AFTER_HOST_LOSS_S, "the app is at rest in both regions")
    yield cluster
    cluster.delete(APP)
    until(lambda: not cluster.states(APP) and not hosts(settings), SOON_S, "the app is gone")


def hosts(settings: Settings) -> dict[str, str]:
    """Return the region of each worker that Docker runs, by task."""
    return {task: region(host) for task, (_, host) in worker_tasks(settings, APP).items()}


def at_rest(cluster: Cluster, settings: Settings, where: set[str], balancers: tuple[int, ...] = (1, 2)) -> bool:
    """Assert that tasks, containers and servers of balancers are the same, as many as wanted, and in which regions."""
    tasks = cluster.states(APP)
    assert Counter(tasks.values()) == Counter(TASK_RUNNING=COUNT), tasks
    assert (found := hosts(settings)).keys() == tasks.keys(), f"containers differ from tasks: {found}"
    assert set(found.values()) == where, found
    for balancer in balancers:
        servers = cluster.servers(balancer, "regions")
        assert servers == sorted(f"eratos-{task}" for task in tasks), f"balancer{balancer} has others: {servers}"
    return True


def ended(cluster: Cluster) -> dict[str, str]:
    """Return how the app's tasks ended, by task."""
    tasks = cluster.master("POST", "/api/v1", {"type": "GET_TASKS"}).json()["get_tasks"].get("completed_tasks", [])
    found = {task["task_id"]["value"]: task["state"] for task in tasks}
    return {task: state for task, state in found.items() if task.startswith("regions.instance-")}


def served(visitors: Visitors, what: str) -> None:
    """Wait until clients were answered for a while; who got anything but an answer of the app fails the test."""
    begun = visitors.rounds

    def answered() -> bool:
        if visitors.wrong:
            pytest.fail(f"{what}: {visitors.wrong}")
        return visitors.rounds >= begun + ROUNDS

    until(answered, SOON_S, f"clients are answered {what}", pace_s=0.2)


@pytest.mark.parametrize("hold_s", [0, pytest.param(60, marks=pytest.mark.hours)])
def test_while_the_link_is_cut_both_sides_serve_and_afterwards_only_what_is_too_much_ends(
    settings: Settings, pair: Cluster, hold_s: float
):
    far = {task for task, where in hosts(settings).items() if where == WEST}
    before = ended(pair)

    def replaced() -> bool:
        tasks = pair.states(APP)
        assert Counter(tasks.values()) == Counter(TASK_RUNNING=COUNT) and not far & tasks.keys(), tasks
        return True

    with Visitors(pair.balancers, {HOST: APP}) as visitors:
        began = time.monotonic()
        visitors.during = "while the link is cut"
        with broken(settings, journal_of(settings), APP, "link-cut"):
            until(replaced, AFTER_HOST_LOSS_S, "the app is whole in the first region")
            until(lambda: time.monotonic() - began >= hold_s, SOON_S + hold_s, "the link was cut for long enough")
            served(visitors, "on both sides of the cut")
            assert far <= hosts(settings).keys(), "what is out of reach runs on"
        visitors.during = "after the cut"
        until(lambda: whole(settings), AFTER_HOST_LOSS_S, "every part is well, and sees those of the other region")
        until(lambda: at_rest(pair, settings, {EAST, WEST}), AFTER_HOST_LOSS_S, "the app is at rest in both regions")
        served(visitors, "after the cut")
    assert not visitors.wrong
    new = {task: state for task, state in ended(pair).items() if task not in before}
    assert list(new.values()) == ["TASK_KILLED"] * len(far), f"{len(far)} were too many: {new}"


def test_a_region_dies_and_the_app_is_whole_in_the_other_one(settings: Settings, pair: Cluster):
    with Visitors(pair.balancers[:1], {HOST: APP}) as visitors:
        visitors.during = "after the region's death"
        dev("kill", "region", WEST, **ENVIRONMENT)
        until(lambda: at_rest(pair, settings, {EAST}, (1,)), AFTER_HOST_LOSS_S, "the app is whole in the first region")
        served(visitors, "by the balancer that is left")
        visitors.during = "when it comes back"
        dev("revive", "region", WEST, **ENVIRONMENT)
        until(lambda: whole(settings), AFTER_HOST_LOSS_S, "every part is well")
        until(lambda: at_rest(pair, settings, {EAST}), AFTER_HOST_LOSS_S, "the balancer there has the instances elsewhere")
        served(visitors, "when it is back")
    assert not visitors.wrong
