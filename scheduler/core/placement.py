"""Waiting instances x offers -> placements, and for each offer that did not do, the reason. Pure.

One call places any number of equal instances of one app. Hosts are looked at one after another until enough were found
that would do, several for each instance; a heap then hands out the best of these again and again. So the cost is that of
the instances, not of the cluster, unless few hosts fit; Fenzo, Netflix' placement
library for Mesos, ends its search at a good-enough fit for the same reason (https://github.com/Netflix/Fenzo).

Two strategies order the hosts. *Spread*, the default: over zones first, then over hosts, then to where most is free.
*Pack*: to the fullest host that still has room. Both keep clear of hosts with maintenance ahead while others do.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from eratos.common.resources import PortRanges, Resources
from eratos.marathon.app import App

from . import constraints
from .instances import Instance
from .launches import Trouble
from .mesos_types import NO_PORTS, NO_RESOURCES, Agent, Offer, Window
from .reasons import Reason, Refusal

#: Bytes of instructions that one agent gets in one pass, and so one executor in one message.
HOST_BYTES = 4 * 1024 * 1024
#: Hosts found to do before placing begins: so many, and so many for each instance.
FOUND_LEAST = 64
FOUND_EACH = 2
#: No host has failed to start the app.
NOTHING_FAILED: Mapping[str, int] = {}
#: Looks at hosts in one pass, over all apps: many apps that fit nowhere must not hold up the others.
LOOKS_MOST = 200_000


class Free(NamedTuple):
    """What is free of one kind of resources."""

    cpus_m: int
    mem_mib: int
    disk_mib: int
    gpus: int
    ports: PortRanges


@dataclass(slots=True, eq=False)
class Host:
    """What one agent has free for a role, all its offers together; shrinks as instances are placed on it."""

    agent: Agent
    cpus_m: int
    mem_mib: int
    disk_mib: int
    gpus: int
    ports: PortRanges
    offer_ids: tuple[str, ...]
    used: bool  #: our executor runs there already
    first_port: int  #: dynamic ports are taken from here on, so that a port just freed is not the next one taken
    window: Window | None  #: maintenance ahead
    bytes_left: int = HOST_BYTES
    reserved: Resources = NO_RESOURCES  #: of what is free, what is reserved for this framework's role: it goes first
    reserved_ports: PortRanges = NO_PORTS
    drained: bool = False
    role: str = ""  #: that all of it is allocated to
    usual: str = ""  #: what apps that say nothing of it take, as :attr:`.App.accepts`

    def accepts(self, app: App) -> str:
        """Return which of its resources an app takes: ``reserved`` or ``unreserved`` ones, or empty for either."""
        return app.accepts if app.accepted_resource_roles else self.usual

    def of(self, accepts: str) -> Host | Free:
        """Return what is free of the resources that an app accepts (:meth:`accepts`)."""
        if not accepts:
            return self
        kept, ports = self.reserved, self.reserved_ports
        if accepts == "reserved":
            return Free(kept.cpus_m, kept.mem_mib, kept.disk_mib, kept.gpus, ports)
        open_ports = self.ports.without(ports) if len(ports) else self.ports
        return Free(
            self.cpus_m - kept.cpus_m,
            self.mem_mib - kept.mem_mib,
            self.disk_mib - kept.disk_mib,
            self.gpus - kept.gpus,
            open_ports,
        )

    def take(self, resources: Resources, ports: Sequence[int], size: int, accepts: str) -> None:
        """Have an instance of an app take its share; ``size`` is that of its instruction in bytes."""
        if self.reserved is not NO_RESOURCES and accepts != "unreserved":
            self.reserved -= self.reserved.least(resources)
            self.reserved_ports = self.reserved_ports.without(ports)
        self.cpus_m -= resources.cpus_m
        self.mem_mib -= resources.mem_mib
        self.disk_mib -= resources.disk_mib
        self.gpus -= resources.gpus
        self.used = True
        self.bytes_left -= size
        if ports:
            self.ports = self.ports.without(ports)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one more instance of the app goes."""

    host: Host
    ports: tuple[int, ...]


