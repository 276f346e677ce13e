"""Drives the scheduler's core, one event at a time, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from eratos.scheduler.core import actions, events
from eratos.scheduler.core.instances import Instance
from eratos.scheduler.core.machine import Machine
from eratos.scheduler.core.mesos_types import Offer
from eratos.scheduler.core.step import Decision

from .builders import a_machine, a_status, an_offer

T = TypeVar("T")


def of(kind: type[T], out: Iterable[Any]) -> list[T]:
    return [action for action in out if isinstance(action, kind)]


class Core:
    """A core with a clock of its own, a token source, and the invariants checked after each step."""

    def __init__(self, machine: Machine | None = None, now: float = 1000.0) -> None:
        self.machine, self.now, self.token = machine or a_machine(), now, 0
        self.decision = Decision()

    def handle(self, event: Any) -> list[actions.Action]:
        self.decision = self.machine.handle(event, self.now)
        self.machine.state.check()
        return list(self.decision)

    def command(self, command: events.Command) -> list[actions.Action]:
        self.token += 1
        return self.handle(events.CommandReceived(self.token, command))

    def subscribe(self) -> list[actions.Action]:
        return self.handle(events.Subscribed("fw1", "master:5050"))

    def put(self, *apps: Any, create_only: bool = False, force: bool = True) -> list[actions.Action]:
        return self.command(events.PutApps(apps, create_only, force=force))

    def scale(self, app_id: str, instances: int) -> list[actions.Action]:
        return self.put(self.machine.state.apps[app_id].with_instances(instances))

    def offer(self, *offers: Offer) -> list[actions.Action]:
        return self.handle(events.OffersReceived(offers))

    def status(self, task_id: str, state: str, **fields: Any) -> list[actions.Action]:
        return self.handle(events.StatusChanged(a_status(task_id, state, **fields)))

    def tick(self, seconds: float) -> list[actions.Action]:
        self.now += seconds
        return self.handle(events.Tick())

    def launch(self, *offers: Offer) -> list[str]:
        out = self.offer(*(offers or (an_offer(),)))
        return [launch.task_id for accept in of(actions.Accept, out) for launch in accept.launches]

    def run(self, *offers: Offer) -> list[str]:
        tasks = self.launch(*offers)
        for task_id in tasks:
            self.status(task_id, "RUNNING")
        return tasks

    def fail(self, task_id: str, state: str = "FAILED", **fields: Any) -> list[actions.Action]:
        """End a task where it runs."""
        return self.status(task_id, state, agent=self.instance(task_id).agent_id, **fields)

    def instance(self, task_id: str) -> Instance:
        return self.machine.state.instances[task_id.rpartition("._app.")[0]]

    def hosts(self) -> list[str]:
        """Return the agents of everything that has a task."""
        return sorted(instance.agent_id for instance in self.machine.state.with_task())
