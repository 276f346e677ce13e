"""Drives the executor's state machine, one event at a time, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from eratos.common.payload import HealthCheck
from eratos.executor.core import actions as do
from eratos.executor.core import events as on
from eratos.executor.core.lifecycle import Machine
from eratos.executor.core.updates import StatusUpdate

from .executor import HOST, PORT, TASK, a_payload

T = TypeVar("T")
CHECK = HealthCheck("http", "/health", PORT, grace_s=10, interval_s=5, timeout_s=2, max_failures=3)


class Driven:
    """A machine with a clock, taken through a task's life one event at a time."""

    def __init__(self, shutdown_grace_s: float = 5.0) -> None:
        self.machine = Machine(HOST, shutdown_grace_s, lambda: 0.5)
        self.now = 100.0

    def handle(self, event: on.Event) -> list[do.Action]:
        return self.machine.handle(event, self.now)

    def after(self, seconds: float, event: on.Event | None = None) -> list[do.Action]:
        self.now += seconds
        return self.handle(event or on.Tick())

    def launch(self, **changes: Any) -> list[do.Action]:
        return self.handle(on.LaunchTask(TASK, a_payload(TASK, **changes).to_bytes()))

    def run(self, **changes: Any) -> list[do.Action]:
        self.launch(**changes)
        return self.handle(on.ContainerStarted(TASK))

    def probe(self, passed: bool = True, detail: str = "HTTP status 500", index: int = 0) -> list[do.Action]:
        return self.handle(on.ProbeDone(TASK, index, passed, "fine" if passed else detail))

    def ready(self, **changes: Any) -> list[do.Action]:
        self.run(**changes)
        return self.probe()

    def kill(self, grace_s: float | None = None) -> list[do.Action]:
        return self.handle(on.KillTask(TASK, grace_s))

    def drain(self) -> list[do.Action]:
        """From the kill of a registered task to the balancers' question."""
        self.kill()
        self.handle(on.BalancersTold(TASK))
        return self.handle(on.Deregistered(TASK))


def of(kind: type[T], out: Iterable[Any]) -> list[T]:
    return [action for action in out if isinstance(action, kind)]


def states(out: Iterable[do.Action]) -> list[str]:
    return [action.update.state for action in of(do.SendUpdate, out)]


def update(out: Iterable[do.Action]) -> StatusUpdate:
    (sent,) = of(do.SendUpdate, out)
    return sent.update
