"""The container runtime: the real one over Docker and the tests' fake give the same answers."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.executor import HOST, Events, a_payload, remove_labelled
from support.fake_docker import FakeRuntime
from support.registry import registry
from support.waiting import until

from eratos.common import names
from eratos.common.payload import TaskPayload, Volume
from eratos.common.resources import Resources
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.container import container_config, tcp_host_ports
from eratos.executor.docker_client import DockerClient
from eratos.executor.docker_logs import DockerLogs
from eratos.executor.docker_runtime import DockerRuntime
from eratos.executor.logs import LogRequest, NoLog

IMAGES = ("debian:trixie-slim", "eratos/prime")
MIB = 1 << 20


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def present_image() -> str:
    try:
        for image in IMAGES:
            found = subprocess.run(["docker", "image", "inspect", image], capture_output=True, timeout=30, check=False)
            if found.returncode == 0:
                return image
    except FileNotFoundError:
        pytest.skip("docker is not installed")
    pytest.skip(f"Docker does not answer or has none of {', '.join(IMAGES)}")


class Rig:
    """A runtime, its events, and tasks unique to this test."""

    def __init__(self, kind: str, image: str) -> None:
        self.kind = kind
        self.image = image
        self.events = Events()
        self.mark = uuid.uuid4().hex
        self.host = replace(HOST, framework_id=f"test-{self.mark}", executor_id="test")
        self.runtime: Any = self.make()

    def make(self) -> Any:
        if self.kind == "fake":
            return FakeRuntime({self.image}, self.events.emit)
        return DockerRuntime(DockerClient("unix:///var/run/docker.sock"), self.host, self.events.emit, port_wait_s=0.5)

    def logs(self) -> DockerLogs:
        return DockerLogs(DockerClient("unix:///var/run/docker.sock"), self.host.framework_id)

    def listing(self) -> on.ContainersListed:
        """What a second runtime over the same containers sees first, as a restarted executor does."""
        second = self.make()
        if self.kind == "fake":
            second.containers = self.runtime.containers
        second.start()
        listed = self.events.until(on.ContainersListed)
        second.stop(10)
        return listed

    def start(self, script: str, *, task: str = "t", ports: int = 0, **changes: Any) -> str:
        """Start a shell script as a task and return the task's id; the result is still to come."""
        payload = self.payload(script, task=task, ports=ports, **changes)
        config = container_config(payload, self.host)
        name = names.container_name(payload.task_id)
        force = payload.force_pull
        self.runtime.perform(do.StartContainer(payload.task_id, name, payload.image, config, tcp_host_ports(payload), force))
        return payload.task_id

    def payload(self, script: str, *, task: str = "t", **changes: Any) -> TaskPayload:
        settings = {"image": self.image, "args": ("/bin/sh", "-c", script), "network": "none"} | changes
        return a_payload(f"{task}.instance-{self.mark}._app.1", **settings)

    def started(self, script: str, **changes: Any) -> str:
        task_id = self.start(script, **changes)
        self.events.until(on.ContainerStarted, task_id=task_id)
        return task_id

    def stopped(self, task_id: str, exit_code: int) -> None:
        """Ask a process to end until it does: at first it may not listen to signals yet."""

        def died() -> on.ContainerDied:
            self.runtime.perform(do.StopContainer(task_id))
            return self.events.until(on.ContainerDied, within_s=1, task_id=task_id, exit_code=exit_code)

        until(died, 20, f"the process ended with {exit_code}")

    def inspect(self, task_id: str, template: str) -> str:
        return docker("inspect", "-f", template, names.container_name(task_id))


