"""Deadlines as data: what is due when. A heap, so that a tick costs nothing while nothing is due."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator


class Timers:
    """Deadlines by key. Setting a key again moves its deadline."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Hashable]] = []
        self._due: dict[Hashable, tuple[float, int]] = {}
        self._sequence = 0

    def set(self, key: Hashable, at: float) -> None:
        self._sequence += 1
        self._due[key] = (at, self._sequence)
        heapq.heappush(self._heap, (at, self._sequence, key))
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [(due, seq, k) for k, (due, seq) in self._due.items()]
            heapq.heapify(self._heap)

    def clear(self, key: Hashable) -> None:
        self._due.pop(key, None)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._due

    def next_at(self) -> float | None:
        """Return the earliest deadline, or None."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][:2]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> Iterator[Hashable]:
        """Yield and remove the keys whose deadline has come, earliest first; those set meanwhile wait for the next call."""
        due: list[Hashable] = []
        while (at := self.next_at()) is not None and at <= now:
            key = heapq.heappop(self._heap)[2]
            del self._due[key]
            due.append(key)
        yield from due
