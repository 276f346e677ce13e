"""When to report a phase of a task that takes long: what it waits for, once each, and more and more seldom. Pure."""

from __future__ import annotations

from dataclasses import dataclass

#: A phase that takes longer is reported to the scheduler; changes of what it waits for, after twice as long each time.
SLOW_S = 2.0
_SLOW_MOST_S = 60.0


@dataclass(slots=True)
class Progress:
    """The reports of one phase. Mutable; times are seconds of the executor's clock."""

    begun_at: float = 0.0
    reported: str = ""  #: what the phase waited for when that was last reported
    pause_s: float = SLOW_S  #: from one report to the next
    _due_at: float = 0.0

    @classmethod
    def begin(cls, now: float) -> Progress:
        return cls(begun_at=now, _due_at=now + SLOW_S)

    def due(self, waits_for: str, *, repeats: bool) -> float | None:
        """Return when to report what the phase waits for, None where there is nothing new; with ``repeats`` old news count."""
        return self._due_at if repeats or waits_for not in ("", self.reported) else None

    def report(self, waits_for: str, now: float) -> None:
        """Note that it is reported."""
        self.reported = waits_for
        self.pause_s = min(2 * self.pause_s, _SLOW_MOST_S)
        self._due_at = now + self.pause_s
