"""Waiting instances x offers -> placements, and for each offer that did not do, the reason. Pure.

One call places any number of equal instances of one app. Hosts are looked at one after another until enough were found
that would do, several for each instance; a heap then hands out the best of these again and again. So the cost is that of
the instances, not of the cluster, unless few hosts fit; Fenzo's finding is that an exact search packs no better than a
good-enough one (rules.md 1.2).

Two strategies order the hosts. *Spread*, the default: over zones first, then over hosts, then to where most is free.
*Pack*: to the fullest host that still has room. Both keep clear of hosts with maintenance ahead while others do.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from eratos.common.resources import PortRanges, Resources
from eratos.marathon.app import App

from . import constraints
from .mesos import Agent, Offer, Window
from .reasons import Reason, Refusal
from .state import Instance, Trouble

#: Bytes of instructions that one agent gets in one pass, and so one executor in one message.
HOST_BYTES = 4 * 1024 * 1024
#: Hosts found to do before placing begins: so many, and so many for each instance.
FOUND_LEAST = 64
FOUND_EACH = 2
#: No host has failed to start the app.
NOTHING_FAILED: Mapping[str, int] = {}
#: Looks at hosts in one pass, over all apps: many apps that fit nowhere must not hold up the others.
LOOKS_MOST = 200_000


@dataclass(slots=True, eq=False)
class Host:
    """What one agent has free, all its offers together; shrinks as instances are placed on it."""

    agent: Agent
    cpus_m: int
    mem_mib: int
    disk_mib: int
    gpus: int
    ports: PortRanges
    offer_ids: tuple[str, ...]
    used: bool = True  #: our executor runs there already
    first_port: int = 0  #: dynamic ports are taken from here on, so that a port just freed is not the next one taken
    window: Window | None = None  #: maintenance ahead
    bytes_left: int = HOST_BYTES

    def take(self, resources: Resources, ports: Sequence[int], size: int = 0) -> None:
        self.cpus_m -= resources.cpus_m
        self.mem_mib -= resources.mem_mib
        self.disk_mib -= resources.disk_mib
        self.gpus -= resources.gpus
        self.used = True
        self.bytes_left -= size
        if ports:
            self.ports = self.ports.without(ports)
            self.first_port = ports[-1] + 1


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one more instance of the app goes."""

    host: Host
    ports: tuple[int, ...]


@dataclass(slots=True)
class Candidates:
    """The hosts of one pass, made when they are first looked at; :meth:`Host.take` changes them for the apps that follow."""

    offers: Mapping[str, tuple[Offer, ...]]  #: by agent id
    agent_of: Callable[[Offer], Agent]
    executor_id: str
    executor_resources: Resources
    first_ports: Mapping[str, int] = field(default_factory=dict)
    looks_left: int = LOOKS_MOST
    left_alone: Mapping[str, Trouble] = field(default_factory=dict)  #: hosts that take nothing at present
    _ids: list[str] = field(init=False)
    _hosts: list[Host | None] = field(init=False)

    def __post_init__(self) -> None:
        self._ids = list(self.offers)
        self._hosts = [None] * len(self._ids)

    def look(self, *, mixed: bool) -> Iterator[Host]:
        """Yield each host once, until the looks of this pass are used up; ``mixed``: in no order that agents may be in."""
        size = len(self._ids)
        stride = _stride(size) if mixed else 1
        index = 0
        for _ in range(size):
            if self.looks_left <= 0:
                return
            self.looks_left -= 1
            host = self._hosts[index]
            if host is None:
                host = self._hosts[index] = self._host(self.offers[self._ids[index]])
            yield host
            index = (index + stride) % size

    def _host(self, group: tuple[Offer, ...]) -> Host:
        """Put the offers of an agent together, less what our executor will take where it does not run yet (rule 74)."""
        offer = group[0]
        free, ports, window = offer.resources, offer.ports, offer.window
        used = self.executor_id in offer.executor_ids
        for other in group[1:]:
            free += other.resources
            ports = PortRanges((*ports.ranges, *other.ports.ranges))
            window = window or other.window
            used = used or self.executor_id in other.executor_ids
        if not used:
            free -= self.executor_resources
        return Host(
            self.agent_of(offer),
            free.cpus_m,
            free.mem_mib,
            free.disk_mib,
            free.gpus,
            ports,
            (offer.offer_id,) if len(group) == 1 else tuple(other.offer_id for other in group),
            used,
            self.first_ports.get(offer.agent_id, 0),
            window,
        )


