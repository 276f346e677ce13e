"""Pods with a real Docker daemon: several containers with one life, one network and shared folders."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.containers import docker
from support.executor import PORT
from support.ports import free_ports
from support.registry import registry
from support.runtimes import Rig, running
from support.waiting import until

from eratos.common import names
from eratos.common.payload import Container, Fetch, Port, SecretFile, TaskPayload, Volume
from eratos.common.resources import Resources
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.start import start_action
from eratos.executor.logs import NoLog

SLEEP = "trap 'exit 143' TERM; while :; do sleep 0.05; done"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with running("docker", tmp_path) as rig:
        yield rig


def a_container(rig: Rig, name: str, script: str, **fields: Any) -> Container:
    fixed = {"resources": Resources(cpus_m=100, mem_mib=32), "image": rig.image, "args": ("/bin/sh", "-c", script)}
    return Container(name=name, **(fixed | fields))


def a_pod(rig: Rig, *containers: Container, **fields: Any) -> TaskPayload:
    fixed = {"image": "", "args": None, "ports": (), "services": (), "network": "host", "containers": containers}
    return replace(rig.payload(""), **(fixed | fields))


def begin(rig: Rig, *containers: Container, **fields: Any) -> str:
    payload = a_pod(rig, *containers, **fields)
    rig.runtime.perform(start_action(payload, rig.host))
    return payload.task_id


def started(rig: Rig, *containers: Container, **fields: Any) -> str:
    task_id = begin(rig, *containers, **fields)
    rig.events.until(on.ContainerStarted, task_id=task_id)
    return task_id


def lines(rig: Rig, task_id: str, container: str, count: int = 1) -> list[str]:
    def read() -> list[str]:
        found = rig.read_log(task_id, container=container).decode().splitlines()
        return found if len(found) >= count else []

    return until(read, 20, f"{container} wrote {count} lines")


def there(rig: Rig, state: str = "") -> set[str]:
    """Return which containers of the test's pods there are."""
    filters = ["--filter", f"label={names.LABEL_FRAMEWORK}={rig.host.framework_id}"]
    filters += ["--filter", f"status={state}"] if state else []
    template = f'{{{{.Label "{names.LABEL_CONTAINER}"}}}}'
    return set(docker("ps", "-a", *filters, "--format", template).split())


def test_containers_share_a_network_and_a_folder_and_each_has_a_sandbox_and_an_environment(rig: Rig) -> None:
    shared = (Volume("/shared", "volumes/shared"),)
    both = 'echo "$NAME $(hostname)"; cd "$MESOS_SANDBOX"; ls; touch "$NAME"; '
    task_id = started(
        rig,
        a_container(rig, "one", both + "echo hello >/shared/word; " + SLEEP, env={"NAME": "one"}, volumes=shared),
        a_container(
            rig,
            "two",
            both + "until cat /shared/word 2>/dev/null; do sleep 0.05; done; " + SLEEP,
            env={"NAME": "two"},
            volumes=shared,
        ),
        network="bridge",
    )
    first, second = lines(rig, task_id, "one"), lines(rig, task_id, "two", 2)
    assert first[0].split()[0] == "one"
    assert second[0].split() == ["two", first[0].split()[1]]  # of one network, so of one host name
    assert second[1:] == ["hello"]
    assert there(rig, "running") == {"one", "two"}


def test_ports_of_all_containers_are_published_by_the_first(rig: Rig) -> None:
    host_port = free_ports(1)[0]
    task_id = started(
        rig,
        a_container(rig, "one", SLEEP),
        a_container(rig, "two", SLEEP),
        network="bridge",
        ports=(Port(host_port, 8080, name="http"),),
    )
    published = docker("port", names.container_name(task_id, "one"), "8080/tcp")
    assert published.splitlines()[0].endswith(f":{host_port}")
    mode = docker("inspect", "-f", "{{.HostConfig.NetworkMode}}", names.container_name(task_id, "two"))
    assert docker("inspect", "-f", "{{.Id}}", names.container_name(task_id, "one")) in mode or mode.endswith(".one")


