"""Await a condition: the only place in the tests that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: No wait of a test ends sooner: a machine that is busy with other things is not a fault, and what comes at once costs nothing.
PATIENCE_S = 60.0
#: Between two looks of a wait that has just begun, and of one where each moment counts.
MOMENT_S = 0.05
#: Between two looks of a long wait: what looks (docker, a master's whole state) takes the CPU from what is waited for.
LONGEST_S = 0.25


def until(condition: Callable[[], T], within_s: float, what: str, pace_s: float | None = None) -> T:
    """Return the condition's first true value; AssertionError with its last value or error after ``within_s`` seconds.

    It waits for :data:`PATIENCE_S` at least. Pauses are a twentieth of what was waited, from :data:`MOMENT_S` to
    :data:`LONGEST_S`, or ``pace_s`` where that is given.

    What must not be for a moment either, the condition tells by ``pytest.fail``, which ends the wait at once; such a wait
    states its pace.
    """
    within_s = max(within_s, PATIENCE_S)
    began = time.monotonic()
    deadline = began + within_s
    while True:
        last: object
        try:
            value = condition()
            if value:
                return value
            last = value
        except AssertionError as error:
            last = error
        except OSError as error:  # a part of the cluster that is just coming up
            last = f"{type(error).__name__}: {error}"
        now = time.monotonic()
        if now > deadline:
            raise AssertionError(f"waited {within_s} s in vain until {what}; last: {last}")
        time.sleep(min(max((now - began) / 20, MOMENT_S), LONGEST_S) if pace_s is None else pace_s)
