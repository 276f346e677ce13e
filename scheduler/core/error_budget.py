"""How much of an app's error budget is left (``eratos.errorBudget``). Pure.

The budget is a share of the requests of a rolling window: with an objective of 99.9 % one of 1,000 may fail. What is left is
given as a share of it, 1 while nothing failed, and 0 or less once it is spent. The burn rate is how many times faster than the
budget allows requests failed of late; at 1 the budget lasts exactly for the window (Google's SRE workbook, chapter 5).

Balancers count from their own start and begin anew with each process; what comes between two looks at one of them counts. A
figure that is missing neither spends nor earns. What a balancer counted while it was not asked comes with its next answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from eratos.marathon.error_budget import ErrorBudget

from .records import BudgetRecord

#: The window is counted in so many steps, so it ends by one of them at a time.
STEPS: Final = 60
#: Steps of which the burn rate is made, the present one included: a twelfth of the window.
RECENT_STEPS: Final = 5
#: Once spent, the budget counts as spent until so much of it is left: at the edge it would change with every request.
RESTORED: Final = 0.1
#: What a balancer counts is a difference from what it said last, if that is no longer ago.
KEPT_S: Final = 3600.0
#: An objective's share is in thousandths of a percent.
_WHOLE: Final = 100_000
_ROUNDING: Final = 1e-9


class ServiceFigures(NamedTuple):
    """What one balancer has answered for a service since its process began, whatever server it asked, or none."""

    balancer: str
    service: str  #: its name in Consul
    requests: int  #: that were answered
    failed: int  #: those of them that got a 5xx, from an instance or for want of one, or no whole answer


class Count(NamedTuple):
    """What came in one step of the window."""

    at: int  #: when the step began; seconds since the epoch
    requests: int
    failed: int


class Balance(NamedTuple):
    """How a budget stands."""

    requests: int  #: of the window
    failed: int
    allowed: float  #: requests that may fail, of so many
    remaining: float | None  #: share of the budget that is left, below 0 where more than all is spent; None: too few requests
    burn_rate: float  #: of late
    until: float | None  #: when it is whole again if nothing fails any more; None: it is whole


#: Of which nothing was counted.
UNKNOWN: Final = Balance(0, 0, 0.0, None, 0.0, None)


@dataclass(slots=True)
class Ledger:
    """What one app's requests came to of late, and whether its budget is spent."""

    spent: bool = False  #: and not restored since
    balance: Balance = UNKNOWN  #: when it was looked at last
    missing: str = ""  #: why it is not all there is; empty: it is
    counts: deque[Count] = field(default_factory=lambda: deque(maxlen=2 * STEPS))
    changed: bool = False  #: since it was stored
    stored_at: float = 0.0
    #: (balancer, service) -> when it said so, how many requests it had answered, and how many of them had failed
    _last: dict[tuple[str, str], tuple[float, int, int]] = field(default_factory=dict)

    def add(self, now: float, budget: ErrorBudget, figures: Iterable[ServiceFigures], missing: str) -> None:
        """Take in a further look; ``figures`` are those of the app's services."""
        self.missing = missing
        for key in [key for key, (at, _, _) in self._last.items() if at <= now - min(KEPT_S, budget.window_s)]:
            del self._last[key]
        requests = failed = 0
        for balancer, service, answered, broken in figures:
            known = self._last.get((balancer, service))
            self._last[balancer, service] = now, answered, broken
            if known is None:
                continue  # it counted before anybody looked
            before = known[1:]
            if answered < before[0] or broken < before[1]:
                before = 0, 0  # another process counts
            requests += answered - before[0]
            failed += broken - before[1]
        self._count(now, budget, requests, failed)
        self.settle(now, budget)

    def _count(self, now: float, budget: ErrorBudget, requests: int, failed: int) -> None:
        start = _start(now, budget)
        while self.counts and self.counts[0].at <= start - budget.window_s:
            self.counts.popleft()
        if not requests and not failed:
            return
        self.changed = True
        if self.counts and self.counts[-1].at >= start:
            at, *last = self.counts.pop()
            self.counts.append(Count(at, last[0] + requests, last[1] + failed))
        else:
            self.counts.append(Count(start, requests, failed))

    def settle(self, now: float, budget: ErrorBudget) -> None:
        """Find how the budget stands now, and whether it counts as spent."""
        self.balance = self._balance(now, budget)
        remaining = self.balance.remaining
        spent = remaining is not None and (remaining <= 0 or (self.spent and remaining < RESTORED - _ROUNDING))
        self.changed |= spent != self.spent
        self.spent = spent

    def _balance(self, now: float, budget: ErrorBudget) -> Balance:
        start, tolerated = _start(now, budget), budget.tolerated
        window = [count for count in self.counts if count.at > start - budget.window_s]
        recent = [count for count in window if count.at > start - RECENT_STEPS * _step_s(budget)]
        requests, failed = sum(count.requests for count in window), sum(count.failed for count in window)
        remaining = None if requests < budget.min_requests else 1 - failed * _WHOLE / (requests * tolerated)
        came, broken = sum(count.requests for count in recent), sum(count.failed for count in recent)
        burn_rate = broken * _WHOLE / (came * tolerated) if came else 0.0
        ends = [count.at + budget.window_s for count in window if count.failed]
        return Balance(requests, failed, requests * tolerated / _WHOLE, remaining, burn_rate, ends[-1] if ends else None)

    def record(self, app_id: str) -> BudgetRecord:
        """Return it as it is stored."""
        last = tuple((balancer, service, *said) for (balancer, service), said in self._last.items())
        return BudgetRecord(app_id, tuple((*count,) for count in self.counts), last, self.spent)

    @classmethod
    def of(cls, record: BudgetRecord) -> Ledger:
        """Return what was stored."""
        last = {(balancer, service): (at, requests, failed) for balancer, service, at, requests, failed in record.last}
        return cls(record.spent, counts=deque((Count(*count) for count in record.counts), maxlen=2 * STEPS), _last=last)


def _step_s(budget: ErrorBudget) -> int:
    return budget.window_s // STEPS


def _start(now: float, budget: ErrorBudget) -> int:
    """Return when the step began that a moment is in."""
    step_s = _step_s(budget)
    return int(now // step_s) * step_s
