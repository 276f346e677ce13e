"""Deadlines as data: what is due when. A heap, so that a tick costs nothing while nothing is due."""

from __future__ import annotations

import enum
import heapq
from typing import NamedTuple


class TimerKind(enum.Enum):
    """What is to be done; what the key names stands beside it."""

    LAUNCH = "launch"  #: ask about a start, or give it up: instance
    KILL = "kill"  #: repeat a kill: instance
    UNREACHABLE = "unreachable"  #: replace what is out of reach, then give it up: instance
    UNKNOWN = "unknown"  #: kill tasks that no record stands for
    DELAY = "delay"  #: an app's back-off ends: app
    WINDOW = "window"  #: a host's maintenance comes near, or ends: agent
    DEPLOYMENT = "deployment"  #: it has come no further for long: deployment
    GATE = "gate"  #: a step of a canary has been ready for long enough: app
    INSTANT = "instant"  #: a schedule's next one: job
    SILENT = "silent"  #: hosts have had the time to offer something: app with one instance on each
    RUN = "run"  #: it has waited for as long as it may: run
    VOLUME = "volume"  #: go on with one that is to be destroyed, or whose last task may still write: volume
    RELAUNCH = "relaunch"  #: the host of its volumes has been away for long: waiting instance
    MOVE = "move"  #: it has come no further for long: slot
    DRAIN = "drain"  #: its deadline: host name
    SWEEP = "sweep"  #: launch it again, or give it up: host name
    RECONCILE = "reconcile"
    REBALANCE = "rebalance"
    REVIVE = "revive"  #: ask for offers again


class Timer(NamedTuple):
    """One deadline; setting it again moves it."""

    kind: TimerKind
    key: str = ""  #: an id, by the kind


class Timers:
    """Deadlines by timer."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._due: dict[Timer, tuple[float, int]] = {}
        self._sequence = 0

    def set(self, timer: Timer, at: float) -> None:
        self._sequence += 1
        self._due[timer] = (at, self._sequence)
        heapq.heappush(self._heap, (at, self._sequence, timer))
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [(due, seq, t) for t, (due, seq) in self._due.items()]
            heapq.heapify(self._heap)

    def clear(self, timer: Timer) -> None:
        self._due.pop(timer, None)

    def __contains__(self, timer: Timer) -> bool:
        return timer in self._due

    def next_at(self) -> float | None:
        """Return the earliest deadline, or None."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][:2]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> list[Timer]:
        """Remove and return those whose deadline has come, earliest first."""
        due: list[Timer] = []
        while (at := self.next_at()) is not None and at <= now:
            timer = heapq.heappop(self._heap)[2]
            del self._due[timer]
            due.append(timer)
        return due
