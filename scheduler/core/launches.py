"""How launches go: of an app, its failures, its back-off and what its instances wait for; of a host, the starts that failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from .mesos_types import TaskState
from .reasons import Reason, Refusal, Waiting


@dataclass(frozen=True, slots=True)
class Failure:
    """The last task of an app that ended on its own."""

    task_id: str
    state: TaskState
    message: str
    hostname: str
    at: float
    agent_id: str = ""
    started_at: float = 0.0  #: when it ran first, or else was launched
    version: str = ""  #: of the app, that it was made from


#: Refused offers that an app remembers, one for each agent; the counts go on beyond.
REFUSALS_MOST = 1000
#: A failed start makes a host a later choice for its app: each counts for so long at least.
FAILED_START_S = 600.0
#: More failed starts than these on one host say nothing more.
FAILED_STARTS_MOST = 10


@dataclass(slots=True)
class Trouble:
    """Starts that failed on a host; see :mod:`hosts`."""

    apps: dict[str, None] = field(default_factory=dict)  #: whose starts failed there
    failed_at: float = 0.0  #: the last time
    until: float = 0.0  #: it is left alone until then
    times: int = 0  #: that it was left alone in a row
    against: tuple[str, ...] = ()  #: apps for whose failures it is left alone


@dataclass(slots=True)
class Launches:
    """How an app's launches go: its back-off after failures, and what its waiting instances wait for."""

    delay_s: float = 0.0
    delayed_until: float = 0.0
    last_failure: Failure | None = None
    failing: bool = False  #: nothing that was launched after the last failure has run yet
    waiting: Waiting | None = None
    no_offer_since: float = 0.0  #: since when it waits for offers and none came
    refusals: dict[str, Refusal] = field(default_factory=dict)  #: agent id -> why its latest offer did not do
    used_at: float = 0.0  #: when an offer was last used for it; not stored
    offers_seen: int = 0  #: since the first instance of this wait began to wait
    refused: Counter[Reason] = field(default_factory=Counter)  #: of ``offers_seen``, by reason
    unmade: int = 0  #: instances that are wanted and have no record yet: they are made as others are placed
    lacks: str = ""  #: what it requires and is not there, in words
    fault: str = ""  #: what broke when the app was last looked at, in a word for the log and for explain
    #: host name -> starts that failed there, when the last one did, and how long one counts
    failed_starts: dict[str, tuple[int, float, float]] = field(default_factory=dict)

    def asked_for(self, now: float, seconds: float) -> bool:
        """Return whether offers were asked for so long ago, and nothing but these is waited for."""
        if self.waiting is Waiting.NO_OFFER:
            return now >= self.no_offer_since + seconds
        return self.waiting is Waiting.NO_FIT

    def start_failed(self, hostname: str, now: float, counts_s: float) -> None:
        """Note a failed start; each counts for ``counts_s``, and no less than ``FAILED_START_S``."""
        number = min(self.failed_on(now).get(hostname, 0) + 1, FAILED_STARTS_MOST)
        self.failed_starts.pop(hostname, None)
        self.failed_starts[hostname] = number, now, max(FAILED_START_S, counts_s)
        while len(self.failed_starts) > REFUSALS_MOST:
            del self.failed_starts[next(iter(self.failed_starts))]

    def failed_on(self, now: float) -> dict[str, int]:
        """Return how many failed starts count against each host; one is forgotten after another."""
        left = {name: number - int((now - at) / counts_s) for name, (number, at, counts_s) in self.failed_starts.items()}
        return {name: number for name, number in left.items() if number > 0}

    def refuse(self, refusals: Mapping[str, Refusal]) -> None:
        for agent_id, refusal in refusals.items():
            self.refused[refusal.reason] += 1
            self.refusals.pop(agent_id, None)  # a dict keeps the order of insertion: the oldest come first
            self.refusals[agent_id] = refusal
        while len(self.refusals) > REFUSALS_MOST:
            del self.refusals[next(iter(self.refusals))]

    def placed(self) -> None:
        """Nothing waits any more."""
        self.waiting, self.offers_seen = None, 0
        self.refusals.clear()
        self.refused.clear()