@pytest.fixture(params=["fake", "docker"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    yield from _rig(request.param)


@pytest.fixture
def real() -> Iterator[Rig]:
    """Docker alone: for what the fake does not play."""
    yield from _rig("docker")


def _rig(kind: str) -> Iterator[Rig]:
    rig = Rig(kind, present_image() if kind == "docker" else "debian:trixie-slim")
    rig.runtime.start()
    rig.events.until(on.ContainersListed)
    yield rig
    rig.runtime.stop(10)
    if kind == "docker":
        remove_labelled(f"{names.LABEL_FRAMEWORK}={rig.host.framework_id}")


def test_a_death_is_reported_with_its_exit_code(rig: Rig) -> None:
    task_id = rig.start("exit 3")
    assert rig.events.until(on.ContainerDied, task_id=task_id).exit_code == 3


def test_examining_tells_exit_code_and_last_output(rig: Rig) -> None:
    task_id = rig.start("echo out of luck; exit 3")
    rig.events.until(on.ContainerDied, task_id=task_id)
    rig.runtime.perform(do.ExamineContainer(task_id))
    found = rig.events.until(on.ContainerExamined, task_id=task_id)
    assert (found.exit_code, found.out_of_memory, found.log_tail.strip()) == (3, False, "out of luck")


def test_examining_a_container_that_is_gone_is_answered(rig: Rig) -> None:
    rig.runtime.perform(do.ExamineContainer("nobody"))
    assert rig.events.until(on.ContainerExamined, task_id="nobody").exit_code is None


def test_stop_lets_the_process_end(rig: Rig) -> None:
    task_id = rig.started("exec sleep 1000" if rig.kind == "fake" else "trap 'exit 143' TERM; while :; do sleep 0.05; done")
    rig.stopped(task_id, 143)


def test_kill_ends_what_ignores_the_stop(rig: Rig) -> None:
    task_id = rig.started("trap '' TERM; sleep 1000")
    rig.runtime.perform(do.StopContainer(task_id))
    rig.runtime.perform(do.KillContainer(task_id))
    assert rig.events.until(on.ContainerDied, task_id=task_id).exit_code == 137


@pytest.mark.parametrize("action", [do.StopContainer, do.KillContainer])
def test_signalling_what_is_gone_reports_its_death(rig: Rig, action: Callable[[str], do.Action]) -> None:
    rig.runtime.perform(action("nobody"))
    rig.events.until(on.ContainerDied, task_id="nobody")


def test_an_image_that_nobody_has_fails_with_its_name(rig: Rig) -> None:
    image = "127.0.0.1:9/no/such:image"
    task_id = rig.start("exit 0", image=image)
    assert rig.events.until(on.Pulling, task_id=task_id).image == image
    assert image in rig.events.until(on.StartFailed, task_id=task_id).message


def test_a_command_that_is_not_there_fails(rig: Rig) -> None:
    task_id = rig.start("", args=("/no/such/command",))
    assert "/no/such/command" in rig.events.until(on.StartFailed, task_id=task_id).message


def test_a_taken_port_fails_with_its_number(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if rig.kind == "fake":
            rig.runtime.taken_ports.add(port)
        payload = rig.payload("exec sleep 1000")
        rig.runtime.perform(
            do.StartContainer(payload.task_id, "unused", rig.image, container_config(payload, rig.host), host_ports=(port,))
        )
        assert f"port {port}" in rig.events.until(on.StartFailed, task_id=payload.task_id).message


def test_a_port_that_is_being_freed_is_waited_for(real: Rig) -> None:
    real.runtime.stop(10)
    real.runtime = DockerRuntime(DockerClient("unix:///var/run/docker.sock"), real.host, real.events.emit, port_wait_s=30)
    payload = real.payload("exec sleep 1000")
    name, config = names.container_name(payload.task_id), container_config(payload, real.host)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        real.runtime.perform(do.StartContainer(payload.task_id, name, real.image, config, host_ports=(port,)))
        real.started("exec sleep 1000", task="other")  # meanwhile others start
        assert not [event for event in real.events.seen if getattr(event, "task_id", "") == payload.task_id]
    real.events.until(on.ContainerStarted, task_id=payload.task_id)


def test_a_listing_tells_running_from_ended(rig: Rig) -> None:
    running = rig.started("exec sleep 1000", task="a")
    ended = rig.start("exit 0", task="b")
    rig.events.until(on.ContainerDied, task_id=ended)
    expected = (frozenset({running}), frozenset({ended}))

    def told_apart() -> bool:  # Docker's list follows its events by a moment
        listed = rig.listing()
        return (listed.running, listed.ended) == expected

    until(told_apart, 20, "one runs and the other does not")


def test_removal_takes_a_running_container_and_is_repeatable(rig: Rig) -> None:
    task_id = rig.started("exec sleep 1000")
    rig.runtime.perform(do.RemoveContainer(task_id))
    rig.events.until(on.ContainerDied, task_id=task_id)

    def gone() -> bool:
        rig.runtime.perform(do.RemoveContainer(task_id))
        listed = rig.listing()
        return not listed.running | listed.ended

    until(gone, 20, "the container is gone")


def test_a_command_inside_tells_its_exit_code(rig: Rig) -> None:
    task_id = rig.started("exec sleep 1000")
    command_id = rig.runtime.command_start(task_id, "exit 7")
    assert until(lambda: rig.runtime.command_result(command_id), 20, "the command ended") == 7


# Logs -------------------------------------------------------------------------------------------------------------------


def read_log(rig: Rig, task_id: str, **wanted: Any) -> bytes:
    async def read() -> bytes:
        async with rig.logs().read(LogRequest(task_id, **wanted)) as pieces:
            return b"".join([piece async for piece in pieces])

    return asyncio.run(read())


def test_the_two_outputs_are_read_apart_after_the_end_too(real: Rig) -> None:
    task_id = real.start("echo one; echo two; echo oh >&2; exit 3")
    real.events.until(on.ContainerDied, task_id=task_id)
    assert read_log(real, task_id) == b"one\ntwo\n"
    assert read_log(real, task_id, tail=1) == b"two\n"
    assert read_log(real, task_id, stream="stderr") == b"oh\n"


def test_the_last_lines_of_one_output_are_counted_apart_from_the_others(real: Rig) -> None:
    script = "echo one; echo two; i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo $i >&2; done; echo three; exit 3"
    task_id = real.start(script)
    real.events.until(on.ContainerDied, task_id=task_id)
    assert read_log(real, task_id, tail=2) == b"two\nthree\n"
    assert read_log(real, task_id, tail=5) == b"one\ntwo\nthree\n"
    assert read_log(real, task_id, tail=0) == b""
    assert read_log(real, task_id, stream="stderr", tail=2) == b"299\n300\n"


def test_a_silent_log_is_followed_before_its_first_line(real: Rig) -> None:
    task_id = real.started("trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done")

    async def follow() -> bytes:
        async with real.logs().read(LogRequest(task_id, follow=True)) as pieces:
            await asyncio.get_running_loop().run_in_executor(None, real.stopped, task_id, 0)
            return b"".join([piece async for piece in pieces])

    assert asyncio.run(follow()) == b"bye\n"


def test_a_followed_log_goes_on_until_the_task_ends(real: Rig) -> None:
    script = "echo one; trap 'echo two; exit 0' TERM; while :; do sleep 0.05; done"
    task_id = real.started(script)

    async def follow() -> list[bytes]:
        async with real.logs().read(LogRequest(task_id, follow=True)) as pieces:
            found = [await anext(pieces)]
            real.runtime.perform(do.StopContainer(task_id))
            return [*found, *[piece async for piece in pieces]]

    until(lambda: read_log(real, task_id), 20, "the task listens to signals")
    assert b"".join(asyncio.run(follow())) == b"one\ntwo\n"


def test_a_log_larger_than_any_buffer_is_read_whole(real: Rig) -> None:
    task_id = real.start("i=0; while [ $i -lt 3000 ]; do i=$((i+1)); printf '%0200d\\n' $i; done")
    real.events.until(on.ContainerDied, task_id=task_id)
    lines = read_log(real, task_id, tail=10_000).splitlines()
    assert [int(line) for line in lines] == list(range(1, 3001))


def test_the_log_of_another_frameworks_task_or_of_none_is_not_there(real: Rig) -> None:
    task_id = real.started("echo one; exec sleep 1000")
    with pytest.raises(NoLog):
        read_log(real, "nobody")
    real.host = replace(real.host, framework_id="other")
    with pytest.raises(NoLog):
        read_log(real, task_id)
    real.host = replace(real.host, framework_id=f"test-{real.mark}")


# Docker alone -----------------------------------------------------------------------------------------------------------


def test_limits_labels_and_logs_reach_docker(real: Rig) -> None:
    task_id = real.started(
        "exec sleep 1000", resources=Resources(cpus_m=500, mem_mib=64), cpus_limit_m=250, parameters=(("pids-limit", "50"),)
    )
    limits = (
        "{{with .HostConfig}}{{.CpuShares}} {{.CpuQuota}} {{.Memory}} {{.MemorySwap}} {{.PidsLimit}} {{.LogConfig.Config}}{{end}}"
    )
    assert real.inspect(task_id, limits) == f"512 25000 {64 * MIB} {64 * MIB} 50 map[max-file:3 max-size:10m]"
    labels = real.inspect(task_id, "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}")
    for label in (f"{names.LABEL_TASK}={task_id}", f"{names.LABEL_HOST}={real.host.name}", f"{names.LABEL_AGENT}=agent1"):
        assert label in labels


def test_the_task_sees_its_environment_and_user(real: Rig) -> None:
    task_id = real.start('echo "$USER_SAYS $HOST $MESOS_TASK_ID $(id -u)"; exit 1', env={"USER_SAYS": "hello"}, user="1234")
    real.events.until(on.ContainerDied, task_id=task_id)
    real.runtime.perform(do.ExamineContainer(task_id))
    tail = real.events.until(on.ContainerExamined, task_id=task_id).log_tail
    assert tail.strip() == f"hello {real.host.hostname} {task_id} 1234"


def test_volumes_are_mounted(real: Rig, tmp_path: Any) -> None:
    (tmp_path / "greeting").write_text("good morning\n")
    task_id = real.start("cat /data/greeting; touch /data/x; exit 1", volumes=(Volume("/data", str(tmp_path), read_only=True),))
    real.events.until(on.ContainerDied, task_id=task_id)
    real.runtime.perform(do.ExamineContainer(task_id))
    tail = real.events.until(on.ContainerExamined, task_id=task_id).log_tail
    assert "good morning" in tail
    assert "Read-only file system" in tail


def test_out_of_memory_is_told_apart(real: Rig) -> None:
    attempts = iter(range(10))

    def told() -> bool:  # containerd 1.6 on cgroup v1 misses about one in six
        # tail collects a line without end in memory.
        task_id = real.start("exec tail /dev/zero", task=f"t{next(attempts)}", resources=Resources(cpus_m=100, mem_mib=16))
        assert real.events.until(on.ContainerDied, task_id=task_id).exit_code == 137
        real.runtime.perform(do.ExamineContainer(task_id))
        return real.events.until(on.ContainerExamined, task_id=task_id).out_of_memory

    until(told, 60, "Docker says that the memory was used up")


def test_a_bridged_task_has_an_address_of_its_own(real: Rig) -> None:
    task_id = real.start("exec sleep 1000", network="bridge")
    address = real.events.until(on.ContainerStarted, task_id=task_id).address
    assert address == real.inspect(task_id, "{{.NetworkSettings.IPAddress}}")
    assert address


def test_a_cancelled_start_does_not_wait_for_its_image(real: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as registry:  # takes connections and never answers
        task_id = real.start("exit 0", image=f"127.0.0.1:{registry.getsockname()[1]}/slow:image")
        real.events.until(on.Pulling, task_id=task_id)
        quick = real.started("exec sleep 1000", task="other")
        assert quick != task_id
        real.runtime.perform(do.CancelStart(task_id))
        assert "cancelled" in real.events.until(on.StartFailed, task_id=task_id).message


def test_a_private_image_is_pulled_with_the_hosts_login_and_no_message_shows_it(
    real: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logins = tmp_path / "config.json"
    real.runtime.stop(10)
    client = DockerClient("unix:///var/run/docker.sock")
    real.runtime = DockerRuntime(client, real.host, real.events.emit, logins_file=str(logins))
    with registry("joe", "hunter2") as private:
        logins.write_text("{}")
        task_id = real.start("exit 0", image=private.image)
        message = real.events.until(on.StartFailed, task_id=task_id).message
        assert "docker login" in message
        logins.write_text(private.login())  # docker login takes effect at once
        try:
            task_id = real.start("", task="t2", image=private.image, args=("/no/such/command",))
            assert "/no/such/command" in real.events.until(on.StartFailed, task_id=task_id).message
            assert docker("image", "inspect", "-f", "{{.RepoTags}}", private.image) == f"[{private.image}]"
        finally:
            remove_labelled(f"{names.LABEL_FRAMEWORK}={real.host.framework_id}")
            docker("rmi", private.image)
    assert private.authorizations[-1].startswith("Basic ")
    for secret in ("hunter2", private.authorizations[-1].removeprefix("Basic ")):
        assert secret not in caplog.text


def test_an_image_that_is_here_is_pulled_again_where_the_app_wants_it(real: Rig, tmp_path: Path) -> None:
    with registry("joe", "hunter2") as private:
        docker("tag", real.image, private.image)
        try:
            task_id = real.start("exit 0", image=private.image, force_pull=True)
            assert "forcePullImage" in real.events.until(on.StartFailed, task_id=task_id).message
            task_id = real.start("exit 0", task="t2", image=private.image)
            real.events.until(on.ContainerDied, task_id=task_id, exit_code=0)
        finally:
            remove_labelled(f"{names.LABEL_FRAMEWORK}={real.host.framework_id}")
            docker("rmi", private.image)


def test_the_images_own_stop_signal_is_used(real: Rig) -> None:
    task_id = real.started("trap 'exit 9' USR1; while :; do sleep 0.05; done", parameters=(("stop-signal", "SIGUSR1"),))
    real.stopped(task_id, 9)


def test_another_hosts_containers_are_not_seen(real: Rig) -> None:
    real.started("exec sleep 1000")
    real.host = replace(real.host, name="elsewhere")
    listed = real.listing()
    assert not listed.running | listed.ended


def test_a_living_executor_beside_this_one_keeps_its_containers(real: Rig) -> None:
    real.started("exec sleep 1000")
    real.host = replace(real.host, executor_id="upgraded")
    listed = real.listing()
    assert not listed.running | listed.ended


def test_containers_of_an_earlier_agent_id_are_seen(real: Rig) -> None:
    task_id = real.started("exec sleep 1000")
    real.host = replace(real.host, executor_id="upgraded", agent_id="agent2")
    assert real.listing().running == {task_id}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_daemon_that_is_away_fails_the_start_with_the_fix(tmp_path: Any) -> None:
    events = Events()
    runtime = DockerRuntime(DockerClient(f"unix://{tmp_path}/no.sock"), HOST, events.emit)
    runtime.perform(do.StartContainer("t", "t", "image", {"HostConfig": {}}))
    assert "ERATOS_DOCKER_HOST" in events.until(on.StartFailed, task_id="t").message
    runtime.perform(do.ExamineContainer("t"))
    assert events.until(on.ContainerExamined, task_id="t").exit_code is None
    runtime.stop(10)
    gc.collect()  # here, where it is ignored: the Docker library leaves a socket open whose connect failed


def test_a_process_killed_from_outside_is_noticed(real: Rig) -> None:
    task_id = real.started("exec sleep 1000")
    os.kill(int(real.inspect(task_id, "{{.State.Pid}}")), signal.SIGKILL)
    assert real.events.until(on.ContainerDied, task_id=task_id).exit_code == 137
