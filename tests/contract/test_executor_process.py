"""The whole executor as a process: a simulated agent before it; real Docker and a real Consul agent behind it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import consul
import pytest
import requests
from support.companion import FakeCompanion, serve
from support.containers import Container, docker, run_container
from support.executor import a_payload, remove_labelled
from support.mesos_agent import AGENT_ID, SimulatedExecutorAgent
from support.ports import free_ports
from support.waiting import until

from eratos.common import names
from eratos.common.payload import HealthCheck, Port, Service, TaskPayload
from eratos.executor.ports import port_taken
from eratos.scheduler.config import Config
from eratos.scheduler.core import sweeps

IMAGE = "eratos/prime"


@pytest.fixture(scope="module")
def consul_container() -> Iterator[Container]:
    options = ["--entrypoint", "consul"]
    with run_container("eratos/consul", "agent", "-dev", "-client", "0.0.0.0", ports=[8500], options=options) as container:
        client = consul.Consul("127.0.0.1", container.ports[8500], connections_timeout=5)
        until(client.status.leader, 30, "Consul has a leader")
        client.http.session.close()
        yield container


class Rig:
    """One executor process at a time, and everything it meets."""

    def __init__(self, agent: SimulatedExecutorAgent, consul_port: int, log: Path) -> None:
        self.agent = agent
        self.mark = uuid.uuid4().hex[:8]
        self.consul = consul.Consul("127.0.0.1", consul_port, connections_timeout=5)
        self.log = log
        (self.http_port,) = free_ports(1)
        self.environ = agent.environ(
            ERATOS_CONSUL=f"http://127.0.0.1:{consul_port}",
            ERATOS_HOST=f"test-{self.mark}",
            ERATOS_HTTP_PORT=str(self.http_port),
            MESOS_SANDBOX=str(log.parent),
            ERATOS_LOG_LEVEL="DEBUG",
        )
        self.process = self.begin()
        until(lambda: agent.stream is not None, 20, "the executor has subscribed")

    def begin(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "eratos.executor"],
                env={"PATH": os.environ["PATH"], **self.environ},
                stdout=log,
                stderr=log,
            )

    def launch(self, **changes: Any) -> tuple[str, int]:
        """Launch a prime worker; return task id and port."""
        (port,) = free_ports(1)
        task_id = f"prime.instance-{uuid.uuid4()}._app.1"
        check = HealthCheck("http", "/health", port, grace_s=60, interval_s=1, timeout_s=5)
        service = Service(names.service_id(task_id), "prime", port, (names.SERVICE_TAG,), {names.META_TASK: task_id})
        payload = a_payload(task_id, image=IMAGE, health_checks=(check,), services=(service,), env={"WORK_S": "0.001"})
        payload = replace(payload, **{"ports": (Port(port),)} | changes)
        self.agent.launch(task_id, payload.to_bytes())
        return task_id, port

    def sweep(self) -> str:
        """Launch a sweep as the scheduler does; return its task's id."""
        sweep_id = names.instance_id("/sweep", uuid.uuid4().hex)
        task_id = names.task_id(sweep_id, 1)
        payload = TaskPayload(task_id, sweep_id, sweeps.APP_ID, "", sweeps.RESOURCES, "", (), sweeps=True)
        self.agent.launch(task_id, payload.to_bytes())
        return task_id

    def states(self, task_id: str) -> list[str]:
        return [status["state"] for status in self.agent.updates if status["task_id"]["value"] == task_id]

    def last(self, task_id: str) -> dict[str, Any]:
        return [status for status in self.agent.updates if status["task_id"]["value"] == task_id][-1]

    def reached(self, task_id: str, state: str) -> dict[str, Any]:
        until(lambda: state in self.states(task_id), 30, f"{task_id} is {state}, its log: {self.log}")
        return self.last(task_id)

    def registered(self, task_id: str) -> bool:
        return names.service_id(task_id) in self.consul.agent.services()

    def ready(self, **changes: Any) -> str:
        task_id, _ = self.launch(**changes)
        until(lambda: self.registered(task_id), 30, "the task is in Consul")
        return task_id

    @contextmanager
    def balancer(self, companion: FakeCompanion) -> Iterator[None]:
        """Have a balancer in Consul."""
        with serve(companion.answer) as port:
            mark, check = {names.META_HOST: "b1"}, {"TTL": "1h", "Status": "passing"}
            self.consul.agent.service.register(names.BALANCER_SERVICE, port=port, meta=mark, check=check)
            try:
                until(lambda: self.consul.health.service(names.BALANCER_SERVICE, passing=True)[1], 20, "the balancer is known")
                yield
            finally:
                self.consul.agent.service.deregister(names.BALANCER_SERVICE)

    def containers(self) -> list[str]:
        return docker("ps", "-aq", "--filter", f"label={names.LABEL_HOST}=test-{self.mark}").split()


