"""A Controller for tests of the API: the real core behind it, and neither loop, store nor Mesos."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from eratos.common.exposition import Family
from eratos.scheduler.api.controller import Balancer
from eratos.scheduler.core.actions import Refuse, Reply, Write
from eratos.scheduler.core.events import (
    Command,
    CommandReceived,
    Event,
    LookAround,
    OffersReceived,
    PutApps,
    StatusChanged,
    Subscribed,
)
from eratos.scheduler.core.mesos_types import Offer
from eratos.scheduler.core.refusals import CommandRefused, Unavailable
from eratos.scheduler.core.state import State
from eratos.scheduler.core.step import Decision
from eratos.scheduler.events.ring import Ring
from eratos.scheduler.events.watch import Watch
from eratos.scheduler.loop_figures import LoopFigures

from .builders import a_machine, a_status, an_offer

T = TypeVar("T")


class FakeController:
    """Handles each command at once, on the caller's thread. ``down`` makes it refuse everything with that reason.

    Nothing ever comes to rest here by itself, so changes are made with force unless the test is about ``locks``.
    """

    def __init__(self, *, is_leader: bool = True, leader: str | None = "http://leader.test:8080", locks: bool = False) -> None:
        self.machine = a_machine()
        self.is_leader = is_leader
        self.locks = locks
        self.down = ""
        self.now = 1000.0
        self.commands: list[Command] = []
        self.abdicated = False
        self.events = Ring(mark="test")
        self._watch = Watch()
        self.registered: list[Balancer] = []
        self.unbalanced: dict[str, list[str]] = {}
        self.deaf = ""
        self.counted = LoopFigures()
        self._leader = leader
        self._tokens = itertools.count(1)

    def leader(self) -> str | None:
        return self._leader

    def info(self) -> dict[str, Any]:
        return {"name": "eratos", "version": "0.1.0"}

    def settings(self) -> dict[str, Any]:
        return {"eratos": {"http_port": 8080}}

    def abdicate(self) -> None:
        self.abdicated = True

    def left_out(self) -> Mapping[str, Sequence[str]]:
        return self.unbalanced

    def balancers(self) -> Sequence[Balancer]:
        return self.registered

    def consul_trouble(self) -> str:
        return self.deaf

    def loop_families(self) -> Sequence[Family]:
        return self.counted.families(queued=3)

    def look_around(self) -> None:
        self.handle(LookAround())

    def submit(self, command: Command) -> Reply:
        self._check()
        self.commands.append(command)
        if not self.locks and hasattr(command, "force"):
            command = replace(command, force=True)  # type: ignore[arg-type]
        received = CommandReceived(next(self._tokens), command)
        (answer,) = self.handle(received).answers
        assert answer.token == received.token
        if isinstance(answer, Refuse):
            raise CommandRefused(answer.refusal, answer.message, answer.deployments, answer.quota)
        return answer

    def handle_writes(self, command: Command) -> list[Write]:
        """Have a command carried out, and return what would be stored."""
        return self.handle(CommandReceived(next(self._tokens), command)).writes

    def read(self, fn: Callable[[State], T]) -> T:
        self._check()
        return fn(self.machine.state)

    def forget_deployments(self) -> None:
        """Have the core know of no deployment, as a leader of the version before after an election."""
        state = self.machine.state
        state.deployments.clear()
        state.changes.clear()
        state.held.clear()

    def handle(self, event: Event) -> Decision:
        self._watch.before(self.machine.state, [event])
        decision = self.machine.handle(event, self.now)
        self.events.publish(self._watch.after(self.machine.state, [event], decision, self.now))
        return decision

    def launch(self, *offers: Offer) -> list[str]:
        """Have the core place what waits on the offers, and return the ids of all tasks there are."""
        self.handle(Subscribed("framework-1", "master:5050"))
        self.handle(OffersReceived(offers))
        return sorted(i.task_id for i in self.machine.state.instances.values() if not i.waiting)

    def update(self, task_id: str, state: str, **fields: Any) -> None:
        self.handle(StatusChanged(a_status(task_id, state, **fields)))

    def _check(self) -> None:
        if self.down:
            raise Unavailable(self.down)


def running(controller: FakeController, *apps: Any) -> list[str]:
    """Have apps run, and return their tasks' ids."""
    controller.submit(PutApps(apps))
    tasks = controller.launch(an_offer())
    for task in tasks:
        controller.update(task, "RUNNING")
    return tasks
