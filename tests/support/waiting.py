"""Await a condition: the only place in the tests that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: No wait of a test ends sooner: a machine that is busy with other things is not a fault, and what comes at once costs nothing.
PATIENCE_S = 60.0


def until(condition: Callable[[], T], within_s: float, what: str, pace_s: float = 0.05) -> T:
    """Return the condition's first true value; AssertionError with its last value or error after ``within_s`` seconds.

    It waits for :data:`PATIENCE_S` at least.

    What must not be for a moment either, the condition tells by ``pytest.fail``, which ends the wait at once.
    """
    within_s = max(within_s, PATIENCE_S)
    deadline = time.monotonic() + within_s
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
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within_s} s in vain until {what}; last: {last}")
        time.sleep(pace_s)
