"""Spares what stays from the garbage collector. Called by the loop after each step.

Records of instances, offers and agents live long, refer to each other in no circle, and are many: a full collection would
walk through all of them, in the middle of a step and with every thread waiting, for seconds where there are a million. So
they are put aside now and then, which is done in no time; when nothing refers to them any more they go all the same.
"""

from __future__ import annotations

import gc

#: Instances more than the last time, at which they are put aside.
EACH = 20_000


class LongLived:
    """How many instances were put aside."""

    def __init__(self) -> None:
        self._instances = 0

    def settle(self, instances: int) -> None:
        """Put aside what there is, if there are many more instances than the last time."""
        if instances >= self._instances + EACH:
            gc.collect(1)  # what is garbage already must not stay for ever
            gc.freeze()
        elif instances > self._instances // 2:
            return
        self._instances = instances
