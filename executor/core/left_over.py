"""What a dead executor left running, drained before it is removed. Pure.

Its requests are real ones, and its app's other instances may be as many as can carry them. Of the tasks nothing is known but
ids and how many services they had: there is no task any more that anybody would have to be told about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from eratos.common import names

from . import actions as do
from . import events as on

#: Longest that balancers are waited for. A new task that was given the same port waits a little longer (``ports.WAIT_S``).
DRAINED_S: Final = 2.0


@dataclass(slots=True)
class _LeftOver:
    service_ids: tuple[str, ...]
    deadline: float
    deregistered: bool = False


class LeftOvers:
    """Running containers without a task, each on its way out. Methods return the actions to perform."""

    def __init__(self) -> None:
        self._leaving: dict[str, _LeftOver] = {}

    def found(self, task_id: str, services: int, now: float) -> list[do.Action]:
        """Take in that one was seen, which had so many services in Consul."""
        if task_id in self._leaving:
            return []
        ids = tuple(names.service_id(task_id, index) for index in range(services))
        self._leaving[task_id] = _LeftOver(ids, now + DRAINED_S)
        return [do.TellBalancers(task_id, ids)]

    def progress(self, event: on.BalancersTold | on.Deregistered | on.DrainDone, now: float) -> list[do.Action]:
        """Take in an answer; one about a task that is not, or no longer, among these changes nothing."""
        found = self._leaving.get(event.task_id)
        match event:
            case on.BalancersTold(task_id) if found and not found.deregistered:
                found.deregistered = True
                return [do.Deregister(task_id)]
            case on.Deregistered(task_id) if found and found.deregistered:
                return [do.AskBalancers(task_id, found.service_ids, max(0.0, found.deadline - now))]
            case on.DrainDone(task_id) if found:
                del self._leaving[task_id]
                return [do.RemoveContainer(task_id)]
        return []

    def expire(self, now: float) -> list[do.Action]:
        """Go on without balancers that have not let go in time."""
        return self._give_up([task_id for task_id, found in self._leaving.items() if now >= found.deadline])

    def drop_all(self) -> list[do.Action]:
        """Remove all at once: the executor leaves."""
        return self._give_up(list(self._leaving))

    def next_at(self) -> float | None:
        return min((found.deadline for found in self._leaving.values()), default=None)

    def _give_up(self, task_ids: list[str]) -> list[do.Action]:
        out: list[do.Action] = []
        for task_id in task_ids:
            found = self._leaving.pop(task_id)
            out.append(do.AbandonDrain(task_id))
            if not found.deregistered:
                out.append(do.Deregister(task_id))
            out.append(do.RemoveContainer(task_id))
        return out
