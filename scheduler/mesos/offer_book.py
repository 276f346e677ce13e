"""Offers as they came, until they are answered: the driver builds a task's resources from them.

The core sees sums only. A launch must name its resources exactly as they were offered, with role, reservation and
allocation, or the master refuses it. So raw offers are kept here by id, and the portions of an ACCEPT are carved out of
them, reserved ones first: what only this role can use is used before what others could have.

An ACCEPT is of one role, and a task's resources are; its executor may be paid by another one (master/validation.cpp looks at
the two apart). So an agent has one executor for tasks of all roles, paid by the role whose task came first.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eratos.common.resources import PortRanges, Resources

from ..core.actions import Accept
from ..core.mesos_types import Offer
from . import translate
from .executor_info import ExecutorInfos, Wire, scalar


class CannotAccept(Exception):
    """The ACCEPT can't be sent; says why."""


@dataclass(slots=True)
class Portion:
    """What is left of one resource of an offer."""

    kind: Wire  #: the resource without its value: role, reservations, allocation
    name: str
    amount: int = 0
    ports: PortRanges = field(default_factory=PortRanges)

    @property
    def role(self) -> str:
        """The role it is allocated to; empty for a framework without MULTI_ROLE."""
        role: str = self.kind.get("allocation_info", {}).get("role", "")
        return role

    @property
    def reserved(self) -> bool:
        return translate.reserved(self.kind)

    def accepted(self, accepts: str) -> bool:
        return not accepts or self.reserved is (accepts == "reserved")

    def scalar(self, amount: int) -> Wire:
        return {**self.kind, **scalar(self.name, amount / 1000 if self.name == "cpus" else float(amount))}

    def ranges(self, ports: Iterable[int]) -> Wire:
        ranges = [{"begin": begin, "end": end} for begin, end in PortRanges((p, p) for p in ports).ranges]
        return {**self.kind, "name": self.name, "type": "RANGES", "ranges": {"range": ranges}}


class Pool:
    """The resources of some offers of one agent, to be carved up."""

    def __init__(self, offers: Iterable[Mapping[str, Any]]) -> None:
        self._portions: list[Portion] = []
        for resource in itertools.chain.from_iterable(offer.get("resources", ()) for offer in offers):
            if not translate.usable(resource):
                continue
            kind = {key: resource[key] for key in resource if key not in ("name", "type", "scalar", "ranges", "set")}
            kind.setdefault("role", "*")
            portion = Portion(kind, resource["name"])
            if resource["type"] == "SCALAR":
                portion.amount = translate.amount(portion.name, resource["scalar"]["value"])
            elif resource["type"] == "RANGES":
                portion.ports = PortRanges(translate.port_ranges(resource))
            self._portions.append(portion)
        self._portions.sort(key=lambda portion: not portion.reserved)
        self.roles = sorted({portion.role for portion in self._portions})

    def take(self, wanted: Resources, ports: Sequence[int], role: str, accepts: str = "") -> list[Wire] | None:
        """Take all that is wanted out of what is allocated to ``role``, or return None and take nothing.

        ``accepts``: ``reserved`` or ``unreserved``, where none but these resources will do.
        """
        scalars = self._plan_scalars(wanted, role, accepts)
        chosen = self._plan_ports(ports, role, accepts)
        if scalars is None or chosen is None:
            return None
        for portion, amount in scalars:
            portion.amount -= amount
        for portion, numbers in chosen:
            portion.ports = portion.ports.without(numbers)
        return [p.scalar(amount) for p, amount in scalars] + [p.ranges(numbers) for p, numbers in chosen]

    def _plan_scalars(self, wanted: Resources, role: str, accepts: str) -> list[tuple[Portion, int]] | None:
        plan = []
        for name, amount in (
            ("cpus", wanted.cpus_m),
            ("mem", wanted.mem_mib),
            ("disk", wanted.disk_mib),
            ("gpus", wanted.gpus),
        ):
            found = (p for p in self._portions if p.name == name and p.role == role and p.accepted(accepts))
            portions = [portion for portion in found if portion.amount > 0]
            # One portion that holds all is better than crumbs of several.
            portions.sort(key=lambda portion: portion.amount < amount)
            for portion in portions:
                part = min(amount, portion.amount)
                if part:
                    plan.append((portion, part))
                amount -= part
            if amount:
                return None
        return plan

    def _plan_ports(self, ports: Sequence[int], role: str, accepts: str) -> list[tuple[Portion, list[int]]] | None:
        chosen: dict[int, tuple[Portion, list[int]]] = {}
        for number in ports:
            having = (p for p in self._portions if p.role == role and number in p.ports and p.accepted(accepts))
            portion = next(having, None)
            if portion is None or number in chosen.get(id(portion), (portion, []))[1]:
                return None
            chosen.setdefault(id(portion), (portion, []))[1].append(number)
        return list(chosen.values())

    def executor_choices(self, wanted: Resources) -> Iterable[list[Wire]]:
        """Yield the executor's resources for each way to pay them, each resource whole out of one kind."""
        for role in self.roles:
            choices = []
            for name, amount in (("cpus", wanted.cpus_m), ("mem", wanted.mem_mib), ("disk", wanted.disk_mib)):
                if amount:
                    choices.append([p.scalar(amount) for p in self._portions if p.name == name and p.role == role])
            yield from (list(choice) for choice in itertools.product(*choices))