def _stride(size: int) -> int:
    """Return a step that visits every index of ``size``, neighbours far apart: near the golden section of it."""
    stride = max(1, round(size * 0.618))
    while math.gcd(stride, size) != 1:
        stride += 1
    return stride


def place(
    app: App,
    count: int,
    candidates: Candidates,
    existing: Iterable[Instance],
    now: float,
    *,
    pack: bool = False,
    lead_s: float = 0.0,
    home: str = "",
    failed: Mapping[str, int] = NOTHING_FAILED,
) -> tuple[list[Placement], dict[str, Refusal]]:
    """Place up to ``count`` instances; hosts are changed by :meth:`Host.take`.

    ``existing`` are the app's instances that have a place already; ``lead_s`` is how long before its maintenance a host is
    closed, ``home`` the master's region, ``failed`` the app's failed starts by host name: the more, the later a choice.
    Returns the placements, and by agent id why a host took none or no more, if instances are left over. Without a reason are
    only hosts that got as many instructions as one pass sends them.
    """
    existing = list(existing)
    agents = Counter(instance.agent.agent_id for instance in existing)
    zones: Counter[str] = Counter() if pack else Counter(instance.agent.spread_zone for instance in existing)
    limits = constraints.Constraints(app, (instance.agent for instance in existing), home)
    refusals: dict[str, Refusal] = {}
    # Refused for a constraint: another placement may change that (GROUP_BY), so they are looked at again.
    held_back: list[Host] = []
    # Hosts that will do, best first, by what speaks against them (starts that failed, maintenance ahead) and by zone: the
    # zone with the fewest comes next.
    groups: dict[tuple[int, str], list[tuple[int, int, int, str, Host]]] = {}
    looking = candidates.look(mixed=not pack)

    def push(host: Host) -> bool:
        agent = host.agent
        trouble = candidates.left_alone.get(agent.hostname)
        if host.bytes_left < app.launch_bytes:
            return False  # its next offer follows soon
        refusal = refuse(app, host, limits, now, lead_s) if trouble is None else _left_alone(agent, trouble, now)
        if refusal is not None:
            refusals[agent.agent_id] = refusal
            if refusal.reason is Reason.CONSTRAINT:
                held_back.append(host)
            return False
        late = 2 * failed.get(agent.hostname, 0) + (host.window is not None)
        if pack:
            group, entry = (late, ""), (int(not host.used), host.cpus_m, host.mem_mib, agent.agent_id, host)
        else:
            group = (late, agent.spread_zone)
            entry = (agents[agent.agent_id], -host.cpus_m, -host.mem_mib, agent.agent_id, host)
        heap = groups.get(group)
        if heap is None:
            groups[group] = [entry]
        else:
            heapq.heappush(heap, entry)
        return True

    def find() -> None:
        found, wanted = 0, max(FOUND_LEAST, FOUND_EACH * (count - len(placed)))
        for host in looking:
            found += push(host)
            if found >= wanted:
                return

    placed: list[Placement] = []
    looked_again_at = 0
    while len(placed) < count:
        if not groups:
            find()
        if not groups:
            if len(placed) == looked_again_at:
                break  # nothing was placed since the last look
            looked_again_at = len(placed)
            again, held_back[:] = held_back[:], []
            for host in again:
                push(host)
            continue
        best = min(groups, key=lambda group: (group[0], zones[group[1]], group[1]))
        host = heapq.heappop(groups[best])[-1]
        if not groups[best]:
            del groups[best]
        if limits.violated(host.agent):
            push(host)  # another placement closed it: it may get another turn
            continue
        ports = choose_ports(app, host)
        assert ports is not None, "refuse() let a host without the ports through"
        host.take(app.resources, ports, app.launch_bytes)
        placed.append(Placement(host, ports))
        agents[host.agent.agent_id] += 1
        if not pack:
            zones[host.agent.spread_zone] += 1
        limits.add(host.agent)
        push(host)
    return placed, refusals if len(placed) < count else {}


