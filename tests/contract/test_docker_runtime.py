"""What Docker's runtime does beyond what every runtime does."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.containers import docker
from support.executor import HOST, Events, remove_labelled
from support.registry import registry
from support.runtimes import Rig, running
from support.waiting import until

from eratos.common import names
from eratos.common.payload import Fetch, SecretFile, Volume
from eratos.common.resources import Resources
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.docker.client import DockerClient
from eratos.executor.docker.runtime import DockerRuntime
from eratos.executor.logs import NoLog

MIB = 1 << 20


@pytest.fixture(params=["fake", "docker"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with running(request.param, tmp_path) as rig:
        yield rig


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Rig]:
    """Docker alone: for what the fake does not play."""
    with running("docker", tmp_path) as rig:
        yield rig


def test_an_image_that_nobody_has_fails_with_its_name(rig: Rig) -> None:
    image = "127.0.0.1:9/no/such:image"
    task_id = rig.start("exit 0", image=image)
    assert image in rig.events.until(on.Preparing, task_id=task_id).what
    assert image in rig.events.until(on.StartFailed, task_id=task_id).message


def test_the_task_sees_its_environment_and_user(real: Rig) -> None:
    task_id = real.start('echo "$USER_SAYS $HOST $MESOS_TASK_ID $(id -u)"; exit 1', env={"USER_SAYS": "hello"}, user="1234")
    tail = real.examined(task_id).log_tail
    assert tail.strip() == f"hello {real.host.hostname} {task_id} 1234"


def test_the_log_of_another_frameworks_task_is_not_there(real: Rig) -> None:
    task_id = real.started("echo one; exec sleep 1000")
    real.host = replace(real.host, framework_id="other")
    with pytest.raises(NoLog):
        real.read_log(task_id)


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


def test_volumes_are_mounted(real: Rig, tmp_path: Any) -> None:
    (tmp_path / "greeting").write_text("good morning\n")
    task_id = real.start("cat /data/greeting; touch /data/x; exit 1", volumes=(Volume("/data", str(tmp_path), read_only=True),))
    tail = real.examined(task_id).log_tail
    assert "good morning" in tail
    assert "Read-only file system" in tail


@pytest.fixture(params=["mounted", "copied"])
def sandboxes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """A runtime whose daemon sees the executor's files, and one whose daemon sees other files at that place."""
    with running("docker", tmp_path) as rig:
        if request.param == "copied":
            label = f"{names.LABEL_FRAMEWORK}={rig.host.framework_id}"
            elsewhere = docker("create", "--label", label, "-v", f"/{rig.mark}:{tmp_path}", rig.image, "true")
            rig.runtime.stop(10)
            rig.host = replace(rig.host, network=f"container:{elsewhere}")
            rig.runtime = rig.make()
            rig.runtime.start()
            rig.events.until(on.ContainersListed)
        yield rig
        with contextlib.suppress(OSError):
            Path(f"/{rig.mark}").rmdir()  # Docker makes what is to be mounted


@pytest.mark.parametrize("user", ["", "1234", "root", "0:0"])
@pytest.mark.parametrize("read_only", ["false", "true"])
@pytest.mark.parametrize("fetched", [False, True], ids=["nothing fetched", "fetched"])
def test_every_user_has_a_sandbox(sandboxes: Rig, tmp_path: Path, user: str, read_only: str, fetched: bool) -> None:
    (tmp_path / "a").write_text("brought")
    fetch = (Fetch(str(tmp_path / "a"), "a"),) if fetched else ()
    command = 'cd "$MESOS_SANDBOX" && cat $(ls) </dev/null; echo x > x && echo written; exit 3'
    task_id = sandboxes.start(command, user=user, parameters=(("read-only", read_only),), fetch=fetch)
    tail = sandboxes.examined(task_id).log_tail
    assert ("brought" in tail) is fetched
    copied = sandboxes.host.network != "host"
    assert ("written" in tail) is not (copied and read_only == "true" and user == "1234")