@dataclass(slots=True)
class Candidates:
    """The hosts of one pass, made when they are first looked at; :meth:`Host.take` changes them for the apps that follow.

    All offers are allocated to one role.
    """

    offers: Mapping[str, tuple[Offer, ...]]  #: by agent id
    agent_of: Callable[[Offer], Agent]
    executor_id: str
    executor_resources: Resources
    first_ports: Mapping[str, int] = field(default_factory=dict)  #: by host name
    looks_left: int = LOOKS_MOST
    left_alone: Mapping[str, Trouble] = field(default_factory=dict)  #: hosts that take nothing at present
    verdicts: constraints.Verdicts = field(default_factory=constraints.Verdicts)
    drained: Collection[str] = ()  #: names of hosts that are
    role: str = ""
    #: Offers come for other roles as well: an executor is paid out of what is not reserved, if that does, and else, as it always
    #: is where there is one role, out of what is reserved first.
    several_roles: bool = False
    accepts: str = ""  #: what apps that say nothing of it take: ``reserved`` or ``unreserved`` resources; empty: either
    _ids: list[str] = field(init=False)
    _hosts: list[Host | None] = field(init=False)
    _by_name: dict[str, list[int]] = field(default_factory=dict)  #: host name -> places in these; made when it is asked for

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
            yield self._at(index)
            index = (index + stride) % size

    def on(self, hostname: str) -> Iterator[Host]:
        """Yield what the agents of one host offer."""
        if not self._by_name:
            for index, agent_id in enumerate(self._ids):
                self._by_name.setdefault(self.offers[agent_id][0].hostname, []).append(index)
        return map(self._at, self._by_name.get(hostname, ()))

    def _at(self, index: int) -> Host:
        host = self._hosts[index]
        if host is None:
            host = self._hosts[index] = self._host(self.offers[self._ids[index]])
        return host

    def _host(self, group: tuple[Offer, ...]) -> Host:
        """Put the offers of an agent together, less what our executor will take where it does not run yet (rule 74)."""
        offer = group[0]
        free, ports, window = offer.resources, offer.ports, offer.window
        used = self.executor_id in offer.executor_ids
        reserved = sum((other.reserved for other in group), NO_RESOURCES)
        for other in group[1:]:
            free += other.resources
            ports = PortRanges((*ports.ranges, *other.ports.ranges))
            window = window or other.window
            used = used or self.executor_id in other.executor_ids
        if not used:
            if not (self.several_roles and (free - reserved).fits(self.executor_resources)):
                reserved -= reserved.least(self.executor_resources)
            free -= self.executor_resources
        agent = self.agent_of(offer)
        return Host(
            agent,
            free.cpus_m,
            free.mem_mib,
            free.disk_mib,
            free.gpus,
            ports,
            (offer.offer_id,) if len(group) == 1 else tuple(other.offer_id for other in group),
            used,
            self.first_ports.get(agent.hostname, 0),
            window,
            reserved=NO_RESOURCES if reserved == NO_RESOURCES else reserved,
            reserved_ports=PortRanges(itertools.chain.from_iterable(other.reserved_ports.ranges for other in group)),
            drained=agent.hostname in self.drained,
            role=self.role,
            # For the role * nothing can be reserved.
            usual="unreserved" if self.accepts and self.role in ("", "*") else self.accepts,
        )


def _stride(size: int) -> int:
    """Return a step that visits every index of ``size``, neighbours far apart: near the golden section of it."""
    stride = max(1, round(size * 0.618))
    while math.gcd(stride, size) != 1:
        stride += 1
    return stride


