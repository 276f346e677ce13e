"""docs/install.md, walked by the test: out of its package into an empty environment, on a Mesos cluster that does not know it.

The tests' cluster lends ZooKeeper, Mesos, Consul, and the executor that is preinstalled on its agents. What is installed is a
second framework beside the cluster's own, with a store of its own; a changed executor takes the place of its first one, as
docs/upgrade.md says.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from devtool import distribution
from support.cluster import SOON_S, Cluster
from support.containers import docker
from support.folders import DOCS
from support.ports import free_ports
from support.waiting import until

from eratos.marathon.client import Login, MarathonClient, Unreachable

pytestmark = pytest.mark.e2e

INSTALL_S = 300
APP: dict[str, Any] = {
    "id": "/bare",
    "instances": 2,
    "cpus": 0.1,
    "mem": 32,
    "container": {"type": "DOCKER", "docker": {"image": "eratos/hello"}},
    "networks": [{"mode": "host"}],
    "portDefinitions": [{"port": 0, "name": "http"}],
    "healthChecks": [{"protocol": "MESOS_HTTP", "path": "/health", "portIndex": 0, "intervalSeconds": 1}],
}
EXECUTOR = "/opt/eratos/bin/eratos-executor"
#: Inside the agents' containers, where 5052 is the cluster's own.
EXECUTOR_PORT = "5152"


@dataclass(frozen=True)
class Installed:
    """A scheduler as the page has it started, with what the test has otherwise beside it."""

    command: str
    log: Path
    port: int
    client: MarathonClient

    @contextmanager
    def running(self, executor: str) -> Iterator[None]:
        """Run the scheduler until left."""
        options = ["--http-port", str(self.port), "--executor-http-port", EXECUTOR_PORT, "--executor-command", executor]
        # Away from this working tree, whose folders it must not take for packages.
        with (
            self.log.open("ab") as log,
            subprocess.Popen([*shlex.split(self.command), *options], cwd=self.log.parent, stdout=log, stderr=log) as process,
        ):
            try:
                until(lambda: self._leads(process), SOON_S, "the scheduler leads")
                yield
            finally:
                process.terminate()
                try:
                    process.wait(SOON_S)
                finally:
                    process.kill()  # leaving waits for its end

    def _leads(self, process: subprocess.Popen[bytes]) -> bool:
        if process.poll() is not None:
            pytest.fail(f"it has ended with {process.returncode}: {self.log.read_text()[-3000:]}")
        try:
            return bool(self.client.info()["elected"])
        except Unreachable:
            return False

    def eratos(self, *words: str) -> None:
        """Type a command, as whoever was given the token."""
        environment = {**os.environ, "ERATOS_URL": self.client.urls[0], "ERATOS_TOKEN": self.client.login.token}
        eratos = str(Path(sys.executable).parent / "eratos")
        done = subprocess.run([eratos, *words], env=environment, capture_output=True, text=True, timeout=600, check=False)
        assert not done.returncode, f"{words}: {done.stdout}{done.stderr}\n{self.log.read_text()[-3000:]}"


def install(cluster: Cluster, folder: Path) -> Installed:
    """Type the page's first commands, all but the last one, which runs the scheduler."""
    (wheel,) = (path for path in distribution.build(Path(sys.executable), folder / "dist") if path.suffix == ".whl")
    fresh = folder / "fresh"
    subprocess.run([sys.executable, "-m", "uv", "venv", "-q", "--python", sys.executable, str(fresh)], check=True, timeout=60)
    commands = re.findall(r"```sh\n(.*?)```", (DOCS / "install.md").read_text(), re.DOTALL)[0].replace("\\\n", "")
    zookeeper = docker(
        "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", cluster.container_of("zookeeper")
    )
    for word, instead in {
        "pip install 'eratos[scheduler]'": f"{sys.executable} -m uv pip install -q --python {fresh} '{wheel}[scheduler]'",
        "/etc/eratos": str(folder),
        "zk1:2181,zk2:2181/mesos": f"{zookeeper}:2181/mesos",
        "zk1:2181,zk2:2181/eratos": f"{zookeeper}:2181/eratos-bare",
        "http://127.0.0.1:8500": cluster.url("ERATOS_CONSUL_PORT"),
        "eratos-scheduler ": f"{fresh}/bin/eratos-scheduler ",
    }.items():
        assert word in commands, f"the page no longer says {word}"
        commands = commands.replace(word, instead)
    *first, last = commands.strip().splitlines()
    done = subprocess.run(
        ["bash", "-ec", "\n".join(first)], cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=False
    )
    assert not done.returncode, f"{first}: {done.stdout}{done.stderr}"
    token = done.stderr.split()[-1]
    (port,) = free_ports(1)
    return Installed(last, folder / "log", port, MarathonClient(f"http://127.0.0.1:{port}", login=Login(token=token)))


def frameworks(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """Return the frameworks that Mesos keeps, connected or not, by id."""
    return {found["id"]: found for found in cluster.master("GET", "/state").json()["frameworks"]}


def executors(cluster: Cluster) -> set[str]:
    """Return the ids of the executors that the app's tasks have, once all of them run."""
    tasks = [task for found in frameworks(cluster).values() for task in found["tasks"] if task["id"].startswith("bare.")]
    assert [task["state"] for task in tasks] == ["TASK_RUNNING"] * APP["instances"], tasks
    return {str(task["executor_id"]) for task in tasks}


def test_eratos_is_installed_from_its_package_and_its_executors_are_rolled(cluster: Cluster, tmp_path: Path) -> None:
    if cluster.secure:
        pytest.skip("the page is for a cluster that asks nobody who he is")
    installed = install(cluster, tmp_path)
    before = frameworks(cluster).keys()
    try:
        with installed.running(EXECUTOR):
            installed.client.create_app(APP)
            installed.eratos("app", "wait", "/bare")
            kept, first = cluster.containers("/bare"), until(lambda: executors(cluster), SOON_S, "Mesos knows that it runs")
            (added,) = frameworks(cluster).keys() - before
        # Another scheduler on the same store, with another executor: what runs goes on, and what is new has that.
        with installed.running(f"{EXECUTOR} --log-level DEBUG"):
            installed.eratos("app", "wait", "/bare")
            cluster.assert_kept("/bare", kept)
            installed.eratos("app", "restart", "/bare", "--wait")
            until(lambda: not executors(cluster) & first, SOON_S, "other executors run all of it")
            assert frameworks(cluster).keys() - before == {added}
            installed.eratos("app", "delete", "/bare", "--yes")
            until(lambda: not cluster.states("/bare"), SOON_S, "nothing of it runs")
    finally:
        for framework_id in frameworks(cluster).keys() - before:
            cluster.master("POST", "/api/v1", {"type": "TEARDOWN", "teardown": {"framework_id": {"value": framework_id}}})
        until(lambda: frameworks(cluster).keys() <= before, SOON_S, "Mesos has forgotten the framework")
        until(lambda: not cluster.all_worker_containers(app_id="/bare"), SOON_S, "no container of it is left")
