"""Whether the new instances of an app answer well enough to pass a gate of its canary, by what balancers count. Pure.

Counted is what comes between two looks at one balancer's server, from when the app came to the gate: balancers count from their
own start, and begin anew with each process. Requests that fail fail the gate as soon as they are too many; how long answers take
is judged when the time of the gate is over, as first answers take longer. What is missing, because a balancer says nothing or
too few requests came, neither passes a gate nor fails it.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from eratos.marathon.labels import CANARY_ANSWER, CANARY_ERRORS, CANARY_REQUESTS, Demands


class ServerFigures(NamedTuple):
    """What one balancer has counted of one of its servers since its process began."""

    balancer: str
    server: str  #: id of the service in Consul
    requests: int  #: that were answered, or ought to have been
    failed: int  #: those of them that got a 5xx, or no whole answer
    answer_ms: int  #: how long an answer took of late, on average
    came: int = 0  #: requests, in mode tcp connections, that were sent there
    under_way: int = 0  #: there or waiting for it now
    queued: int = 0  #: those of them that wait


class QueueFigures(NamedTuple):
    """What waits at one balancer for any server of a service."""

    balancer: str
    service: str  #: its name in Consul
    requests: int


@dataclass(slots=True)
class Counted:
    """What balancers counted of an app's new instances since it came to its gate."""

    requests: int = 0
    failed: int = 0
    time_ms: int = 0  #: that all requests took together
    missing: str = "no balancer was asked yet"  #: why it is not all there is; empty: it is
    overdue: bool = False  #: the time of the gate was over before it could be judged
    _last: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)  #: (balancer, server) -> requests, failed

    def add(self, figures: Iterable[ServerFigures], servers: Collection[str], missing: str) -> None:
        """Take in a further look; ``servers`` are those of the app's new instances."""
        self.missing = missing
        for balancer, server, requests, failed, answer_ms, *_ in figures:
            if server not in servers:
                continue
            last = self._last.get((balancer, server), (requests, failed))
            if requests < last[0] or failed < last[1]:
                last = 0, 0  # another process counts
            self._last[balancer, server] = requests, failed
            self.requests += requests - last[0]
            self.failed += failed - last[1]
            self.time_ms += answer_ms * (requests - last[0])

    @property
    def answer_ms(self) -> float:
        """How long an answer took on average; 0 where there was none."""
        return self.time_ms / self.requests if self.requests else 0.0


class Verdict(enum.Enum):
    """What becomes of an app at a gate."""

    PASSES = "passes"
    FAILS = "fails"
    WAITS = "waits"


def judge(demands: Demands, counted: Counted, *, held: bool) -> tuple[Verdict, str]:
    """Return what becomes of an app at its gate, and why it does not pass; ``held``: the time of the gate is over."""
    enough = counted.requests >= demands.requests
    if enough and demands.errors is not None and counted.failed * 100_000 > demands.errors * counted.requests:
        share = f"{counted.failed} of {counted.requests} requests ({100 * counted.failed / counted.requests:.3g}%)"
        return Verdict.FAILS, f"failed {share} at the balancers: {CANARY_ERRORS} allows {demands.errors / 1000:g}%"
    if counted.missing:
        return Verdict.WAITS, counted.missing
    if not enough:
        return Verdict.WAITS, f"they had {counted.requests} requests through balancers, of {demands.requests} ({CANARY_REQUESTS})"
    if not held:
        return Verdict.WAITS, ""
    if demands.answer_ms is not None and counted.answer_ms > demands.answer_ms:
        took = f"took {counted.answer_ms:.0f} ms for an answer, the average of {counted.requests} requests"
        return Verdict.FAILS, f"{took}: {CANARY_ANSWER} allows {demands.answer_ms} ms"
    return Verdict.PASSES, ""