def test_a_stop_reaches_every_container_and_each_end_is_told(rig: Rig) -> None:
    task_id = started(rig, a_container(rig, "one", "echo up; " + SLEEP), a_container(rig, "two", "echo up; " + SLEEP))
    lines(rig, task_id, "one")
    lines(rig, task_id, "two")
    rig.runtime.perform(do.StopContainer(task_id))
    ends = {rig.events.until(on.ContainerDied, task_id=task_id).container for _ in range(2)}
    assert ends == {"one", "two"}
    rig.runtime.perform(do.RemoveContainer(task_id))
    until(lambda: not there(rig), 20, "both are gone")


def test_the_end_of_one_is_told_with_its_name_and_examined(rig: Rig) -> None:
    task_id = started(rig, a_container(rig, "one", SLEEP), a_container(rig, "two", "echo out of luck; exit 3"))
    died = rig.events.until(on.ContainerDied, task_id=task_id)
    assert (died.container, died.exit_code) == ("two", 3)
    rig.runtime.perform(do.ExamineContainer(task_id, "two"))
    found = rig.events.until(on.ContainerExamined, task_id=task_id)
    assert (found.exit_code, found.log_tail.strip()) == (3, "out of luck")

    def partly() -> bool:  # Docker's list follows its events by a moment
        listed = rig.listing()
        return (listed.running, listed.partly, listed.ended) == (frozenset(), frozenset({task_id}), frozenset())

    until(partly, 20, "a part of it runs")


def test_a_pod_that_another_executor_left_is_removed_whole(rig: Rig) -> None:
    task_id = started(rig, a_container(rig, "one", SLEEP), a_container(rig, "two", SLEEP))
    rig.runtime.stop(10)
    rig.runtime = rig.make()  # of a new executor, which has never heard of it
    rig.runtime.start()
    assert task_id in rig.events.until(on.ContainersListed).running
    rig.runtime.perform(do.RemoveContainer(task_id))
    until(lambda: not there(rig), 20, "both are gone")


def test_where_one_cannot_start_the_others_are_not_left(rig: Rig) -> None:
    task_id = begin(rig, a_container(rig, "one", SLEEP), a_container(rig, "two", "", args=("/no/such/command",)))
    assert "/no/such/command" in rig.events.until(on.StartFailed, task_id=task_id).message
    rig.runtime.perform(do.RemoveContainer(task_id))
    until(lambda: not there(rig), 20, "nothing is left")


def test_a_first_container_that_ends_at_once_is_what_went_wrong(rig: Rig) -> None:
    """Docker refuses to start others on its network then, which would hide the cause."""
    for attempt in range(5):
        one = a_container(rig, f"one{attempt}", "", args=("/bin/false",))
        others = [a_container(rig, f"two{attempt}{number}", SLEEP) for number in range(3)]
        payload = replace(a_pod(rig, one, *others, network="bridge"), task_id=f"t{attempt}.instance-{rig.mark}._app.1")
        rig.runtime.perform(start_action(payload, rig.host))
        rig.events.until(on.ContainerStarted, task_id=payload.task_id)


def test_each_container_has_its_own_limits_user_and_entrypoint(rig: Rig) -> None:
    task_id = started(
        rig,
        a_container(rig, "one", SLEEP, resources=Resources(cpus_m=500, mem_mib=64), user="1234"),
        a_container(rig, "two", "", args=("-c", "echo argument $0; " + SLEEP), parameters=(("entrypoint", "/bin/sh"),)),
    )
    template = "{{.HostConfig.CpuShares}} {{.HostConfig.Memory}} {{.Config.User}}"
    assert docker("inspect", "-f", template, names.container_name(task_id, "one")) == f"512 {64 << 20} 1234"
    assert docker("inspect", "-f", template, names.container_name(task_id, "two")).split() == ["102", str(32 << 20)]
    assert lines(rig, task_id, "two") == ["argument /bin/sh"]


