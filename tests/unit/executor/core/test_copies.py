"""Tasks that copy volumes, as the executor's core sees them: they run nothing, and end once the copy has."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.executor import HOST, TASK, a_payload

from eratos.common import names
from eratos.common.payload import TaskPayload, VolumeCopy
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.lifecycle import Machine

COPY = VolumeCopy("eratos-shop-1", "agent2", "a2", "eratos-shop-2", "data", "key of it")
PAYLOAD = a_payload(image="", args=(), copies=(COPY,), ports=0)
LABELS = {
    **{names.LABEL_FRAMEWORK: "fw1", names.LABEL_APP: "/shop"},
    **{names.LABEL_VOLUME: "eratos-shop-2", names.LABEL_PATH: "data"},
}


def launched() -> Machine:
    machine = Machine(HOST, 5.0, lambda: 0.5)
    out = machine.handle(on.LaunchTask(TASK, PAYLOAD.to_bytes()), 0.0)
    volume = do.HostVolume("eratos-shop-2", "eratos-shop-2", LABELS, new=True)
    assert out[1:] == [do.CopyVolumes(TASK, (do.HostCopy("eratos-shop-1", "agent2", "/shop", "data", volume, "key of it"),))]
    assert states(out) == ["TASK_RUNNING"]
    return machine


def states(out: list[do.Action]) -> list[str]:
    return [action.update.state for action in out if isinstance(action, do.SendUpdate)]


def test_the_instruction_reads_as_it_was_written_and_other_tasks_do_not_have_it():
    assert TaskPayload.from_bytes(PAYLOAD.to_bytes()) == PAYLOAD
    assert b"copies" not in a_payload().to_bytes()


def test_how_far_it_is_is_reported_and_it_ends_well_once_the_volumes_are_there():
    machine = launched()
    (update,) = machine.handle(on.CopyProgress(TASK, "10 bytes of data were copied from agent2"), 1.0)
    assert isinstance(update, do.SendUpdate)
    assert (update.update.state, update.update.message) == ("TASK_RUNNING", "10 bytes of data were copied from agent2")
    assert states(machine.handle(on.CopyDone(TASK), 2.0)) == ["TASK_FINISHED"]
    assert machine.handle(on.CopyProgress(TASK, "late"), 3.0) == [] == machine.handle(on.CopyDone(TASK), 3.0)
    assert states(machine.handle(on.LaunchTask(TASK, PAYLOAD.to_bytes()), 4.0)) == ["TASK_FINISHED"], "answered, not repeated"


def test_a_copy_that_fails_says_why():
    machine = launched()
    (update,) = machine.handle(on.CopyDone(TASK, "no space left on device"), 1.0)
    assert isinstance(update, do.SendUpdate)
    assert (update.update.state, update.update.message) == ("TASK_FAILED", "no space left on device")


def test_a_kill_breaks_it_off_and_it_counts_as_ended_only_once_it_has():
    machine = launched()
    assert machine.handle(on.LaunchTask(TASK, PAYLOAD.to_bytes()), 0.5) == []
    assert machine.handle(on.KillTask(TASK), 1.0) == [do.CancelCopy(TASK)]
    assert states(machine.handle(on.CopyDone(TASK, "nobody wants the copy any more"), 2.0)) == ["TASK_KILLED"]


def test_an_executor_that_leaves_breaks_it_off():
    out = launched().handle(on.Shutdown("told to"), 1.0)
    assert do.CancelCopy(TASK) in out and states(out) == ["TASK_KILLED"] and isinstance(out[-1], do.Exit)


@pytest.mark.parametrize("runtimes", [("process",)])
def test_a_host_without_docker_refuses_it(runtimes: tuple[str, ...]):
    machine = Machine(replace(HOST, runtimes=runtimes), 5.0, lambda: 0.5)
    (update,) = machine.handle(on.LaunchTask(TASK, PAYLOAD.to_bytes()), 0.0)
    assert isinstance(update, do.SendUpdate)
    assert update.update.state == "TASK_ERROR" and "switched off on this host (--runtimes)" in update.update.message
