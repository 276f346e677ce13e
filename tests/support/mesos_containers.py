"""A real Mesos master and agent in containers of the project's images, on the loopback interface alone."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .containers import Container, docker, run_container
from .folders import ROOT
from .ports import free_ports
from .waiting import until

_START_S = 60
ECHO_EXECUTOR = Path(__file__).parent / "echo_executor.py"
#: Where an agent's container has the tree's own code, for executors.
EXECUTOR_PATH = "/opt/code-under-test"


def _options(**environment: object) -> list[str]:
    settings = {"MESOS_IP": "127.0.0.1", "MESOS_HOSTNAME": "127.0.0.1", "GLOG_minloglevel": "1", **environment}
    return ["--network", "host", *(word for name, value in settings.items() for word in ("-e", f"{name}={value}"))]


def _is_one(port: int, metric: str) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics/snapshot", timeout=2) as answer:
        return bool(json.load(answer).get(metric) == 1.0)


def _serves_schedulers(port: int) -> bool:
    """Return whether a master is done with its recovery: until then every call is answered with 503, whatever it says."""
    call = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1/scheduler", b"{}", {"Content-Type": "application/json"})
    try:
        urllib.request.urlopen(call, timeout=2).close()
    except urllib.error.HTTPError as error:
        with error:
            return error.code == 400
    return False


@contextmanager
def run_master(zookeeper: Container, credentials: Path | None = None) -> Iterator[str]:
    """Run a master until it leads; yields its ``host:port``. With a file of ``credentials`` it serves no other schedulers."""
    (port,) = free_ports(1)
    # Under a path of its own: a module may have several.
    options = _options(MESOS_ZK=f"zk://127.0.0.1:{zookeeper.ports[2181]}/mesos{port if credentials else ''}", MESOS_PORT=port)
    if credentials:
        options += ["-v", f"{credentials}:/credentials:ro", "-e", "MESOS_CREDENTIALS=/credentials"]
        options += ["-e", "MESOS_AUTHENTICATE_HTTP_FRAMEWORKS=true", "-e", "MESOS_HTTP_FRAMEWORK_AUTHENTICATORS=basic"]
    with run_container("eratos/mesos-master", options=options):
        until(lambda: _is_one(port, "master/elected"), _START_S, "the master is elected")
        if not credentials:
            until(lambda: _serves_schedulers(port), _START_S, "the master has recovered")
        yield f"127.0.0.1:{port}"


class Agent:
    """A running agent."""

    def __init__(self, container: Container, port: int) -> None:
        self._container = container
        self._port = port

    def registered(self) -> bool:
        return _is_one(self._port, "slave/registered")

    def logs(self) -> str:
        return self._container.logs()

    def restart(self) -> None:
        """Kill mesos-agent alone; its supervisor starts it again, and executors live on."""
        docker("exec", self._container.id, "s6-svc", "-k", "/etc/eratos/services/mesos-agent")


@contextmanager
def run_agent(zookeeper: Container, resources: str, executor: Path = ECHO_EXECUTOR) -> Iterator[Agent]:
    """Run an agent until it is registered with the leading master; ``executor`` is a file for :data:`EXECUTOR_PATH`."""
    (port,) = free_ports(1)
    options = _options(
        MESOS_MASTER=f"zk://127.0.0.1:{zookeeper.ports[2181]}/mesos",
        MESOS_PORT=port,
        MESOS_RESOURCES=resources,
        MESOS_CONTAINERIZERS="mesos",
        MESOS_LAUNCHER="posix",
        MESOS_ISOLATION="posix/cpu,posix/mem",
        MESOS_SYSTEMD_ENABLE_SUPPORT="false",
    )
    for name in ("common", "mesos", "executor"):
        options += ["-v", f"{ROOT / name}:{EXECUTOR_PATH}/eratos/{name}:ro"]
    options += ["-v", f"{executor}:{EXECUTOR_PATH}/{executor.name}:ro"]
    with run_container("eratos/agent", options=options) as container:
        agent = Agent(container, port)
        until(agent.registered, _START_S, "the agent is registered")
        yield agent
