"""What every runtime does: Docker's, the one for processes, and the tests' fake, where it plays the part."""

from __future__ import annotations

import asyncio
import socket
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.runtimes import Rig, running
from support.waiting import until

from eratos.common.errors import TemporaryError
from eratos.common.payload import Fetch
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.start import start_action
from eratos.executor.logs import LogRequest, NoLog


@pytest.fixture(params=["fake", "docker", "process"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with running(request.param, tmp_path) as rig:
        yield rig


@pytest.fixture(params=["docker", "process"])
def real(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """A runtime that really runs something."""
    with running(request.param, tmp_path) as rig:
        yield rig


def test_a_death_is_reported_with_its_exit_code(rig: Rig) -> None:
    task_id = rig.start("exit 3")
    assert rig.events.until(on.ContainerDied, task_id=task_id).exit_code == 3


def test_examining_tells_exit_code_and_last_output(rig: Rig) -> None:
    task_id = rig.start("echo out of luck; exit 3")
    found = rig.examined(task_id)
    assert (found.exit_code, found.out_of_memory, found.log_tail.strip()) == (3, False, "out of luck")


def test_examining_a_container_that_is_gone_is_answered(rig: Rig) -> None:
    rig.runtime.perform(do.ExamineContainer("nobody"))
    assert rig.events.until(on.ContainerExamined, task_id="nobody").exit_code is None


def test_stop_lets_the_process_end(rig: Rig) -> None:
    task_id = rig.started("exec sleep 1000" if rig.kind == "fake" else "trap 'exit 143' TERM; while :; do sleep 0.05; done")
    rig.stopped(task_id, 143)


def test_kill_ends_what_ignores_the_stop(rig: Rig) -> None:
    task_id = rig.started("trap '' TERM; echo deaf; sleep 1000")
    if rig.kind != "fake":
        until(lambda: rig.read_log(task_id), 20, "the task ignores signals")
    rig.runtime.perform(do.StopContainer(task_id))
    rig.runtime.perform(do.KillContainer(task_id))
    assert rig.events.until(on.ContainerDied, task_id=task_id).exit_code == 137


@pytest.mark.parametrize("action", [do.StopContainer, do.KillContainer])
def test_signalling_what_is_gone_reports_its_death(rig: Rig, action: Callable[[str], do.Action]) -> None:
    rig.runtime.perform(action("nobody"))
    rig.events.until(on.ContainerDied, task_id="nobody")


def test_a_command_that_is_not_there_fails(rig: Rig) -> None:
    task_id = rig.start("", args=("/no/such/command",))
    assert "/no/such/command" in rig.events.until(on.StartFailed, task_id=task_id).message


def test_a_taken_port_fails_with_its_number(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if rig.kind == "fake":
            rig.runtime.taken_ports.add(port)
        payload = rig.payload("exec sleep 1000", ports=0)
        rig.runtime.perform(replace(start_action(payload, rig.host), host_ports=(port,)))
        assert f"port {port}" in rig.events.until(on.StartFailed, task_id=payload.task_id).message


def test_a_port_that_is_being_freed_is_waited_for(real: Rig) -> None:
    real.runtime._port_wait_s = 30
    payload = real.payload("exec sleep 1000", ports=0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        real.runtime.perform(replace(start_action(payload, real.host), host_ports=(port,)))
        real.started("exec sleep 1000", task="other")  # meanwhile others start
        waited = on.Preparing(payload.task_id, f"waiting for port {port} of this host, which something else still has")
        assert [event for event in real.events.seen if getattr(event, "task_id", "") == payload.task_id] == [waited]
    real.events.until(on.ContainerStarted, task_id=payload.task_id)


def test_a_listing_tells_running_from_ended(rig: Rig) -> None:
    running = rig.started("exec sleep 1000", task="a")
    ended = rig.start("exit 0", task="b")
    rig.events.until(on.ContainerDied, task_id=ended)
    # An ended process leaves nothing in the table of processes; its folder goes with the executor's sandbox.
    expected = (frozenset({running}), frozenset() if rig.kind == "process" else frozenset({ended}))

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


def test_a_command_that_is_given_up_ends_with_all_that_it_has_started(real: Rig) -> None:
    task_id = real.started("exec sleep 1000")
    number = f"1{int(real.mark[:6], 16):08d}"  # of seconds, by which the processes are the test's own
    script = (
        "own=; command -v setsid >/dev/null && own=setsid; "
        f"sleep {number}1 & (sleep {number}2 &); $own sleep {number}3 & env -i sleep {number}4 & sleep {number}5; :"
    )
    command_id = real.runtime.command_start(task_id, script)
    until(lambda: len(real.processes(task_id, f"sleep {number}")) == 5, 20, "all of them run")
    until(lambda: real.runtime.command_stop(command_id), 20, "the command has ended")
    assert real.processes(task_id, f"sleep {number}") == []
    assert len(real.processes(task_id, "sleep 1000")) >= 1
    second = real.runtime.command_start(task_id, "exit 0")
    until(lambda: real.runtime.command_result(second) == 0, 20, "the task goes on")


def test_what_a_task_takes_is_read_as_long_as_it_runs(rig: Rig) -> None:
    # 5 MB in a variable: what the shell itself holds is far less.
    script = "x=$(head -c 5000000 /dev/zero | tr '\\0' x); echo up; while :; do :; done"
    task_id = rig.started("exec sleep 1000" if rig.kind == "fake" else script, task="busy")
    idle = rig.started("exec sleep 1000", task="idle")
    if rig.kind != "fake":
        until(lambda: rig.read_log(task_id), 60, "the task holds its memory")
    first = rig.runtime.readings([task_id, idle, "nobody"])
    assert set(first) == {task_id, idle}
    if rig.kind != "fake":
        assert first[task_id].mem_bytes > 5_000_000 > first[idle].mem_bytes > 0

    def took_s(task: str) -> float:
        return rig.runtime.readings([task])[task].cpu_s - first[task].cpu_s

    until(lambda: took_s(task_id) > 0.3, 60, "its CPU time grows")
    if rig.kind != "fake":
        assert took_s(idle) < 0.3 < took_s(task_id)
    rig.runtime.perform(do.KillContainer(task_id))
    rig.events.until(on.ContainerDied, task_id=task_id)
    until(lambda: rig.runtime.readings([task_id]) == {}, 20, "nothing is said of what has ended")


def test_commands_of_a_task_that_has_ended_have_ended(real: Rig) -> None:
    task_id = real.started("exec sleep 1000")
    command_id = real.runtime.command_start(task_id, "sleep 1111")
    real.runtime.perform(do.KillContainer(task_id))
    real.events.until(on.ContainerDied, task_id=task_id)
    until(lambda: real.runtime.command_stop(command_id), 20, "the command has ended")
    real.runtime.perform(do.RemoveContainer(task_id))
    until(lambda: real.runtime.command_stop(command_id), 20, "it still has")


# Files --------------------------------------------------------------------------------------------------------------------


def test_fetched_files_are_there_before_the_task_starts(real: Rig, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\necho hello\n")
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        tar.add(tmp_path / "script", "in/script")
    files = (Fetch(str(tmp_path / "script"), "run", executable=True), Fetch((tmp_path / "a.tgz").as_uri(), "a.tgz"))
    task_id = real.start('"$MESOS_SANDBOX/run"; cat "$MESOS_SANDBOX/in/script"; touch "$MESOS_SANDBOX/mine"', fetch=files)
    assert "a.tgz" in real.events.until(on.Preparing, task_id=task_id).what
    assert real.examined(task_id).exit_code == 0
    assert real.read_log(task_id) == b"hello\n#!/bin/sh\necho hello\n"


def test_files_that_cannot_be_had_fail_the_start_and_name_the_uri(real: Rig, tmp_path: Path) -> None:
    task_id = real.start("exit 0", fetch=(Fetch(str(tmp_path / "nosuch"), "a"),))
    assert str(tmp_path / "nosuch") in real.events.until(on.StartFailed, task_id=task_id).message


def test_a_cancelled_start_does_not_wait_for_its_files(real: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes connections and never answers
        uri = f"http://127.0.0.1:{server.getsockname()[1]}/a"
        task_id = real.start("exit 0", fetch=(Fetch(uri, "a"),))
        real.events.until(on.Preparing, task_id=task_id)
        real.started("exec sleep 1000", task="other")
        real.runtime.perform(do.CancelStart(task_id))
        assert "cancelled" in real.events.until(on.StartFailed, task_id=task_id).message


# Logs -------------------------------------------------------------------------------------------------------------------


def test_the_two_outputs_are_read_apart_after_the_end_too(real: Rig) -> None:
    task_id = real.start("echo one; echo two; echo oh >&2; exit 3")
    real.events.until(on.ContainerDied, task_id=task_id)
    assert real.read_log(task_id) == b"one\ntwo\n"
    assert real.read_log(task_id, tail=1) == b"two\n"
    assert real.read_log(task_id, stream="stderr") == b"oh\n"


def test_the_last_lines_of_one_output_are_counted_apart_from_the_others(real: Rig) -> None:
    script = "echo one; echo two; i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo $i >&2; done; echo three; exit 3"
    task_id = real.start(script)
    real.events.until(on.ContainerDied, task_id=task_id)
    assert real.read_log(task_id, tail=2) == b"two\nthree\n"
    assert real.read_log(task_id, tail=5) == b"one\ntwo\nthree\n"
    assert real.read_log(task_id, tail=0) == b""
    assert real.read_log(task_id, stream="stderr", tail=2) == b"299\n300\n"


def test_a_log_is_gone_on_with_from_the_position_of_any_line(real: Rig) -> None:
    script = "for n in 1 2 3 4 5; do echo tick; echo oh >&2; done; printf '%040000d\\n' 7; echo last; exit 3"
    task_id = real.start(script)
    real.events.until(on.ContainerDied, task_id=task_id)
    whole = real.read_log(task_id, positions=True).splitlines()
    assert [line.partition(b" ")[2] for line in whole] == [b"tick"] * 5 + [b"%040000d" % 7, b"last"]
    assert len({line.partition(b" ")[0] for line in whole}) == 7
    for index, line in enumerate(whole):
        position = line.partition(b" ")[0].decode()
        assert real.read_log(task_id, begin=position, positions=True).splitlines() == whole[index:]
        assert real.read_log(task_id, begin=position, positions=True, follow=True).splitlines() == whole[index:]
    assert real.read_log(task_id, positions=True, tail=1).splitlines() == whole[-1:]


def test_a_silent_log_is_followed_before_its_first_line(real: Rig) -> None:
    task_id = real.started("trap 'echo bye; exit 0' TERM; echo ready >&2; while :; do sleep 0.05; done")
    until(lambda: real.read_log(task_id, stream="stderr"), 20, "the task listens to signals")

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

    until(lambda: real.read_log(task_id), 20, "the task listens to signals")
    assert b"".join(asyncio.run(follow())) == b"one\ntwo\n"


def test_a_log_larger_than_any_buffer_is_read_whole(real: Rig) -> None:
    task_id = real.start("i=0; while [ $i -lt 3000 ]; do i=$((i+1)); printf '%0200d\\n' $i; done")
    real.events.until(on.ContainerDied, task_id=task_id)
    lines = real.read_log(task_id, tail=10_000).splitlines()
    assert [int(line) for line in lines] == list(range(1, 3001))


def test_the_log_of_nobodys_task_is_not_there(real: Rig) -> None:
    with pytest.raises(NoLog):
        real.read_log("nobody")


# What another executor left -------------------------------------------------------------------------------------------------


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


def test_what_a_dead_executor_beside_this_one_left_is_seen(real: Rig) -> None:
    task_id = real.started("exec sleep 1000")
    real.host = replace(real.host, executor_id="upgraded")
    real.others_live = False
    assert real.listing().running == {task_id}


def test_containers_of_an_earlier_agent_id_are_seen(real: Rig) -> None:
    task_id = real.started("exec sleep 1000")
    real.host = replace(real.host, executor_id="upgraded", agent_id="agent2")
    assert real.listing().running == {task_id}


# News for running tasks ---------------------------------------------------------------------------------------------------

_READING = 'while sleep 0.05; do cat "$MESOS_SANDBOX/requires/db" 2>/dev/null; done'


def test_files_of_the_executor_are_there_before_the_task_starts(real: Rig) -> None:
    payload = real.payload('cat "$MESOS_SANDBOX/requires/db"; exec sleep 1000', ports=0)
    real.runtime.perform(replace(start_action(payload, real.host), files={"requires/db": "h:1\n"}))
    real.events.until(on.ContainerStarted, task_id=payload.task_id)
    until(lambda: real.read_log(payload.task_id) == b"h:1\n", 20, "the task reads the file")


def test_a_file_is_replaced_whole_while_the_task_runs(real: Rig) -> None:
    task_id = real.started(_READING)
    for text in ("one\n", "two\n"):
        real.runtime.put_file(task_id, "requires/db", text)
        until(lambda text=text: text.encode() in real.read_log(task_id), 20, "the task reads it")
    assert set(real.read_log(task_id).split()) == {b"one", b"two"}


def test_a_file_is_replaced_where_docker_does_not_see_the_sandbox(tmp_path: Path) -> None:
    with running("docker", tmp_path) as rig:
        rig.runtime._files._shared = False
        payload = rig.payload(_READING, ports=0)
        rig.runtime.perform(replace(start_action(payload, rig.host), files={"requires/db": "one\n"}))
        rig.events.until(on.ContainerStarted, task_id=payload.task_id)
        until(lambda: b"one\n" in rig.read_log(payload.task_id), 20, "the task reads it")
        rig.runtime.put_file(payload.task_id, "requires/db", "two\n")
        until(lambda: b"two\n" in rig.read_log(payload.task_id), 20, "the task reads the new one")


def test_a_sandbox_that_leads_elsewhere_is_not_followed(real: Rig, tmp_path: Path) -> None:
    task_id = real.started('ln -s /tmp "$MESOS_SANDBOX/requires"; echo laid; exec sleep 1000')
    until(lambda: b"laid" in real.read_log(task_id), 20, "the task has laid its link")
    with pytest.raises(TemporaryError, match="cannot be written"):
        real.runtime.put_file(task_id, "requires/db", "one\n")


def test_a_signal_reaches_the_task(real: Rig) -> None:
    task_id = real.started("trap 'echo told; exit 5' HUP; echo ready; while :; do sleep 0.05; done")
    until(lambda: b"ready" in real.read_log(task_id), 20, "the task listens")
    real.runtime.signal(task_id, "SIGHUP")
    assert real.events.until(on.ContainerDied, task_id=task_id).exit_code == 5
    assert b"told" in real.read_log(task_id)


def test_a_command_gets_variables_beside_the_tasks_own(real: Rig) -> None:
    task_id = real.started("exec sleep 1000")
    script = '[ "$REQUIRE_DB" = "h:1;h:2" ] && [ -n "$MESOS_SANDBOX" ] && exit 7'
    command_id = real.runtime.command_start(task_id, script, env={"REQUIRE_DB": "h:1;h:2"})
    assert until(lambda: real.runtime.command_result(command_id), 20, "the command ended") == 7


def test_who_is_gone_cannot_be_told(rig: Rig) -> None:
    for tell in (
        lambda: rig.runtime.put_file("nobody", "requires/db", ""),
        lambda: rig.runtime.signal("nobody", "SIGHUP"),
        lambda: rig.runtime.command_start("nobody", "exit 0"),
    ):
        with pytest.raises(TemporaryError):
            tell()