def place_instances(
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
    # Instances of older versions give way to the new ones: counted here, a UNIQUE app on all hosts could never be replaced.
    of_version = (instance.agent for instance in existing if instance.version == app.version)
    limits = constraints.Constraints(app, of_version, home, candidates.verdicts)
    search = _Search(app, candidates, Pack() if pack else Spread(existing), limits, now, lead_s, failed)
    placed: list[Placement] = []
    while len(placed) < count and (host := search.best(count - len(placed))) is not None:
        if limits.violated(host.agent) is None:
            ports = choose_ports(app, host)
            assert ports is not None, "refuse() let a host without the ports through"
            host.take(app.resources, ports, app.launch_bytes, host.accepts(app))
            host.first_port = next_port(app, ports, host.first_port)
            placed.append(Placement(host, ports))
            search.placed(host)
            limits.add(host.agent)
        search.push(host)  # for the next one, or, where a placement has closed it, for another turn
    return placed, search.left_over() if len(placed) < count else {}


def place_on_hosts(
    app: App,
    hostnames: Iterable[str],
    most: int,
    candidates: Candidates,
    now: float,
    *,
    lead_s: float = 0.0,
    home: str = "",
    verdicts: constraints.Verdicts | None = None,
    existing: Iterable[Instance] = (),
) -> tuple[list[Placement], dict[str, Refusal]]:
    """Place one instance on each of these hosts, as often as it is named, that offers enough, ``most`` at most.

    Hosts are changed by :meth:`Host.take`. ``verdicts`` are what is known of the app's constraints, ``existing`` its instances
    that these are held against. Returns the placements, and by agent id why a host took none or no more. Of hosts that offer
    nothing, nothing is said.
    """
    of_version = (instance.agent for instance in existing if instance.version == app.version)
    limits = constraints.Constraints(app, of_version, home, verdicts)
    placed: list[Placement] = []
    refusals: dict[str, Refusal] = {}
    for hostname in hostnames:
        if len(placed) >= most:
            break
        refused: dict[str, Refusal] = {}
        for host in candidates.on(hostname):
            if host.bytes_left < app.launch_bytes:
                refused.clear()
                break  # its next offer follows soon
            trouble = candidates.left_alone.get(hostname)
            refusal = _left_alone(host.agent, trouble, now) if trouble is not None else refuse(app, host, limits, now, lead_s)
            if refusal is None:
                ports = choose_ports(app, host)
                assert ports is not None, "refuse() let a host without the ports through"
                host.take(app.resources, ports, app.launch_bytes, host.accepts(app))
                placed.append(Placement(host, ports))
                limits.add(host.agent)
                refused.clear()
                break
            refused[host.agent.agent_id] = refusal
        refusals |= refused
    return placed, refusals


#: What is compared of hosts: the least is the first choice. Agent ids keep two hosts from being equal.
Rank = tuple[int, int, int, str]


class Spread:
    """Instances as far apart as they can be: the zone with the fewest first, in it the host with the fewest and most free."""

    mixed = True  #: hosts are looked at in no order that agents may be in

    def __init__(self, existing: Sequence[Instance]) -> None:
        self._on_agent = Counter(instance.agent.agent_id for instance in existing)
        self._in_zone = Counter(instance.agent.spread_zone for instance in existing)

    def zone(self, host: Host) -> str:
        """Return what hosts are grouped by."""
        return host.agent.spread_zone

    def rank(self, host: Host) -> Rank:
        """Return how a host compares with others of its group."""
        return self._on_agent[host.agent.agent_id], -host.cpus_m, -host.mem_mib, host.agent.agent_id

    def instances(self, zone: str) -> int:
        """Return how many a group has: the one with the fewest comes next."""
        return self._in_zone[zone]

    def placed(self, host: Host) -> None:
        self._on_agent[host.agent.agent_id] += 1
        self._in_zone[host.agent.spread_zone] += 1


class Pack:
    """Instances on as few hosts as will do: those in use first, of them the one with the least left."""

    mixed = False

    def zone(self, host: Host) -> str:
        return ""

    def rank(self, host: Host) -> Rank:
        return int(not host.used), host.cpus_m, host.mem_mib, host.agent.agent_id

    def instances(self, zone: str) -> int:
        return 0

    def placed(self, host: Host) -> None:
        pass


#: What speaks against hosts (starts that failed, maintenance ahead), their zone, and what GROUP_BY counts them by.
_Bucket = tuple[int, str, tuple[str | None, ...]]
_Entry = tuple[int, int, int, str, Host]


@dataclass(slots=True)
class _Search:
    """The hosts that will do for one app, best first, out of those that are looked at.

    GROUP_BY closes many hosts with each instance, and opens as many with another. So of those that it counts alike only the
    best becomes a choice, and only while they are open; the others wait behind it.
    """

    app: App
    candidates: Candidates
    strategy: Spread | Pack
    limits: constraints.Constraints
    now: float
    lead_s: float
    failed: Mapping[str, int]
    refusals: dict[str, Refusal] = field(default_factory=dict)  #: by agent id
    #: Hosts that will do, by what speaks against them and by zone; each group is a heap.
    _groups: dict[tuple[int, str], list[_Entry]] = field(default_factory=dict)
    _behind: dict[_Bucket, list[_Entry]] = field(default_factory=dict)  #: heaps, where there is a GROUP_BY
    _next: dict[_Bucket, None] = field(default_factory=dict)  #: whose best host becomes a choice
    _closed: dict[_Bucket, None] = field(default_factory=dict)  #: whose hosts are not, until something is placed elsewhere
    _looked_again: bool = True  #: and nothing was placed since: another look would find the same
    _looking: Iterator[Host] = field(init=False)

    def __post_init__(self) -> None:
        self._looking = self.candidates.look(mixed=self.strategy.mixed)

    def best(self, wanted: int) -> Host | None:
        """Take out the best host; ``wanted`` says for how many instances hosts are to be found, where there are none."""
        self._show()
        if not self._groups:
            self._find(max(FOUND_LEAST, FOUND_EACH * wanted))
            self._show()
        if not self._groups and not self._looked_again:
            self._looked_again = True
            self._next, self._closed = self._closed, {}
            self._show()
        if not self._groups:
            return None
        instances = self.strategy.instances
        best = min(self._groups, key=lambda group: (group[0], instances(group[1]), group[1]))
        host = heapq.heappop(self._groups[best])[-1]
        if not self._groups[best]:
            del self._groups[best]
        if group := self.limits.group(host.agent):
            self._next[(*best, group)] = None
        return host

    def _find(self, wanted: int) -> None:
        for host in self._looking:
            wanted -= self.push(host)
            if wanted <= 0:
                return

    def push(self, host: Host) -> bool:
        """Put a host among those that will do, or note why it does not; return whether it will."""
        refusal = self._refuse(host)
        group = self.limits.group(host.agent)
        if refusal is not None and not (group and refusal.reason is Reason.CONSTRAINT and self.limits.reopens(host.agent)):
            return False
        entry = (*self.strategy.rank(host), host)
        # Few hosts have GPUs: those that need none of them go elsewhere while there is room.
        failed = 2 * self.failed.get(host.agent.hostname, 0)
        late = failed + (host.window is not None) + (host.gpus > 0 and not self.app.gpus)
        zone = self.strategy.zone(host)
        if not group:
            heapq.heappush(self._groups.setdefault((late, zone), []), entry)
            return True
        bucket = (late, zone, group)
        heapq.heappush(self._behind.setdefault(bucket, []), entry)
        self._next[bucket] = None
        return refusal is None

    def _show(self) -> None:
        """Make the best host of each bucket that is open a choice."""
        for bucket in self._next:
            behind = self._behind.get(bucket, [])
            while behind:
                entry = heapq.heappop(behind)
                host = entry[-1]
                if self._refuse(host) is None:
                    heapq.heappush(self._groups.setdefault(bucket[:2], []), entry)
                    break
                if self.limits.reopens(host.agent):
                    heapq.heappush(behind, entry)
                    self._closed[bucket] = None
                    break
        self._next.clear()

    def _refuse(self, host: Host) -> Refusal | None:
        """Return why one more instance does not go to a host, and note it. Without a reason are hosts that have had enough."""
        app, agent = self.app, host.agent
        if host.bytes_left < app.launch_bytes:
            return _ENOUGH  # its next offer follows soon
        trouble = self.candidates.left_alone.get(agent.hostname)
        if trouble is None:
            refusal = refuse(app, host, self.limits, self.now, self.lead_s)
        else:
            refusal = _left_alone(agent, trouble, self.now)
        if refusal is not None:
            self.refusals[agent.agent_id] = refusal
        return refusal

    def left_over(self) -> dict[str, Refusal]:
        """Return why hosts took none or no more, those included that are behind others of their bucket."""
        for behind in self._behind.values():
            for entry in behind:
                self._refuse(entry[-1])
        return self.refusals

    def placed(self, host: Host) -> None:
        """Count an instance; what is closed may be open from now on."""
        self.strategy.placed(host)
        self._looked_again = False


#: Of a host that got as many instructions as one pass sends it; never shown.
_ENOUGH = Refusal(Reason.FAILING_HOST, "", 0.0)


def _left_alone(agent: Agent, trouble: Trouble, now: float) -> Refusal:
    apps = f"{', '.join(trouble.against[:3])}{' and others' if len(trouble.against) > 3 else ''}"
    again = f"{agent.hostname} is left alone and tried again in {trouble.until - now:.0f} s"
    note = f"{again}: starts of {apps} failed there and nowhere else"
    return Refusal(Reason.FAILING_HOST, agent.hostname, now, note=note)


def refuse(app: App, host: Host, limits: constraints.Constraints, now: float, lead_s: float = 0.0) -> Refusal | None:
    """Return why one more instance does not fit on the host, or None if it does."""
    window, hostname = host.window, host.agent.hostname
    if host.drained:
        return Refusal(Reason.MAINTENANCE, hostname, now, note=f"{hostname} is drained")
    if window is not None and window.begin - lead_s <= now < window.end:
        begins = "is under way" if window.begin <= now else f"begins in {window.begin - now:.0f} s"
        return Refusal(Reason.MAINTENANCE, hostname, now, note=f"maintenance of {hostname} {begins}")
    violated = limits.violated(host.agent)
    if violated is not None:
        return Refusal(Reason.CONSTRAINT, hostname, now, note=limits.explain(violated, host.agent))
    want, kind = app.resources, host.accepts(app)
    have = host.of(kind)
    if want.cpus_m > have.cpus_m:
        return Refusal(Reason.CPUS, hostname, now, want.cpus_m / 1000, have.cpus_m / 1000, kind=kind)
    if want.mem_mib > have.mem_mib:
        return Refusal(Reason.MEMORY, hostname, now, want.mem_mib, have.mem_mib, kind=kind)
    if want.disk_mib > have.disk_mib:
        return Refusal(Reason.DISK, hostname, now, want.disk_mib, have.disk_mib, kind=kind)
    if want.gpus > have.gpus:
        return Refusal(Reason.GPUS, hostname, now, want.gpus, have.gpus, kind=kind)
    if app.ports:
        taken = [port for port in _fixed_ports(app) if port not in have.ports]
        if taken:
            return Refusal(Reason.PORTS, hostname, now, note=_not_free(taken, have.ports, hostname))
        if len(app.ports) > len(have.ports):
            return Refusal(Reason.PORTS, hostname, now, len(app.ports), len(have.ports), kind=kind)
    return None


def choose_ports(app: App, host: Host) -> tuple[int, ...] | None:
    """Return a host port for each of the app's ports, in their order, or None where the host lacks one."""
    if not app.ports:
        return ()
    fixed, free = _fixed_ports(app), host.of(host.accepts(app)).ports
    if any(port not in free for port in fixed) or len(set(fixed)) != len(fixed):
        return None
    dynamic = _pick(free, len(app.ports) - len(fixed), host.first_port, frozenset(fixed))
    if dynamic is None:
        return None
    source = iter(dynamic)
    return tuple(port.host_port or next(source) for port in app.ports)


def next_port(app: App, ports: Sequence[int], first: int) -> int:
    """Return from where on dynamic ports are taken after an instance was given ``ports``, where that was ``first`` before.

    One that the app names leads nowhere: after each launch of it the same dynamic ones would follow, of tasks just ended as well.
    """
    dynamic = [given for port, given in zip(app.ports, ports, strict=True) if not port.host_port]
    return dynamic[-1] + 1 if dynamic else first


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
