"""Slots that are shared fairly: so many at a time, and of those with one key fewer, so that a slow one leaves room for others."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

_LOOK_S = 0.5


class FairSlots:
    """A bound on what happens at the same time."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._taken = 0
        self._by_key: Counter[str] = Counter()
        self._changed = threading.Condition()

    @contextmanager
    def one(self, keys: Collection[str], given_up: Callable[[], bool] = lambda: False) -> Iterator[bool]:
        """Wait for a slot and hold it; yields False, without one, where ``given_up`` became true meanwhile."""
        if not self._taken_for(keys, given_up):
            yield False
            return
        try:
            yield True
        finally:
            with self._changed:
                self._taken -= 1
                self._by_key.subtract(keys)
                self._by_key += Counter()  # drops what is at zero
                self._changed.notify_all()

    def _taken_for(self, keys: Collection[str], given_up: Callable[[], bool]) -> bool:
        with self._changed:
            while not self._free(keys):
                if given_up():
                    return False
                self._changed.wait(_LOOK_S)
            self._taken += 1
            self._by_key.update(keys)
            return True

    def _free(self, keys: Collection[str]) -> bool:
        return self._taken < self._most and all(self._by_key[key] < self._most_of_one for key in keys)
