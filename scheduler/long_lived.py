"""Spares what stays from the garbage collector. Called by the loop during and after each step.

Apps and records of instances, offers and agents live long, refer to each other in no circle, and are many: a full collection
would walk through all of them, in the middle of a step and with every thread waiting, for seconds where there are a million
instances, for a tenth of a second where there are two thousand apps. So they are put aside now and then, and at first with all
that the program consists of, which is done in no time; when nothing refers to them any more they go all the same.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: Instances more than the last time, at which they are put aside.
EACH = 20_000
#: Instances that an app counts for: its definition is some fifty objects, one of each of its fields.
APP = 20


class LongLived:
    """How much was put aside, in instances."""

    def __init__(self) -> None:
        self._settled: int | None = None

    def settle(self, instances: int, apps: int) -> None:
        """Put aside what there is, the first time and if there is much more than the last time."""
        found = instances + APP * apps
        if self._settled is None or found >= self._settled + EACH:
            gc.collect(1)  # what is garbage already must not stay for ever
            gc.freeze()
        elif found > self._settled // 2:
            return
        self._settled = found


@contextmanager
def uncollected() -> Iterator[None]:
    """Have nothing collected meanwhile, in no thread.

    A pass makes records and launches by the hundred thousand, all of which stay. A collector that is called for every so many new
    objects would walk through them several times before the pass ends, for nothing, and the longer the more there are: that made
    an instance on 50,000 agents nearly twice as dear as one on 1,000 (``./dev bench placement``).
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
