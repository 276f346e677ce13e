"""Each fault does what it says, and what undoes it undoes it: a fault without an effect would prove nothing.

Those of networks and disks are tried on containers of their own: tests/contract/test_chaos_tools.py.
"""

from __future__ import annotations

import datetime
import email.utils
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from devtool import health
from devtool.chaos import faults, parts
from devtool.chaos.ground import APP, HOST, INSTANCES, definition
from devtool.chaos.parts import Parts
from devtool.chaos.strike import SERVICE, Strike
from devtool.load import generator
from devtool.settings import Settings, read_settings
from support.cluster import AFTER_HOST_LOSS_S, SOON_S, Cluster
from support.containers import docker, processes
from support.waiting import until

pytestmark = pytest.mark.e2e

WANTED = definition(APP, INSTANCES, HOST)


@pytest.fixture(scope="module")
def settings(cluster: Cluster) -> Settings:
    found = read_settings(os.environ)
    generator.build(found, SERVICE)
    return found


@pytest.fixture
def whole(cluster: Cluster, settings: Settings) -> Iterator[Parts]:
    """A cluster at rest, with the app that chaos breaks."""
    until(lambda: applied(cluster), SOON_S, "the app is taken")
    cluster.settle(WANTED, INSTANCES, AFTER_HOST_LOSS_S)
    until(lambda: not health.missing(settings), AFTER_HOST_LOSS_S, "every part is up")
    yield parts.look(settings, APP)


def applied(cluster: Cluster) -> bool:
    cluster.leader()
    cluster.apply(WANTED)
    return True


@pytest.fixture(scope="module", autouse=True)
def removed_at_the_end(cluster: Cluster) -> Iterator[None]:
    yield
    until(lambda: cluster.leader(), SOON_S, "a scheduler leads")
    cluster.delete(APP)
    cluster.settle(WANTED, 0, AFTER_HOST_LOSS_S)


def running(container: str) -> str:
    return docker("inspect", "--format", "{{.State.Status}}", container)


def reaches(container: str, address: str, port: int) -> bool:
    """Return whether a TCP connection can be made from within a container."""
    words = ["docker", "exec", container, "timeout", "2", "bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}"]
    return subprocess.run(words, capture_output=True, check=False, timeout=30).returncode == 0


def hours_ahead(parts_of: Parts) -> int:
    """Return by how many hours the clock of a scheduler differs, by the dates of its answers."""
    url = f"http{'s' if parts_of.secure else ''}://127.0.0.1:8080/ping"
    ask = f"u.urlopen('{url}', timeout=5, context=s._create_unverified_context())"
    code = f"import ssl as s, urllib.request as u; print({ask}.headers['Date'])"
    dates = [docker("exec", parts_of.id(service), "python3", "-c", code) for service in parts_of.named("scheduler")]
    now = datetime.datetime.now(datetime.UTC)
    return max(round((email.utils.parsedate_to_datetime(date) - now).total_seconds() / 3600) for date in dates)


def stopped(container: str, command: str) -> bool:
    return any(
        "T" in docker("exec", container, "sh", "-c", f"cut -d' ' -f3 /proc/{pid}/stat") for pid in processes(container, command)
    )


@dataclass(frozen=True)
class Lasting:
    """A fault that lasts, on a part, and what has to be true for as long."""

    fault: str
    part: Callable[[Parts], str]
    broken: Callable[[Parts, str], Any]


def worker(parts_of: Parts) -> str:
    return min(parts_of.workers)


def worker_id(parts_of: Parts, task: str) -> str:
    return parts_of.workers[task][0]


def cut_off(parts_of: Parts, _part: str) -> bool:
    return not reaches(parts_of.id("agent1"), parts_of.address("consul1"), 8500)


EXECUTOR = "/opt/eratos/bin/python*eratos-executor"

