"""How many instances an app should have by what balancers and executors measure of it (``eratos.autoscale``). Pure.

The formula is that of Kubernetes' HorizontalPodAutoscaler: as many as are needed for each to have its target of what there is
in all, unless what each has now differs from it by the tolerance at most. Of several targets the one that asks for most counts.

**A figure that is missing never scales down** (PaaSTA's rule). What is known is then the least there can be: it may ask for more
instances, and for no fewer. It is missing where a balancer is silent or has vanished, a ready instance is at no balancer, or
not all of the time was watched over which figures are averaged. CPU is measured by executors (:mod:`usage`): it is missing where
one says nothing of an instance, and where an instance that has begun is not ready.

What was wanted at any moment of the stabilization window is the least to scale down to. What was there before, because a user
set it or the scheduler was another one then, counts as wanted at that moment.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from eratos.common.times import timestamp
from eratos.marathon.autoscale import BALANCED, TARGETS, Autoscale

from .gates import ServerFigures
from .usage import UsageMeter
from .window import Sample, Window

#: A balancer that is registered no more, and so may still serve, is missed for so long.
MISSED_S: Final = 300.0
#: Default steps: up as the HorizontalPodAutoscaler's, down more slowly than its.
STEP_UP_LEAST: Final = 4
STEP_DOWN_SHARE: Final = 4
_ROUNDING: Final = 1e-9


class Look(NamedTuple):
    """What balancers said of an app at one moment."""

    servers: Sequence[ServerFigures]  #: of its instances
    queues: Mapping[str, int]  #: balancer -> requests that wait there for any of its servers
    answered: Collection[str]  #: balancers that said something
    missing: str  #: why it is not all there is; empty: every balancer has answered
    ready: Sequence[Collection[str]]  #: of each ready instance what balancers call its servers


class Measured(NamedTuple):
    """What was measured of the whole app of late."""

    values: Mapping[str, float]  #: by the names in :data:`TARGETS`; the least there can be, where something is missing
    missing: str  #: of what balancers count; empty: nothing is
    unmeasured: str = ""  #: of what executors measure; empty: nothing is

    def lacks(self, name: str) -> str:
        """Say what is missing of one target's figure; empty: nothing is."""
        return self.missing if name in BALANCED else self.unmeasured

    def lacking(self, policy: Autoscale) -> str:
        """Say what is missing of all that an app is scaled by."""
        return "; ".join(dict.fromkeys(filter(None, map(self.lacks, policy.target.stated))))


@dataclass(slots=True)
class Meter:
    """Adds up what balancers count. They count from their own start, and begin anew with each process."""

    _window: Window = field(default_factory=lambda: Window("balancers", BALANCED))
    _counts: dict[str, tuple[float, dict[str, int]]] = field(default_factory=dict)  #: balancer -> when it said, server -> what

    def add(self, now: float, look: Look) -> None:
        """Take in a further look."""
        self._window.begins_anew(now)
        gone = self._gone(now, look.answered)
        missing = [look.missing] if look.missing else gone
        rate = self._rate(now, look, missing)
        queue = float(sum(look.queues.values()) + sum(row.queued for row in look.servers))
        concurrency = float(sum(look.queues.values()) + sum(row.under_way for row in look.servers))
        there = {row.server for row in look.servers}
        nowhere = sum(there.isdisjoint(servers) for servers in look.ready)
        if nowhere and not look.missing:
            missing.append(f"{nowhere} of {len(look.ready)} ready instances are at no balancer")
        values = {"requests_per_second": rate, "concurrency": concurrency, "queue": queue}
        self._window.add(Sample(now, values, "; ".join(missing)))

    def _gone(self, now: float, answered: Collection[str]) -> list[str]:
        """Forget balancers that have said nothing for long, and say which others have not."""
        for balancer in [name for name, (at, _) in self._counts.items() if at <= now - MISSED_S]:
            del self._counts[balancer]
        silent = {name: now - at for name, (at, _) in self._counts.items() if name not in answered}
        return [f"{name} said something {ago:.0f} s ago, and nothing now" for name, ago in sorted(silent.items())]

    def _rate(self, now: float, look: Look, missing: list[str]) -> float:
        """Return requests a second since each balancer's last answer."""
        rate = 0.0
        for balancer in look.answered:
            counts = {row.server: row.came for row in look.servers if row.balancer == balancer}
            known = self._counts.get(balancer)
            self._counts[balancer] = now, counts
            if known is None or known[0] >= now:
                missing.append(f"{balancer} has answered once only")
                continue
            before = known[1]
            # A server that was not there begins with nothing, and so does another process.
            since = (came - before.get(server, 0) if came >= before.get(server, 0) else came for server, came in counts.items())
            rate += sum(since) / (now - known[0])
        return rate

    def measured(self, now: float) -> Measured:
        """Return the averages of late, and why they are not all there is."""
        return Measured(*self._window.averages(now))


