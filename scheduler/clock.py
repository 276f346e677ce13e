"""The clock that the loop hands to the core: seconds since the epoch that never go back. See ADR 11."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

#: How fast it runs while it is ahead of the machine's clock, that is after that was put back.
AHEAD_PACE: Final = 0.5


class Clock:
    """Reads what the machine's clock reads, forward steps included; where that was put back, it runs slower until they agree.

    May be called from several threads.
    """

    def __init__(self, wall: Callable[[], float] = time.time, passed: Callable[[], float] = time.monotonic) -> None:
        """``wall`` gives seconds since the epoch, ``passed`` seconds that no step of the wall's touches."""
        self._wall = wall
        self._passed = passed
        self._guard = threading.Lock()
        self._now = wall()
        self._at = passed()

    def __call__(self) -> float:
        with self._guard:
            at = self._passed()
            self._now = max(self._wall(), self._now + (at - self._at) * AHEAD_PACE)
            self._at = at
            return self._now