def test_the_user_of_an_image_writes_to_the_sandbox_which_goes_with_the_container(sandboxes: Rig) -> None:
    base = docker("create", "--label", f"{names.LABEL_FRAMEWORK}={sandboxes.host.framework_id}", sandboxes.image, "true")
    image = docker("commit", "--change", "USER 1234", base)
    try:
        task_id = sandboxes.start('id -u; echo x > "$MESOS_SANDBOX/x" && exit 3', image=image)
        found = sandboxes.examined(task_id)
        assert (found.exit_code, found.log_tail) == (3, "1234\n")
        source = Path(sandboxes.inspect(task_id, "{{range .Mounts}}{{.Source}}{{end}}"))
        assert (source / "x").read_text() == "x\n"

        def gone() -> bool:
            sandboxes.runtime.perform(do.RemoveContainer(task_id))
            return not source.exists()

        until(gone, 20, "the sandbox is gone")
    finally:
        remove_labelled(f"{names.LABEL_FRAMEWORK}={sandboxes.host.framework_id}")
        docker("rmi", image)


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
    assert address == real.inspect(task_id, "{{.NetworkSettings.Networks.bridge.IPAddress}}")
    assert address


def test_a_cancelled_start_does_not_wait_for_its_image(real: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as registry:  # takes connections and never answers
        task_id = real.start("exit 0", image=f"127.0.0.1:{registry.getsockname()[1]}/slow:image")
        real.events.until(on.Preparing, task_id=task_id)
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
    real.runtime = DockerRuntime(client, tmp_path, real.host, real.events.emit, real.alive, logins_file=str(logins))
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


def test_an_image_is_pulled_and_started_by_its_digest(real: Rig, tmp_path: Path) -> None:
    with registry("joe", "hunter2") as private:
        image = private.by_digest
        (tmp_path / "config.json").write_text(private.login())
        login = (Fetch((tmp_path / "config.json").as_uri(), ".docker/config.json"),)
        try:
            for task in ("t1", "t2"):  # the second finds it on the host
                task_id = real.start("", task=task, image=image, args=("/no/such/command",), fetch=login)
                assert "/no/such/command" in real.events.until(on.StartFailed, task_id=task_id).message
            assert docker("image", "inspect", "-f", "{{.RepoDigests}}", image) == f"[{image}]"
        finally:
            remove_labelled(f"{names.LABEL_FRAMEWORK}={real.host.framework_id}")
            docker("rmi", image)


def test_a_private_image_is_pulled_with_the_login_that_the_app_brings_along(real: Rig, tmp_path: Path) -> None:
    with registry("joe", "hunter2") as private:
        (tmp_path / "config.json").write_text(private.login())
        with tarfile.open(tmp_path / "docker.tar.gz", "w:gz") as tar:
            tar.add(tmp_path / "config.json", ".docker/config.json")
        files = (Fetch((tmp_path / "docker.tar.gz").as_uri(), "docker.tar.gz"),)
        try:
            task_id = real.start("", image=private.image, args=("/no/such/command",), fetch=files)
            assert "/no/such/command" in real.events.until(on.StartFailed, task_id=task_id).message
        finally:
            remove_labelled(f"{names.LABEL_FRAMEWORK}={real.host.framework_id}")
            docker("rmi", private.image)


def test_a_pull_from_a_registry_that_trickles_is_given_up_and_holds_up_no_other(real: Rig, tmp_path: Path) -> None:
    logins = tmp_path / "config.json"
    client = DockerClient("unix:///var/run/docker.sock")
    real.runtime.stop(10)
    real.runtime = DockerRuntime(
        client, tmp_path, real.host, real.events.emit, real.alive, logins_file=str(logins), pull_stall_s=3
    )
    with registry("joe", "hunter2") as slow:
        slow.trickles = True
        logins.write_text(slow.login())
        task_id = real.start("exit 0", image=slow.image)
        real.events.until(on.Preparing, task_id=task_id)
        assert "ERATOS_PULL_STALL_S" in real.events.until(on.StartFailed, task_id=task_id).message
        slow.trickles = False
        try:
            task_id = real.start("", task="t2", image=slow.image, args=("/no/such/command",))
            assert "/no/such/command" in real.events.until(on.StartFailed, task_id=task_id).message
        finally:
            remove_labelled(f"{names.LABEL_FRAMEWORK}={real.host.framework_id}")
            docker("rmi", slow.image)


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


def test_a_daemon_that_is_away_fails_the_start_with_the_fix(tmp_path: Any) -> None:
    events = Events()
    runtime = DockerRuntime(DockerClient(f"unix://{tmp_path}/no.sock"), tmp_path, HOST, events.emit, lambda _: True)
    runtime.perform(do.StartContainer("t", "t", "image", {"HostConfig": {}}))
    assert "ERATOS_DOCKER_HOST" in events.until(on.StartFailed, task_id="t").message
    runtime.perform(do.ExamineContainer("t"))
    assert events.until(on.ContainerExamined, task_id="t").exit_code is None
    runtime.stop(10)


def test_a_process_killed_from_outside_is_noticed(real: Rig) -> None:
    task_id = real.started("exec sleep 1000")
    os.kill(int(real.inspect(task_id, "{{.State.Pid}}")), signal.SIGKILL)
    assert real.events.until(on.ContainerDied, task_id=task_id).exit_code == 137


def test_a_container_has_its_secrets_as_variables_and_as_files(real: Rig, caplog: pytest.LogCaptureFixture) -> None:
    real.secrets = {"shop/db": b"hush\n", "shop/key": b"\x00\xff"}
    files = (SecretFile("/run/secrets/key", "shop/key"),)
    script = '[ "$PASSWORD" = hush ] && [ "$(od -An -tx1 /run/secrets/key | tr -d " ")" = 00ff ]'
    task_id = real.start(script, secret_env={"PASSWORD": "shop/db"}, secret_files=files, user="1234")
    assert real.examined(task_id).exit_code == 0
    assert "hush" not in caplog.text
    missing = real.start("exit 0", task="other", secret_files=(SecretFile("/run/x", "none"),))
    assert real.events.until(on.StartFailed, task_id=missing).message == "secret none: there is none"


def test_a_terminal_is_one_and_its_log_is_read(real: Rig) -> None:
    task_id = real.start("test -t 1 && echo a terminal; echo two", tty=True)
    assert real.examined(task_id).exit_code == 0
    assert real.read_log(task_id).splitlines() == [b"a terminal", b"two"]
    assert real.read_log(task_id, tail=1).splitlines() == [b"two"]


def test_a_relative_host_path_is_a_folder_of_the_sandbox(real: Rig) -> None:
    volumes = (Volume("/data", "./own/data"),)
    task_id = real.start("echo x > /data/y && cat $MESOS_SANDBOX/own/data/y", volumes=volumes, user="1234")
    assert real.examined(task_id).exit_code == 0
    assert real.read_log(task_id) == b"x\n"


def test_memory_may_be_without_a_limit(real: Rig) -> None:
    task_id = real.started("exec sleep 1000", mem_limit_mib=None)
    assert real.inspect(task_id, "{{.HostConfig.Memory}} {{.HostConfig.MemoryReservation}}") == f"0 {32 * MIB}"


@pytest.fixture
def networks(real: Rig) -> Iterator[tuple[str, str]]:
    made = (f"{real.mark}-front", f"{real.mark}-back")
    for name in made:
        docker("network", "create", "--label", f"{names.LABEL_FRAMEWORK}={real.host.framework_id}", name)
    yield made
    remove_labelled(f"{names.LABEL_FRAMEWORK}={real.host.framework_id}")
    for name in made:
        docker("network", "rm", name)


def test_a_container_joins_its_networks(real: Rig, networks: tuple[str, str]) -> None:
    task_id = real.start("exec sleep 1000", network="bridge", networks=networks)
    assert real.events.until(on.ContainerStarted, task_id=task_id).address
    joined = real.inspect(task_id, "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}").split()
    assert set(joined) == set(networks)


def test_a_network_that_is_not_there_is_named(real: Rig) -> None:
    task_id = real.start("exit 0", network="bridge", networks=("no-such-network",))
    assert "no-such-network" in real.events.until(on.StartFailed, task_id=task_id).message
