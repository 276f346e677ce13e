"""What a dead executor left running: it serves until others do, and is drained before it is removed. Pure.

Its requests are real ones, and its app's other instances may be as many as can carry them, or none: then the balancers keep it
until one of those that replace it is there. Of the tasks nothing is known but ids, how many services they had, and at which
ports Consul has these: there is no task any more that anybody would have to be told about.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Final

from eratos.common import names

from . import actions as do
from . import events as on

#: Longest that it serves while nobody else does. Mesos has given what it takes to others.
HELD_S: Final = 10.0
#: Longest that balancers are waited for afterwards. A start that needs the port waits for longer (``ports.WAIT_S``).
DRAINED_S: Final = 10.0


@dataclass(slots=True)
class _LeftOver:
    service_ids: tuple[str, ...]
    deadline: float
    ports: frozenset[int] = frozenset()  #: of its services
    datacenters: tuple[str, ...] = ()  #: whose balancers may serve it
    held: bool = True  #: until another one serves
    deregistered: bool = False


class LeftOvers:
    """Running containers without a task, each on its way out. Methods return the actions to perform."""

    def __init__(self) -> None:
        self._leaving: dict[str, _LeftOver] = {}

    @property
    def task_ids(self) -> frozenset[str]:
        return frozenset(self._leaving)

    def found(self, task_id: str, services: int, now: float) -> list[do.Action]:
        """Take in that one was seen, which had so many services in Consul."""
        if task_id in self._leaving:
            return []
        ids = tuple(names.service_id(task_id, index) for index in range(services))
        self._leaving[task_id] = _LeftOver(ids, now + HELD_S)
        return [do.TellBalancers(task_id, ids, HELD_S)]

    def found_at(self, ports: Mapping[str, frozenset[int]], datacenters: Mapping[str, tuple[str, ...]]) -> None:
        """Take in the ports of services in Consul, and the data centers whose balancers may serve them, by task id."""
        for task_id, found in self._leaving.items():
            found.ports = ports.get(task_id, found.ports)
            found.datacenters = datacenters.get(task_id, found.datacenters)

    def make_way(self, ports: Set[int]) -> list[do.Action]:
        """Hold nothing any longer at ports that starts wait for: what is to serve instead may be among them."""
        out: list[do.Action] = []
        for task_id, found in self._leaving.items():
            if found.held and found.ports & ports:
                found.held = False
                told = do.TellBalancers(task_id, found.service_ids, datacenters=found.datacenters)
                out += [do.AbandonDrain(task_id), told]
        return out

    def progress(self, event: on.BalancersTold | on.Deregistered | on.DrainDone, now: float) -> list[do.Action]:
        """Take in an answer; one about a task that is not, or no longer, among these changes nothing."""
        found = self._leaving.get(event.task_id)
        match event:
            case on.BalancersTold(task_id) if found and not found.deregistered:
                return self._let_go(task_id, now)
            case on.Deregistered(task_id) if found and found.deregistered:
                return [do.AskBalancers(task_id, found.service_ids, max(0.0, found.deadline - now), found.datacenters)]
            case on.DrainDone(task_id) if found:
                del self._leaving[task_id]
                return [do.RemoveContainer(task_id)]
        return []

    def expire(self, now: float) -> list[do.Action]:
        """Go on without others that serve, and without balancers that have not let go in time."""
        out: list[do.Action] = []
        for task_id in [task_id for task_id, found in self._leaving.items() if now >= found.deadline]:
            if self._leaving[task_id].deregistered:
                out += self._give_up(task_id)
            else:
                out += [do.AbandonDrain(task_id), *self._let_go(task_id, now)]
        return out

    def drop_all(self) -> list[do.Action]:
        """Remove all at once: the executor leaves."""
        return [action for task_id in list(self._leaving) for action in self._give_up(task_id)]

    def next_at(self) -> float | None:
        return min((found.deadline for found in self._leaving.values()), default=None)

    def _let_go(self, task_id: str, now: float) -> list[do.Action]:
        found = self._leaving[task_id]
        found.held, found.deregistered = False, True
        found.deadline = now + DRAINED_S
        return [do.Deregister(task_id)]

    def _give_up(self, task_id: str) -> list[do.Action]:
        found = self._leaving.pop(task_id)
        return [
            do.AbandonDrain(task_id),
            *([] if found.deregistered else [do.Deregister(task_id)]),
            do.RemoveContainer(task_id),
        ]