def test_files_and_secrets_go_to_the_containers_that_ask_for_them(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("brought\n")
    rig.secrets = {"db": b"confidential"}
    show = 'cat "$MESOS_SANDBOX/a" /etc/db 2>/dev/null; echo "[$PASSWORD]"; ' + SLEEP
    task_id = started(
        rig,
        a_container(rig, "one", show, fetch=(Fetch(str(tmp_path / "a"), "a"),)),
        a_container(rig, "two", show, secret_env={"PASSWORD": "db"}, secret_files=(SecretFile("/etc/db", "db"),)),
    )
    assert lines(rig, task_id, "one", 2) == ["brought", "[]"]
    assert lines(rig, task_id, "two") == ["confidential[confidential]"]


def test_a_missing_secret_fails_the_whole_pod(rig: Rig) -> None:
    task_id = begin(rig, a_container(rig, "one", SLEEP), a_container(rig, "two", SLEEP, secret_env={"A": "nay"}))
    assert "secret nay" in rig.events.until(on.StartFailed, task_id=task_id).message


def test_a_command_runs_in_the_container_that_its_check_names(rig: Rig) -> None:
    task_id = started(rig, a_container(rig, "one", "touch /tmp/one; " + SLEEP), a_container(rig, "two", SLEEP))

    def result(container: str) -> int | None:
        command_id = rig.runtime.command_start(task_id, "test -e /tmp/one", container)
        found = until(lambda: [code] if (code := rig.runtime.command_result(command_id)) is not None else [], 20, "it ended")
        return int(found[0])

    until(lambda: result("one") == 0, 20, "the file is there")
    assert result("two") == 1


def test_logs_are_those_of_the_container_that_is_named(rig: Rig) -> None:
    task_id = started(rig, a_container(rig, "one", "echo first; " + SLEEP), a_container(rig, "two", "echo second; " + SLEEP))
    assert lines(rig, task_id, "one") == ["first"]
    assert lines(rig, task_id, "two") == ["second"]
    with pytest.raises(NoLog):
        rig.read_log(task_id, container="three")


def test_images_are_pulled_one_after_the_other_with_logins_from_secrets(rig: Rig) -> None:
    with contextlib.ExitStack() as stack:
        private = [stack.enter_context(registry("joe", f"word{number}")) for number in range(3)]
        rig.secrets = {f"login{number}": each.login().encode() for number, each in enumerate(private)}
        task_id = begin(
            rig,
            *(
                a_container(rig, f"c{number}", "", image=each.image, pull_secret=f"login{number}", force_pull=number == 1)
                for number, each in enumerate(private)
            ),
        )
        # The images hold nothing that could run: what matters is that Docker has all of them.
        assert "/bin/sh" in rig.events.until(on.StartFailed, task_id=task_id).message
        pulled = [event.what for event in rig.events.seen if isinstance(event, on.Preparing)]
        assert pulled == [f"pulling image {private[index].image}" for index in (1, 0, 2)]


def test_without_the_secret_of_its_logins_an_image_is_not_pulled(rig: Rig) -> None:
    with registry("joe", "word") as private:
        task_id = begin(rig, a_container(rig, "one", "", image=private.image, pull_secret="nay"))
        assert "secret nay" in rig.events.until(on.StartFailed, task_id=task_id).message
        assert private.authorizations == []


def test_the_port_of_one_container_is_reached_by_another_on_localhost(rig: Rig) -> None:
    """What a sidecar lives by."""
    listen = f"perl -MIO::Socket -e '$s=IO::Socket::INET->new(LocalPort=>{PORT},Listen=>1)or die;print {{$s->accept}} qq(hi\\n)'"
    ask = f"until bash -c 'exec 3<>/dev/tcp/127.0.0.1/{PORT}; cat <&3' 2>/dev/null; do sleep 0.1; done; {SLEEP}"
    task_id = started(rig, a_container(rig, "one", f"{listen}; {SLEEP}"), a_container(rig, "two", ask), network="bridge")
    assert lines(rig, task_id, "two") == ["hi"]
