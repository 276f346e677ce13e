"""A cluster of the version before is upgraded part by part, under load.

Its tasks stay until they are asked to go, and no request is lost.
It is a cluster of its own: the order in which its parts change is what is tested.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from support import version_before
from support.cluster import DEFAULT_PORTS, SOON_S, Cluster
from support.containers import docker, kill_processes, processes
from support.folders import ROOT
from support.visitors import Visitors
from support.waiting import until

pytestmark = pytest.mark.e2e

PROJECT = "eratos-upgrade"
NETWORK = "10.87.253"
BRIDGES = "10.90"
#: Below those that the kernel gives to outgoing connections.
PORTS = {name: port + 10_000 for name, port in DEFAULT_PORTS.items()}
#: What HAProxy has logged last: failed requests and changes of servers.
FAILED_REQUESTS = "tail -n 60 ${ERATOS_LOG_DIR:-/var/log/eratos-balancer}/current"
CODE = "/opt/eratos/site-packages/eratos"


def app(app_id: str, instances: int, labels: dict[str, str], **more: Any) -> dict[str, Any]:
    """Return an app as users of the version before have it."""
    return {
        "id": app_id,
        "instances": instances,
        "cpus": 0.1,
        "mem": 32,
        "container": {"type": "DOCKER", "docker": {"image": "eratos/prime"}},
        "networks": [{"mode": "host"}],
        "portDefinitions": [{"port": 0, "name": "http"}],
        "env": {"WORK_S": "0.002"},
        "healthChecks": [{"protocol": "MESOS_HTTP", "path": "/health", "intervalSeconds": 2, "timeoutSeconds": 2}],
        "labels": labels,
        **more,
    }


#: Without a label the version before serves an app on `/`, and such an app keeps that until it is changed.
FLEET = app("/fleet", 6, {})
SHOP = app("/shop/cart", 3, {"HAPROXY_0_VHOST": "cart.test"})
#: A process of each host: its output lies where the version before put it, and its successor brings a new executor there.
CLOCK = {
    "id": "/clock", "instances": 3, "cpus": 0.1, "mem": 32, "cmd": "echo the clock ticks; exec sleep 100000",
    "portDefinitions": [], "user": "nobody", "constraints": [["hostname", "UNIQUE"]],
}  # fmt: skip
APPS = (FLEET, SHOP, CLOCK)


class Upgraded(Cluster):
    """The cluster with the means to change its parts."""

    def compose(self, *words: str) -> None:
        environment = {**os.environ, "ERATOS_PROJECT": PROJECT, "ERATOS_NETWORK": NETWORK, "ERATOS_BRIDGES": BRIDGES}
        environment |= {name: str(port) for name, port in PORTS.items()}
        command = ["docker", "compose", "-p", PROJECT, "-f", str(ROOT / "compose-dev" / "compose.yaml"), *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return version_before.build(ROOT, tmp_path_factory.mktemp("before"))


@pytest.fixture(scope="module")
def before(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    """A cluster of the version before, with its apps at rest."""
    made = Upgraded(PROJECT, PORTS)
    services = {f"{kind}{number}": image for kind, image in images.items() for number in range(1, 4 if kind == "agent" else 3)}
    override = tmp_path_factory.mktemp("compose") / "before.yaml"
    override.write_text("services:\n" + "".join(f"  {name}: {{image: {image}}}\n" for name, image in services.items()))
    _remove(made)
    try:
        made.compose("-f", str(override), "up", "-d", "--no-build")
        until(lambda: made.leader(), SOON_S, "a scheduler leads")
        until(lambda: made.framework_ids(), SOON_S, "the framework is registered")
        for wanted in APPS:
            until(lambda wanted=wanted: made.apply(wanted) is None, SOON_S, f"{wanted['id']} is taken")
        for wanted in (FLEET, SHOP):
            made.settle(wanted, wanted["instances"])
        until(lambda: len(made.tasks("/clock")) == 3, SOON_S, "the clocks run")
        yield made
    finally:
        _remove(made)


def _remove(cluster: Upgraded) -> None:
    cluster.remove_workers()
    cluster.compose("down", "-v", "--remove-orphans", "-t", "2")
    cluster.remove_workers()  # those that an executor started meanwhile


def test_each_part_is_upgraded_under_load(before: Upgraded):
    cluster = before
    tasks = {wanted["id"]: cluster.tasks(wanted["id"]) for wanted in APPS}
    containers = {wanted["id"]: cluster.containers(wanted["id"]) for wanted in (FLEET, SHOP)}
    frameworks = cluster.framework_ids()

    def kept() -> None:
        for app_id, found in containers.items():
            cluster.assert_kept(app_id, found)
        for app_id, ids in tasks.items():
            until(lambda app_id=app_id, ids=ids: cluster.tasks(app_id) == ids, SOON_S, f"{app_id} runs the same tasks")
        until(lambda: cluster.framework_ids() == frameworks, SOON_S, "the framework is the same")

    with Visitors(cluster.balancers, {"cart.test": SHOP["id"], "anybody.test": FLEET["id"]}) as visitors:
        # Schedulers first: a new leader reads what the old one stored, and speaks with executors of the version before.
        follower = 3 - cluster.leader()
        for number in (follower, 3 - follower):
            visitors.during = f"scheduler {number}"
            cluster.compose("up", "-d", "--no-build", "--no-deps", f"scheduler{number}")
            until(lambda: cluster.leader(), SOON_S, "a scheduler leads")
        cluster.settle(FLEET, 6)
        cluster.settle(SHOP, 3)
        kept()

        # Then balancers, one after the other; those that are left serve both. A client of this one has to go elsewhere meanwhile,
        # so what fails at its address alone is not counted.
        for number in (1, 2):
            seen, visitors.during = len(visitors.wrong), f"balancer {number}"
            cluster.compose("up", "-d", "--no-build", "--no-deps", f"balancer{number}", f"consul-balancer{number}")
            until(lambda: cluster.at_rest(FLEET, 6) and cluster.at_rest(SHOP, 3), SOON_S, "both balancers have every instance")
            until(visitors.led, SOON_S, "both balancers lead to them")
            # What was under way when it came back is among what is left out.
            rounds = visitors.rounds
            until(lambda rounds=rounds: visitors.rounds > rounds + 1, SOON_S, "visitors have asked again")
            address = cluster.balancers[number - 1]
            visitors.wrong[seen:] = [line for line in visitors.wrong[seen:] if address not in line]

        # What the version before started is drained by its own executors, at the word of this version's scheduler.
        visitors.during = "rollout of /shop/cart"
        cluster.apply({**SHOP, "env": {"WORK_S": "0.003"}})
        until(lambda: not cluster.tasks("/shop/cart") & tasks["/shop/cart"], SOON_S, "the old tasks are gone")
        cluster.settle(SHOP, 3)

        # Executors last, as a package manager does it: the files change, and an executor that ends is followed by a new one,
        # which sweeps what the old one left while its tasks are replaced.
        source = docker("create", "eratos/agent")
        try:
            for number in (1, 2, 3):
                visitors.during = f"executor {number}"
                replace_executor(cluster, source, f"agent{number}")
                for wanted in (FLEET, SHOP):
                    cluster.settle(wanted, wanted["instances"])
        finally:
            docker("rm", source)
        until(lambda: len(cluster.tasks("/clock")) == 3, SOON_S, "the clocks run")

    if visitors.wrong:
        for number in (1, 2):
            said = docker("exec", cluster.container_of(f"balancer{number}"), "sh", "-c", FAILED_REQUESTS)
            print(f"balancer {number}:", said, sep="\n")
    assert not visitors.wrong, f"{len(visitors.wrong)} of {sum(visitors.answers.values())}: {visitors.wrong[:5]}"
    assert min(visitors.answers.values()) > 100

    def log() -> str:
        return cluster.any_api("GET", f"/v2/tasks/{min(cluster.tasks('/clock'))}/logs").text

    until(lambda: "the clock ticks" in log(), SOON_S, "the clock's output is shown")


def replace_executor(cluster: Upgraded, source: str, agent: str) -> None:
    """Install the present executor on a host and end the one that runs."""
    container = cluster.container_of(agent)
    code = subprocess.run(["docker", "cp", f"{source}:{CODE}", "-"], capture_output=True, timeout=60, check=True).stdout
    docker("exec", container, "rm", "-rf", CODE)
    subprocess.run(["docker", "cp", "-", f"{container}:{CODE.rpartition('/')[0]}"], input=code, timeout=60, check=True)
    lost = tasks_on(cluster, agent)
    executor = "/opt/eratos/bin/python*eratos-executor"
    if processes(container, executor):
        kill_processes(container, executor)
        # The next host's turn comes once these are replaced, which begins with being missed.
        until(lambda: not lost & tasks_on(cluster, agent), SOON_S, f"the tasks of {agent} are known to be lost")


def tasks_on(cluster: Upgraded, agent: str) -> set[str]:
    found = cluster.any_api("GET", "/v2/tasks").json()["tasks"]
    return {task["id"] for task in found if task["host"] == agent}
