"""What the runtimes do for the machine, on a few threads: the most urgent first, and nothing twice at the same time.

While a daemon hangs, every stop is asked for again and again; what waits would grow without end, and what matters most would come
last once it is back.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Mapping
from enum import IntEnum


class Urgency(IntEnum):
    """In the order in which things are done."""

    STOP = 0
    START = 1
    TIDY = 2  #: examine and remove what has ended


class WorkQueue:
    """Threads and what waits for them. Work must not raise."""

    def __init__(self, name: str, threads: int, most: Mapping[Urgency, int] | None = None) -> None:
        """``most`` says how many threads one urgency may have at a time, so that others find one."""
        self._name = name
        self._threads = threads
        self._most = dict(most or {})
        self._changed = threading.Condition()
        self._waiting: dict[Urgency, OrderedDict[Hashable, Callable[[], object]]] = {each: OrderedDict() for each in Urgency}
        self._running: Counter[Urgency] = Counter()
        self._outstanding: set[Hashable] = set()  #: keys of what waits or runs
        self._begun = 0
        self._stopped = False

    def submit(self, urgency: Urgency, key: Hashable, work: Callable[[], object]) -> bool:
        """Have something done; False: not again, for the same key waits or runs, or not any more."""
        with self._changed:
            if self._stopped or key in self._outstanding:
                return False
            self._outstanding.add(key)
            self._waiting[urgency][key] = work
            if self._begun < self._threads:
                self._begun += 1
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
            self._changed.notify_all()
            return True

    def drop(self, key: Hashable) -> bool:
        """Give up what has not begun yet; return whether there was something."""
        with self._changed:
            found = any(waiting.pop(key, None) for waiting in self._waiting.values())
            if found:
                self._outstanding.discard(key)
            return found

    def stop(self, timeout_s: float) -> None:
        """Take nothing more, forget the starts, and let the rest finish, no longer than ``timeout_s``."""
        with self._changed:
            self._stopped = True
            self._waiting[Urgency.START].clear()
            self._changed.notify_all()
            self._changed.wait_for(self._done, timeout_s)

    def _done(self) -> bool:
        return not any(self._waiting.values()) and self._running.total() == self._running[Urgency.START]

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            urgency, key, work = taken
            try:
                work()
            finally:
                with self._changed:
                    self._running[urgency] -= 1
                    self._outstanding.discard(key)
                    self._changed.notify_all()

    def _take(self) -> tuple[Urgency, Hashable, Callable[[], object]] | None:
        """Wait for something to do and return it; None: there will be nothing more."""
        with self._changed:
            while True:
                for urgency, waiting in self._waiting.items():
                    if waiting and self._running[urgency] < self._most.get(urgency, self._threads):
                        self._running[urgency] += 1
                        return urgency, *waiting.popitem(last=False)
                if self._stopped:
                    return None
                self._changed.wait()
