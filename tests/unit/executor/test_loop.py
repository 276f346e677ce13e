"""The executor's loop over fakes of everything outside: the whole life of a task, in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support.executor import HOST, TASK, a_payload
from support.fake_docker import FakeRuntime
from support.waiting import until

from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.lifecycle import Machine
from eratos.executor.core.updates import StatusUpdate
from eratos.executor.figures import Figures
from eratos.executor.loop import Loop


class Answering:
    """Probes, Consul and balancers in one: all is well, at once."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.performed: list[Any] = []

    def perform(self, action: Any) -> None:
        self.performed.append(action)
        match action:
            case do.Probe(task_id, index):
                self.loop.emit(on.ProbeDone(task_id, index, passed=True))
            case do.Deregister(task_id):
                self.loop.emit(on.Deregistered(task_id))
            case do.TellBalancers(task_id):
                self.loop.emit(on.BalancersTold(task_id))
            case do.AskBalancers(task_id):
                self.loop.emit(on.DrainDone(task_id, released=True))


class Rig:
    def __init__(self) -> None:
        self.updates: list[StatusUpdate] = []
        self.loop = Loop(Machine(HOST, 5.0, lambda: 0.5), self.updates.append, Figures())
        self.runtime = FakeRuntime({"debian:trixie-slim"}, self.loop.emit)
        self.outside = Answering(self.loop)
        self.loop.connect(self.runtime, *[self.outside] * 5)
        self.reason: str | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self.reason = self.loop.run()

    def launch(self, script: str) -> None:
        self.loop.emit(on.LaunchTask(TASK, a_payload(args=("/bin/sh", "-c", script)).to_bytes()))

    def reached(self, state: str) -> None:
        until(lambda: self.updates and self.updates[-1].state == state, 10, f"the task is {state}")

    def states(self) -> list[str]:
        return [update.state for update in self.updates]


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.loop.emit(on.Shutdown("the test is over"))
    rig.thread.join(60)
    assert not rig.thread.is_alive()


def test_a_task_lives_and_is_stopped_after_its_drain(rig: Rig) -> None:
    rig.launch("sleep 1000")
    until(lambda: any(isinstance(action, do.Register) for action in rig.outside.performed), 10, "it is registered")
    rig.loop.emit(on.KillTask(TASK))
    rig.reached("TASK_KILLED")
    assert rig.states() == ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_KILLED"]
    kinds = [type(action) for action in rig.outside.performed]
    assert kinds == [do.Probe, do.Register, do.TellBalancers, do.Deregister, do.AskBalancers]
    until(lambda: not rig.runtime.containers, 10, "its container is removed")


def test_time_alone_brings_the_kill_of_a_process_that_ignores_the_stop(rig: Rig) -> None:
    rig.launch("trap '' TERM; sleep 1000")
    rig.reached("TASK_RUNNING")
    rig.loop.emit(on.KillTask(TASK, grace_s=0.05))
    rig.reached("TASK_KILLED")


def test_a_broken_event_does_not_take_the_loop_down(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.launch("sleep 1000")
    rig.reached("TASK_RUNNING")
    rig.loop.emit(on.ProbeDone(TASK, 99, passed=True))  # there is no such check
    until(lambda: "please report this as a bug" in caplog.text, 10, "the fault is logged")
    rig.loop.emit(on.KillTask(TASK))
    rig.reached("TASK_KILLED")


def test_a_shutdown_ends_the_loop_with_its_reason() -> None:
    rig = Rig()
    rig.launch("sleep 1000")
    rig.reached("TASK_RUNNING")
    rig.loop.emit(on.Shutdown("the agent asked for it"))
    rig.thread.join(60)
    assert rig.reason == "the agent asked for it"
    assert rig.states()[-1] == "TASK_KILLED"
