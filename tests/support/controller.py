"""A Controller for tests of the API: the real core behind it, and neither loop, store nor Mesos."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from eratos.scheduler.api.controller import CommandRefused, Unavailable
from eratos.scheduler.core.actions import Action, Refuse, Reply
from eratos.scheduler.core.events import Command, Event, OffersReceived, StatusChanged, Subscribed
from eratos.scheduler.core.mesos import Offer
from eratos.scheduler.core.state import State

from .builders import a_machine, a_status

T = TypeVar("T")


class FakeController:
    """Handles each command at once, on the caller's thread. ``down`` makes it refuse everything with that reason."""

    def __init__(self, *, is_leader: bool = True, leader: str | None = "http://leader.test:8080") -> None:
        self.machine = a_machine()
        self.is_leader = is_leader
        self.down = ""
        self.now = 1000.0
        self.commands: list[Command] = []
        self.unbalanced: dict[str, list[str]] = {}
        self._leader = leader
        self._tokens = itertools.count(1)

    def leader(self) -> str | None:
        return self._leader

    def info(self) -> dict[str, Any]:
        return {"name": "eratos", "version": "0.1.0", "marathon_config": {"mesos_role": "*"}}

    def left_out(self) -> Mapping[str, Sequence[str]]:
        return self.unbalanced

    def submit(self, make_command: Callable[[int], Command]) -> Reply:
        self._check()
        command = make_command(next(self._tokens))
        self.commands.append(command)
        for action in self.machine.handle(command, self.now):
            if isinstance(action, Refuse):
                raise CommandRefused(action.status, action.message)
            if isinstance(action, Reply):
                assert action.token == command.token
                return action
        raise AssertionError(f"the core gave no answer to {command}")

    def read(self, fn: Callable[[State], T]) -> T:
        self._check()
        return fn(self.machine.state)

    def handle(self, event: Event) -> list[Action]:
        return self.machine.handle(event, self.now)

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
