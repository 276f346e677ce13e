"""Collects what a driver emits, on whatever thread, so that a test can await it."""

from __future__ import annotations

import threading
from typing import Any, TypeVar

T = TypeVar("T")

#: Longest wait; only a failing test waits so long.
WAIT_S = 60.0


class Collector:
    """Pass :meth:`emit` to a driver."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._events: list[Any] = []

    def emit(self, event: Any) -> None:
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def of(self, kind: type[T]) -> list[T]:
        """Return the events of one type so far."""
        with self._changed:
            return [event for event in self._events if isinstance(event, kind)]

    def await_event(self, kind: type[T], count: int = 1) -> T:
        """Return the ``count``-th event of a type, once it arrived. AssertionError in vain."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.of(kind)) >= count, WAIT_S):
                raise AssertionError(f"waited in vain for {kind.__name__} number {count}; so far: {self._events}")
            return self.of(kind)[count - 1]
