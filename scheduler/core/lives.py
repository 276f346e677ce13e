"""How an app's tasks fare: how long they take to start, to be ready and to stop, and how many ended unasked.

Counted since this scheduler leads; stored nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Total:
    """Durations of one kind."""

    count: int = 0
    sum_s: float = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.sum_s += max(0.0, seconds)


@dataclass(slots=True)
class Lives:
    """What the tasks of an app have gone through."""

    restarts: int = 0  #: tasks that ended although nobody had asked for it
    start: Total = field(default_factory=Total)  #: from the launch until a task runs, pulls included
    ready: Total = field(default_factory=Total)  #: from the launch until it is ready for the first time
    drain: Total = field(default_factory=Total)  #: from the wish to stop it to its end, its process' grace included
