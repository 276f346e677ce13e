"""What looks at something add up to, averaged over the last seconds, and whether that is all there is. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

#: Figures are averaged over so long.
AVERAGE_S: Final = 20.0
#: Without a look for so long nothing is known.
STALE_S: Final = 10.0


class Sample(NamedTuple):
    """What one look adds up to, for the whole app."""

    at: float
    values: Mapping[str, float]
    missing: str  #: why it is not all there is; empty: it is


class Averages(NamedTuple):
    """What was seen of late."""

    values: Mapping[str, float]  #: the least there can be, where something is missing
    missing: str  #: empty: nothing is


@dataclass(slots=True)
class Window:
    """The looks of the last seconds."""

    whom: str  #: is looked at, for people
    names: tuple[str, ...]  #: of the values
    since: float | None = None  #: when the first look was
    _samples: deque[Sample] = field(default_factory=deque)

    def begins_anew(self, now: float) -> None:
        """Forget everything where nobody has looked for too long. To be called before a look is taken in."""
        if self.since is None or (self._samples and now - self._samples[-1].at > STALE_S):
            self.since = now
            self._samples.clear()

    def add(self, sample: Sample) -> None:
        """Take in a further look."""
        self._samples.append(sample)
        while self._samples[0].at <= sample.at - AVERAGE_S:
            self._samples.popleft()

    def averages(self, now: float) -> Averages:
        """Return the averages of late, and why they are not all there is."""
        if self.since is None or not self._samples or self._samples[-1].at <= now - STALE_S:
            return Averages(dict.fromkeys(self.names, 0.0), f"{self.whom} were not asked of late")
        watched = min(now - self.since, AVERAGE_S)
        missing = next((sample.missing for sample in reversed(self._samples) if sample.missing), "")
        if watched < AVERAGE_S:
            so_far = f"{self.whom} are watched for {watched:.0f} s, of {AVERAGE_S:.0f}"
            missing = f"{so_far}; {self._samples[-1].missing}" if self._samples[-1].missing else so_far
        # Nothing is what is known to have been in the time that was not watched.
        part = watched / AVERAGE_S / len(self._samples)
        return Averages({name: part * sum(sample.values[name] for sample in self._samples) for name in self.names}, missing)