class OfferBook:
    """The offers on hand, by id: recorded by the IO thread, used by the loop's."""

    def __init__(self, infos: ExecutorInfos, executor_resources: Resources) -> None:
        self._infos = infos
        self._executor_resources = executor_resources
        self._lock = threading.Lock()  # over the offers and the executors known by them
        self._offers: dict[str, Mapping[str, Any]] = {}
        self._executors: dict[str, frozenset[str]] = {}  #: agent id -> those of this framework, as its latest offer has them
        self._launched: dict[str, str] = {}  #: agent id -> the executor that was launched there since that offer

    def __len__(self) -> int:
        return len(self._offers)

    def __contains__(self, offer_id: object) -> bool:
        return offer_id in self._offers

    def add(self, raw: Mapping[str, Any]) -> Offer:
        """Record an offer and return it as the core sees it.

        Whatever executor of ours can be used again shows under the one id the core knows. An executor of ours whose
        resources are not known (it was paid from reservations that no offer since has shown) does not: the core then
        counts a second one, which is wasteful but never refused.
        """
        choices = list(Pool([raw]).executor_choices(self._executor_resources))
        present = [executor["value"] for executor in raw.get("executor_ids", ())]
        with self._lock:
            for resources in choices:
                self._infos.make(resources)
            offer = translate.offer(raw, (self._infos.plain_id if self._infos.known(value) else value for value in present))
            self._offers[offer.offer_id] = raw
            self._executors[offer.agent_id] = frozenset(present)
            self._launched.pop(offer.agent_id, None)
        return offer

    def launched(self, agent_id: str, operation: Wire) -> None:
        """Take in that an operation was sent: offers to other roles, made before, do not show its executor and may use it."""
        group = operation.get("launch_group")
        executor = group["executor"] if group is not None else operation["launch"]["task_infos"][0]["executor"]
        with self._lock:
            self._launched[agent_id] = executor["executor_id"]["value"]

    def executors(self, agent_id: str) -> frozenset[str]:
        """Return the executors of this framework that an agent's latest offer has shown."""
        with self._lock:
            return self._executors.get(agent_id, frozenset())

    def discard(self, offer_ids: Iterable[str]) -> None:
        with self._lock:
            for offer_id in offer_ids:
                self._offers.pop(offer_id, None)

    def clear(self) -> None:
        """Forget all: offers die with the subscription (rule 23)."""
        with self._lock:
            self._offers.clear()
            self._launched.clear()

    def operation(self, call: Accept, framework_id: str) -> Wire:
        """Return the operation of an ACCEPT. Raises CannotAccept; the offers stay on hand either way.

        For every task that it launches singly, an agent adds up all tasks of the executor (slave.cpp, ``__run``): to launch
        hundreds takes it minutes. A group it adds up once. Not before the executor runs, though: until then the kill of
        one task of a group would end all of them. And Mesos takes no group for an executor without disk.
        """
        with self._lock:
            tasks = self.task_infos(call, framework_id)
            present = [known for offer_id in call.offer_ids for known in self._offers[offer_id].get("executor_ids", ())]
        executor = tasks[0]["executor"] if len(tasks) > 1 else {}
        runs = executor.get("executor_id") in present
        if runs and any(resource["name"] == "disk" for resource in executor["resources"]):
            return translate.launch_group(tasks)
        return translate.launch(tasks)

    def task_infos(self, call: Accept, framework_id: str) -> list[Wire]:
        """Carve the resources of every launch of an ACCEPT. Raises CannotAccept; the offers stay on hand either way."""
        missing = [offer_id for offer_id in call.offer_ids if offer_id not in self._offers]
        if missing:
            raise CannotAccept(f"offers are gone: {', '.join(missing)}")
        offers = [self._offers[offer_id] for offer_id in call.offer_ids]
        agents = {offer["agent_id"]["value"] for offer in offers}
        if agents != {call.agent_id}:
            raise CannotAccept(f"offers are of agents {', '.join(sorted(agents))}, not {call.agent_id} alone")
        pool = Pool(offers)
        executor = self._infos.on_agent(self._executor(offers, pool, call.agent_id), call.agent_id, framework_id)
        tasks = []
        for launch in call.launches:
            ports = [port.host_port for port in launch.payload.ports if port.host_port]
            resources = _take(pool, launch.payload.resources, ports, launch.payload.accepts)
            if resources is None:
                raise CannotAccept(f"task {launch.task_id} does not fit into offers {', '.join(call.offer_ids)}")
            tasks.append(translate.task_info(self._infos.with_keys(launch.payload), call.agent_id, executor, resources))
        return tasks

    def _executor(self, offers: Iterable[Mapping[str, Any]], pool: Pool, agent_id: str) -> Wire:
        present = [executor["value"] for offer in offers for executor in offer.get("executor_ids", ())]
        for executor_id in (*present, self._launched.get(agent_id, "")):
            info = self._infos.known(executor_id)
            if info is not None:
                return info
        # No offer to another role shows what is reserved for this one: an executor that this pays for would not be known there.
        unreserved = _take(pool, self._executor_resources, (), "unreserved") if self._infos.several else None
        resources = unreserved or _take(pool, self._executor_resources, ())
        if resources is None:
            raise CannotAccept(f"the executor's own resources do not fit: {self._executor_resources}")
        return self._infos.make(resources)


def _take(pool: Pool, wanted: Resources, ports: Sequence[int], accepts: str = "") -> list[Wire] | None:
    """Take from the first role that has enough: Mesos wants all resources of a task allocated to one role."""
    for role in pool.roles:
        taken = pool.take(wanted, ports, role, accepts)
        if taken is not None:
            return taken
    return None
