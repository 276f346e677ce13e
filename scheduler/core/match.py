"""Waiting instances x offers -> placements, and for each offer that did not do, the reason. Pure.

One call places any number of equal instances of one app: what fits is found once per agent, then a heap hands out the best
agent again and again, so the cost is agents + instances * log(agents).

Instances spread by default: over zones first, then over hosts, then to where most is free (Fenzo's finding in
rules.md 1.2 is that an exact search packs no better than a good-enough one).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from eratos.common.resources import PortRanges, Resources
from eratos.marathon.app import App

from . import constraints
from .mesos import Offer
from .reasons import Reason, Refusal
from .state import Instance


@dataclass(slots=True)
class Host:
    """What one agent has free, all its offers together; shrinks as instances are placed on it."""

    agent_id: str
    hostname: str
    free: Resources
    ports: PortRanges
    offer_ids: tuple[str, ...]
    region: str = ""
    zone: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    first_port: int = 0  #: dynamic ports are taken from here on, so that a port just freed is not the next one taken

    def take(self, resources: Resources, ports: Iterable[int]) -> None:
        ports = tuple(ports)
        self.free -= resources
        self.ports = self.ports.without(ports)
        if ports:
            self.first_port = ports[-1] + 1


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one more instance of the app goes."""

    host: Host
    ports: tuple[int, ...]


def hosts(
    offers: Iterable[Offer],
    executor_id: str,
    executor_resources: Resources,
    first_ports: Mapping[str, int] | None = None,
) -> list[Host]:
    """Put the offers of each agent together, less what our executor will take where it does not run yet (rule 74)."""
    by_agent: dict[str, list[Offer]] = {}
    for offer in offers:
        by_agent.setdefault(offer.agent_id, []).append(offer)
    found = []
    for agent_id, group in by_agent.items():
        free = sum((offer.resources for offer in group), Resources())
        if not any(executor_id in offer.executor_ids for offer in group):
            free -= executor_resources
        found.append(
            Host(
                agent_id=agent_id,
                hostname=group[0].hostname,
                free=free,
                ports=PortRanges(r for offer in group for r in offer.ports.ranges),
                offer_ids=tuple(offer.offer_id for offer in group),
                region=group[0].region,
                zone=group[0].zone,
                attributes=group[0].attributes,
                first_port=(first_ports or {}).get(agent_id, 0),
            )
        )
    return found


def place(
    app: App,
    count: int,
    candidates: Iterable[Host],
    existing: Iterable[Instance],
    now: float,
) -> tuple[list[Placement], dict[str, Refusal]]:
    """Place up to ``count`` instances; hosts are changed by :meth:`Host.take`.

    ``existing`` are the app's instances that have a place already. Returns the placements, and by agent id why a host took
    none or no more, if instances are left over.
    """
    existing = list(existing)
    agents = Counter(instance.agent_id for instance in existing)
    zones = Counter(instance.zone for instance in existing)
    limits = constraints.Constraints(app, existing)
    refusals: dict[str, Refusal] = {}
    # Refused for a constraint: another placement may change that (GROUP_BY), so they are looked at again.
    held_back: list[Host] = []
    heap: list[tuple[int, int, int, int, str, Host]] = []

    def push(host: Host) -> None:
        refusal = refuse(app, host, limits, now)
        if refusal is not None:
            refusals[host.agent_id] = refusal
            if refusal.reason is Reason.CONSTRAINT:
                held_back.append(host)
            return
        entry = (zones[host.zone], agents[host.agent_id], -host.free.cpus_m, -host.free.mem_mib)
        heapq.heappush(heap, (*entry, host.agent_id, host))

    for host in candidates:
        push(host)
    placed: list[Placement] = []
    looked_again_at = 0
    while len(placed) < count:
        if not heap:
            if len(placed) == looked_again_at:
                break  # nothing was placed since the last look
            looked_again_at = len(placed)
            again, held_back[:] = held_back[:], []
            for host in again:
                push(host)
            continue
        zone_count, *_, host = heapq.heappop(heap)
        if zone_count != zones[host.zone] or limits.violated(host):
            push(host)  # its zone filled up meanwhile, or a constraint closed it: it may get another turn
            continue
        ports = choose_ports(app, host)
        assert ports is not None, "refuse() let a host without the ports through"
        host.take(app.resources, ports)
        placed.append(Placement(host, ports))
        agents[host.agent_id] += 1
        zones[host.zone] += 1
        limits.add(host)
        push(host)
    return placed, refusals if len(placed) < count else {}


def refuse(app: App, host: Host, limits: constraints.Constraints, now: float) -> Refusal | None:
    """Return why one more instance does not fit on the host, or None if it does."""
    violated = limits.violated(host)
    if violated is not None:
        actual = constraints.value_at(host, violated.field)
        value = "no such attribute" if actual is None else f"{violated.field}={actual}"
        detail = f"constraints: {' '.join(filter(None, violated))} not fulfilled by {host.hostname} ({value})"
        return Refusal(Reason.CONSTRAINT, detail, host.hostname, now)
    want, free = app.resources, host.free
    for reason, field_name, wanted, there in (
        (Reason.CPUS, "cpus", want.cpus_m / 1000, free.cpus_m / 1000),
        (Reason.MEMORY, "mem", want.mem_mib, free.mem_mib),
        (Reason.DISK, "disk", want.disk_mib, free.disk_mib),
        (Reason.GPUS, "gpus", want.gpus, free.gpus),
    ):
        if wanted > there:
            detail = f"{field_name}: {wanted:g} wanted, {max(there, 0):g} free on {host.hostname}"
            return Refusal(reason, detail, host.hostname, now, 1 - max(there, 0) / wanted)
    if choose_ports(app, host) is None:
        fixed = [port for port in _fixed_ports(app) if port not in host.ports]
        detail = (
            f"ports: {', '.join(map(str, fixed))} not free on {host.hostname}"
            if fixed
            else f"ports: {len(app.ports)} wanted, {len(host.ports)} free on {host.hostname}"
        )
        return Refusal(Reason.PORTS, detail, host.hostname, now)
    return None


def choose_ports(app: App, host: Host) -> tuple[int, ...] | None:
    """Return a host port for each of the app's ports, in their order, or None where the host lacks one."""
    fixed = _fixed_ports(app)
    if any(port not in host.ports for port in fixed) or len(set(fixed)) != len(fixed):
        return None
    dynamic = _pick(host.ports, len(app.ports) - len(fixed), host.first_port, frozenset(fixed))
    if dynamic is None:
        return None
    source = iter(dynamic)
    return tuple(port.host_port or next(source) for port in app.ports)


def _fixed_ports(app: App) -> list[int]:
    return [port.host_port for port in app.ports if port.host_port]


def _pick(ports: PortRanges, count: int, start: int, avoid: frozenset[int]) -> tuple[int, ...] | None:
    """Take ``count`` ports at or above ``start``, going on from the lowest one when the top is reached."""
    above = PortRanges((max(begin, start), end) for begin, end in ports.ranges if end >= start)
    found = above.first(count, avoid)
    if found is not None:
        return found
    some = [port for port in above if port not in avoid]
    rest = ports.without(some).first(count - len(some), avoid)
    return None if rest is None else (*some, *rest)