@pytest.fixture
def rig(consul_container: Container, tmp_path: Path) -> Iterator[Rig]:
    found = subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, timeout=30, check=False)
    if found.returncode != 0:
        pytest.skip(f"{IMAGE} is not there (`./dev test` builds the images)")
    with SimulatedExecutorAgent() as agent:
        rig = Rig(agent, consul_container.ports[8500], tmp_path / "executor.log")
        yield rig
        rig.process.kill()
        rig.process.wait()
        rig.consul.http.session.close()
        remove_labelled(f"{names.LABEL_HOST}=test-{rig.mark}")


def test_a_task_from_launch_to_confirmed_stop(rig: Rig) -> None:
    companion = FakeCompanion()
    with rig.balancer(companion):
        task_id = rig.ready()
        service_id = names.service_id(task_id)
        companion.used[service_id] = 1
        rig.agent.kill(task_id)
        until(lambda: service_id in companion.asked, 20, "the balancer is asked")
        assert companion.confirmed == [service_id]
        assert not rig.registered(task_id)
        assert rig.states(task_id)[-1] == "TASK_KILLING"
        assert len(rig.containers()) == 1
        companion.used.clear()
        rig.reached(task_id, "TASK_KILLED")
    assert [state for state in rig.states(task_id) if state != "TASK_RUNNING"] == ["TASK_STARTING", "TASK_KILLING", "TASK_KILLED"]
    until(lambda: not rig.containers(), 20, "the container is removed")


def test_a_ready_task_is_told_as_healthy_with_its_address(rig: Rig) -> None:
    task_id = rig.ready()
    until(lambda: rig.last(task_id).get("healthy"), 20, "the task is reported healthy")
    addresses = rig.last(task_id)["container_status"]["network_infos"][0]["ip_addresses"]
    assert [address["ip_address"] for address in addresses] == ["127.0.0.1"]
    assert rig.consul.agent.services()[names.service_id(task_id)]["Meta"][names.META_AGENT] == AGENT_ID


def test_a_killed_container_leaves_consul_and_is_reported(rig: Rig) -> None:
    task_id = rig.ready()
    docker("kill", names.container_name(task_id))
    status = rig.reached(task_id, "TASK_FAILED")
    assert "exit code 137" in status["message"]
    assert not rig.registered(task_id)


def test_a_dead_executors_containers_and_services_are_swept(rig: Rig) -> None:
    task_id = rig.ready()
    rig.process.kill()
    rig.process.wait()
    rig.process = rig.begin()
    until(lambda: not rig.containers(), 30, "the orphan is removed")
    until(lambda: not rig.registered(task_id), 30, "its service is gone")


def test_a_sweep_ends_once_nothing_is_left_of_a_dead_executor(rig: Rig) -> None:
    """It is launched as soon as the next executor is there, before that has looked at what runs."""
    container = rig.ready()
    serve = "exec python3 -m http.server --bind 127.0.0.1 $PORT"
    process, port = rig.launch(image="", args=("/bin/sh", "-c", serve), health_checks=())
    until(lambda: rig.registered(process), 30, "the process is in Consul")
    service_id = names.service_id(container)
    companion = FakeCompanion()
    companion.used[service_id] = 1
    before = rig.agent.stream
    with rig.balancer(companion):
        rig.process.kill()
        rig.process.wait()
        rig.process = rig.begin()
        until(lambda: rig.agent.stream not in (None, before), 20, "the next executor has subscribed")
        sweep = rig.sweep()
        rig.reached(sweep, "TASK_RUNNING")
        until(lambda: service_id in companion.asked, 20, "the balancer is asked, which still uses the server")
        ended = "TASK_FINISHED" in rig.states(sweep)
        assert not (ended and rig.containers()), "it says that nothing is left, and there is a container"
        companion.used.clear()
        rig.reached(sweep, "TASK_FINISHED")
    assert not rig.containers(), "no container is left, and none was made for the sweep"
    assert not rig.registered(container)
    assert not rig.registered(process)
    assert not port_taken(port), "the process is ended"
    assert rig.states(sweep) == ["TASK_RUNNING", "TASK_FINISHED"]


def test_a_sweep_leaves_what_a_living_executor_runs(rig: Rig) -> None:
    task_id = rig.ready()
    rig.reached(rig.sweep(), "TASK_FINISHED")
    assert rig.registered(task_id)
    assert len(rig.containers()) == 1
    assert rig.states(task_id)[-1] == "TASK_RUNNING"


def test_a_tasks_log_is_served_while_it_runs_and_after_it_failed(rig: Rig) -> None:
    task_id = rig.ready()
    url = f"http://127.0.0.1:{rig.http_port}/tasks/{task_id}/logs"
    assert "Starting server" in requests.get(url, timeout=10).text
    docker("kill", names.container_name(task_id))
    rig.reached(task_id, "TASK_FAILED")
    assert "Starting server" in requests.get(url, timeout=10).text
    assert len(rig.containers()) == 1