LASTING = (
    Lasting("worker-hung", worker, lambda p, t: "T" in docker("exec", worker_id(p, t), "cut", "-d ", "-f3", "/proc/1/stat")),
    Lasting("worker-slow", worker, lambda p, t: docker("inspect", "-f", "{{.HostConfig.CpuQuota}}", worker_id(p, t)) == "2000"),
    Lasting("executor-hung", lambda p: "agent1", lambda p, s: stopped(p.id(s), EXECUTOR)),
    Lasting("host-off", lambda p: "agent3", lambda p, s: running(p.id(s)) == running(p.id("consul-agent3")) == "exited"),
    Lasting("consul-agent-off", lambda p: "consul-agent1", lambda p, s: running(p.id(s)) == "exited"),
    Lasting("consul-leader-off", lambda p: p.consul, lambda p, s: running(p.id(s)) == "exited"),
    Lasting("zookeeper-off", lambda p: "zookeeper", lambda p, s: running(p.id(s)) == "exited"),
    Lasting("master-off", lambda p: p.master, lambda p, s: running(p.id(s)) == "exited"),
    Lasting("scheduler-frozen", lambda p: p.scheduler, lambda p, s: running(p.id(s)) == "paused"),
    Lasting("balancer-off", lambda p: "balancer2", lambda p, s: running(p.id(s)) == "exited"),
    Lasting("consul-data-lost", lambda p: "consul", lambda p, s: running(p.id("consul1")) == "exited"),
    Lasting("clock-jump", lambda p: p.scheduler, lambda p, s: hours_ahead(p)),
    Lasting("network-disconnected", lambda p: "agent1", cut_off),
)


def strike(parts_of: Parts, fault: str, part: str) -> Strike:
    found = faults.BY_NAME[fault]
    made = found.strike(parts_of, faults.choose(found, parts_of, part, random.Random(1)))
    for command in made.do:
        subprocess.run(command, check=not found.ends_its_command, capture_output=True, timeout=120)
    return made


@pytest.mark.parametrize("lasting", LASTING, ids=lambda lasting: lasting.fault)
def test_what_lasts_is_broken_until_it_is_undone(whole: Parts, lasting: Lasting) -> None:
    if whole.secure and lasting.fault == "consul-data-lost":
        pytest.skip("a secure Consul that has lost its data answers nobody until ./dev up, which test_secure.py tries")
    part = lasting.part(whole)
    assert not lasting.broken(whole, part)
    made = strike(whole, lasting.fault, part)
    try:
        until(lambda: lasting.broken(whole, part), SOON_S, "it is broken")
    finally:
        for command in (*made.undo, *made.undo):  # and again: that does no harm
            subprocess.run(command, check=False, capture_output=True, timeout=120)
    until(lambda: not lasting.broken(whole, part), SOON_S, "it is undone")


@pytest.mark.parametrize(
    ("fault", "service", "command"),
    [
        ("executor-killed", "agent1", EXECUTOR),
        ("mesos-agent-killed", "agent1", "mesos-agent"),
        ("haproxy-killed", "balancer1", "haproxy"),
        ("companion-killed", "balancer1", "python3 -P -c import"),
        ("consul-template-killed", "balancer1", "consul-template"),
    ],
)
def test_a_process_that_is_killed_is_another_one_afterwards(whole: Parts, fault: str, service: str, command: str) -> None:
    pattern = command.replace(" ", "\\ ")
    before = set(processes(whole.id(service), pattern))
    assert before
    strike(whole, fault, service)
    # Before it is there the next test's fault would come on top of this one.
    until(lambda: set(processes(whole.id(service), pattern)) - before, SOON_S, f"{command} was started again")


@pytest.mark.parametrize("fault", ["worker-killed", "worker-out-of-memory", "worker-wrong"])
def test_a_worker_that_cannot_go_on_is_replaced(cluster: Cluster, whole: Parts, fault: str) -> None:
    task = worker(whole)
    strike(whole, fault, task)
    until(lambda: task not in cluster.tasks(APP), SOON_S, "it has ended")


def test_an_emptied_catalogue_is_filled_by_the_agents_and_no_balancer_loses_anything(cluster: Cluster, whole: Parts) -> None:
    balanced = cluster.servers(1, "chaos")
    strike(whole, "catalogue-emptied", "consul")
    assert len(cluster.services("chaos", passing=False)) < INSTANCES == len(balanced)
    # They would by themselves, within two minutes.
    docker("restart", "-t", "0", *(whole.id(f"consul-{service}") for service in whole.named("agent")))
    cluster.settle(WANTED, INSTANCES, AFTER_HOST_LOSS_S)
