"""A core whose records a later one can start from."""

from __future__ import annotations

import itertools
from typing import Any

from eratos.scheduler.core import actions
from eratos.scheduler.core.state import Outcome

from .builders import a_machine, an_offer
from .core import Core
from .records import as_stored


class Kept(Core):
    """A core whose records a later one can start from."""

    def __init__(self) -> None:
        super().__init__(a_machine())
        self.store: dict[str, Any] = {}
        self._ids = itertools.count(1)
        self.subscribe()

    def handle(self, event: Any) -> list[actions.Action]:
        out = super().handle(event)
        for write in self.decision.writes:
            if isinstance(write, actions.Put):
                self.store[write.key] = write.record
            else:
                self.store.pop(write.key, None)
        return out

    def fail_over(self) -> None:
        """Go on with another core, from what is stored."""
        self.machine = a_machine(as_stored(self.store), self.now)
        self.machine.step.new_id = lambda: f"again-{next(self._ids)}"
        self.subscribe()

    @property
    def state(self) -> Any:
        return self.machine.state

    def keys(self, kind: str) -> list[str]:
        return sorted(key.removeprefix(kind) for key in self.store if key.startswith(kind))

    def rest(self) -> None:
        """Let all that is to start run, and all that is to stop end, until nothing happens any more."""
        for _ in range(50):
            self.launch(an_offer("a1"), an_offer("a2"))
            busy = [i for i in self.state.instances.values() if i.launching or i.stopping]
            if not busy:
                return
            for instance in busy:
                state = "KILLED" if instance.stopping else "RUNNING"
                self.status(instance.task_id, state, agent=instance.agent_id, healthy=True)

    def running(self) -> dict[str, list[str]]:
        """Return the versions of the instances of each app that run."""
        found: dict[str, list[str]] = {}
        for instance in self.state.with_task():
            if not instance.stopping:
                found.setdefault(instance.app_id, []).append(instance.version)
        return {app_id: sorted(versions) for app_id, versions in found.items()}

    def outcomes(self) -> list[tuple[str, Outcome]]:
        return [(found.record.deployment_id, found.outcome) for found in self.state.ended]