def test_a_task_without_an_image_runs_as_a_process_and_is_swept_when_its_executor_died(rig: Rig) -> None:
    serve = "exec python3 -m http.server --bind 127.0.0.1 $PORT"
    task_id, port = rig.launch(image="", args=("/bin/sh", "-c", serve), health_checks=())
    until(lambda: rig.registered(task_id), 30, "the task is in Consul")
    # Its folder, where its output is not: that is the executor's.
    shown = requests.get(f"http://127.0.0.1:{port}/", timeout=10).text
    assert "Directory listing" in shown
    assert "stderr" not in shown
    answer = requests.get(f"http://127.0.0.1:{rig.http_port}/tasks/{task_id}/logs?stream=stderr", timeout=10)
    assert '"GET / HTTP/1.1" 200' in answer.text
    rig.process.kill()
    rig.process.wait()
    socket.create_connection(("127.0.0.1", port), timeout=10).close()  # nobody has told it
    rig.process = rig.begin()
    until(lambda: not rig.registered(task_id), 30, "its service is gone")
    until(lambda: not port_taken(port), 30, "the process is ended")


def test_a_process_is_drained_stopped_and_reported_like_a_container(rig: Rig) -> None:
    serve = "exec python3 -m http.server --bind 127.0.0.1 $PORT"
    task_id, _ = rig.launch(image="", args=("/bin/sh", "-c", serve), health_checks=())
    until(lambda: rig.registered(task_id), 30, "the task is in Consul")
    rig.agent.kill(task_id)
    rig.reached(task_id, "TASK_KILLED")
    assert rig.states(task_id) == ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_KILLED"]
    assert not rig.registered(task_id)


def test_a_restarted_agent_finds_the_task_alive(rig: Rig) -> None:
    task_id = rig.ready()
    before = rig.agent.stream
    rig.agent.restart()
    until(lambda: rig.agent.stream not in (None, before), 20, "the executor has subscribed again")
    assert rig.registered(task_id)
    rig.agent.kill(task_id)
    rig.reached(task_id, "TASK_KILLED")


def test_a_taken_port_is_named_while_it_is_waited_for(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        task_id = "prime.instance-taken._app.1"
        rig.agent.launch(task_id, replace(a_payload(task_id, image=IMAGE), ports=(Port(port),)).to_bytes())
        rig.reached(task_id, "TASK_STARTING")
        until(lambda: f"port {port}" in rig.last(task_id).get("message", ""), 20, "the port is named")
    rig.reached(task_id, "TASK_RUNNING")


@pytest.mark.parametrize("how", ["event", "signal"])
def test_a_shutdown_ends_every_task_and_then_the_executor(rig: Rig, how: str) -> None:
    ready = rig.ready()
    starting, _ = rig.launch()
    if how == "event":
        rig.agent.event({"type": "SHUTDOWN"})
    else:
        rig.process.send_signal(signal.SIGTERM)
    assert rig.process.wait(timeout=20) == 0
    for task_id in (ready, starting):
        assert rig.states(task_id)[-1] == "TASK_KILLED"
    assert not rig.registered(ready)
    until(lambda: not rig.containers(), 20, "the containers are removed")


def test_it_subscribes_and_works_while_docker_and_consul_are_away(tmp_path: Path) -> None:
    with SimulatedExecutorAgent() as agent:
        environ = agent.environ(
            MESOS_SANDBOX=str(tmp_path),
            ERATOS_DOCKER_HOST=f"unix://{tmp_path}/no.sock",
            ERATOS_CONSUL="http://127.0.0.1:1",
            ERATOS_HOST=f"test-{uuid.uuid4().hex}",
            ERATOS_HTTP_PORT="1024",
        )
        command = [sys.executable, "-P", "-m", "eratos.executor"]
        with subprocess.Popen(command, env={"PATH": os.environ["PATH"], **environ}, stderr=subprocess.DEVNULL) as process:
            until(lambda: agent.stream is not None, 20, "the executor has subscribed")
            agent.launch("t", a_payload("t", image="", args=("true",), ports=0).to_bytes())
            until(lambda: [status["state"] for status in agent.updates][-1:] == ["TASK_FINISHED"], 20, "a task ran")
            process.terminate()
            assert process.wait(timeout=20) == 0


def test_the_executor_fits_into_the_memory_that_it_asks_for(rig: Rig) -> None:
    for _ in range(5):
        rig.ready()
    status = Path(f"/proc/{rig.process.pid}/status").read_text()
    rss_mib = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024
    assert rss_mib < Config().executor_mem_mib


def test_without_an_agent_it_says_what_is_missing() -> None:
    command = [sys.executable, "-P", "-m", "eratos.executor"]
    done = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert "MESOS_FRAMEWORK_ID" in done.stderr