class Wish(NamedTuple):
    """What one moment's figures ask for, whatever was before."""

    instances: int
    why: str


def wish(policy: Autoscale, instances: int, measured: Measured) -> Wish:
    """Return how many instances an app that has some should have, within its bounds, and by which figure."""
    found = [_by_target(policy, name, target, instances, measured) for name, target in policy.target.stated.items()]
    count, why = max(found, key=lambda one: one.instances)
    return Wish(policy.clamped(count), why)


def _by_target(policy: Autoscale, name: str, target: float, instances: int, measured: Measured) -> Wish:
    value = measured.values[name]
    why = f"{value:.4g} {TARGETS[name]} at a target of {target:g} each"
    ratio = value / (instances * target)
    if abs(ratio - 1) <= policy.tolerance + _ROUNDING:
        return Wish(instances, f"{why}, within the tolerance")
    if ratio < 1 and (missing := measured.lacks(name)):
        return Wish(instances, f"{why}, and not all is known: {missing}")
    if ratio < 1 and name == "queue":
        return Wish(0, why)  # an empty queue says nothing of how many are too many
    return Wish(math.ceil(value / target), why)


class Advice(NamedTuple):
    """How many instances an app is to have now, and why."""

    at: float
    before: int
    instances: int
    wish: Wish
    holds: str = ""  #: why it is not as many as are wished; empty: it is
    until: float | None = None  #: when that may end; None: nobody knows

    @property
    def text(self) -> str:
        """Say it to people."""
        return f"{self.wish.instances} instances wanted because {self.wish.why}" + (f"; {self.holds}" if self.holds else "")


@dataclass(slots=True)
class Scaler:
    """Watches one app. Not stored: a new leader's begins with what there is, and scales down after a whole window alone."""

    meter: Meter = field(default_factory=Meter)
    usage: UsageMeter = field(default_factory=UsageMeter)
    instances: int | None = None  #: that the app had when it was looked at last
    changed_at: float = -math.inf  #: when that was seen to change
    last: Advice | None = None
    _wishes: deque[tuple[float, int]] = field(default_factory=deque)  #: when how many were wanted, each fewer than before it

    def measured(self, now: float) -> Measured:
        """Return what was measured of late."""
        counted, used = self.meter.measured(now), self.usage.averages(now)
        return Measured({**counted.values, **used.values}, counted.missing, used.missing)

    def advise(self, policy: Autoscale, instances: int, now: float) -> Advice:
        """Return what to do with an app that has so many instances, one at least. To be called after each look."""
        if instances != self.instances:
            if self.instances is not None:
                self.changed_at = now
            self.instances = instances
            if self.last is None or instances != self.last.instances:
                self._note(now, instances)  # somebody else set it
        wanted = wish(policy, instances, self.measured(now))
        self._note(now, wanted.instances)
        while self._wishes[0][0] < now - policy.stabilization_window_seconds:
            self._wishes.popleft()
        since, least = self._wishes[0]
        aim, holds, until = wanted.instances, "", None
        if aim < instances and least > aim:
            aim, until = min(least, instances), since + policy.stabilization_window_seconds
            holds = f"no fewer than {aim} before {timestamp(until)}"
        if aim != instances and now < self.changed_at + policy.cooldown_seconds:
            aim, until = instances, self.changed_at + policy.cooldown_seconds
            holds = f"no change before {timestamp(until)}"
        stepped = bounded(policy, instances, aim)
        if stepped != aim:
            holds, until = f"{stepped} for now, as one step is from {instances} to {stepped} at most", None
        self.last = Advice(now, instances, stepped, wanted, holds, until)
        return self.last

    def _note(self, now: float, count: int) -> None:
        while self._wishes and self._wishes[-1][1] <= count:
            self._wishes.pop()
        self._wishes.append((now, count))


def bounded(policy: Autoscale, instances: int, aim: int) -> int:
    """Return how far towards what is wanted one step may go, within the bounds."""
    up = policy.step_up or max(STEP_UP_LEAST, instances)
    down = policy.step_down or max(1, instances // STEP_DOWN_SHARE)
    return policy.clamped(min(max(aim, instances - down), instances + up))