def _left_alone(agent: Agent, trouble: Trouble, now: float) -> Refusal:
    apps = f"{', '.join(trouble.against[:3])}{' and others' if len(trouble.against) > 3 else ''}"
    again = f"{agent.hostname} is left alone and tried again in {trouble.until - now:.0f} s"
    note = f"{again}: starts of {apps} failed there and nowhere else"
    return Refusal(Reason.FAILING_HOST, agent.hostname, now, note=note)


def refuse(app: App, host: Host, limits: constraints.Constraints, now: float, lead_s: float = 0.0) -> Refusal | None:
    """Return why one more instance does not fit on the host, or None if it does."""
    window, hostname = host.window, host.agent.hostname
    if window is not None and window.begin - lead_s <= now < window.end:
        begins = "is under way" if window.begin <= now else f"begins in {window.begin - now:.0f} s"
        return Refusal(Reason.MAINTENANCE, hostname, now, note=f"maintenance of {hostname} {begins}")
    violated = limits.violated(host.agent)
    if violated is not None:
        return Refusal(Reason.CONSTRAINT, hostname, now, note=limits.explain(violated, host.agent))
    want = app.resources
    if want.cpus_m > host.cpus_m:
        return Refusal(Reason.CPUS, hostname, now, want.cpus_m / 1000, host.cpus_m / 1000)
    if want.mem_mib > host.mem_mib:
        return Refusal(Reason.MEMORY, hostname, now, want.mem_mib, host.mem_mib)
    if want.disk_mib > host.disk_mib:
        return Refusal(Reason.DISK, hostname, now, want.disk_mib, host.disk_mib)
    if want.gpus > host.gpus:
        return Refusal(Reason.GPUS, hostname, now, want.gpus, host.gpus)
    if app.ports:
        taken = [port for port in _fixed_ports(app) if port not in host.ports]
        if taken:
            return Refusal(Reason.PORTS, hostname, now, note=_not_free(taken, host.ports, hostname))
        if len(app.ports) > len(host.ports):
            return Refusal(Reason.PORTS, hostname, now, len(app.ports), len(host.ports))
    return None


def choose_ports(app: App, host: Host) -> tuple[int, ...] | None:
    """Return a host port for each of the app's ports, in their order, or None where the host lacks one."""
    if not app.ports:
        return ()
    fixed = _fixed_ports(app)
    if any(port not in host.ports for port in fixed) or len(set(fixed)) != len(fixed):
        return None
    dynamic = _pick(host.ports, len(app.ports) - len(fixed), host.first_port, frozenset(fixed))
    if dynamic is None:
        return None
    source = iter(dynamic)
    return tuple(port.host_port or next(source) for port in app.ports)


def _not_free(ports: list[int], offered: PortRanges, hostname: str) -> str:
    listed = ", ".join(map(str, ports))
    span = offered.ranges and (offered.ranges[0][0], offered.ranges[-1][1])
    if not span or any(span[0] <= port <= span[1] for port in ports):
        return f"ports: {listed} not free on {hostname}"
    return (
        f"ports: {listed} not among those that {hostname} offers, {span[0]} to {span[1]}: unless a task has it now, "
        "have its agent offer it (--resources), or leave requirePorts or hostPort out"
    )


def _fixed_ports(app: App) -> list[int]:
    return [port.host_port for port in app.ports if port.host_port]


def _pick(ports: PortRanges, count: int, start: int, avoid: frozenset[int]) -> tuple[int, ...] | None:
    """Take ``count`` ports at or above ``start``, going on from the lowest one when the top is reached."""
    above = ports.from_on(start)
    found = above.first(count, avoid)
    if found is not None:
        return found
    some = [port for port in above if port not in avoid]
    rest = ports.without(some).first(count - len(some), avoid)
    return None if rest is None else (*some, *rest)
