"""The clock that the loop hands to the core: seconds since the epoch that never jump."""

from __future__ import annotations

import time


class Clock:
    """Wall time at the process's start plus the monotonic time since: reads like a date, runs like a stopwatch."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        return self._offset + time.monotonic()
