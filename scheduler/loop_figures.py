"""What the loop counts of itself for Prometheus: how long its passes and the store's writes take. Not thread-safe."""

from __future__ import annotations

from typing import Final

from eratos.common.exposition import Family, Histogram, gauge

#: In seconds: from a pass that does nothing to a store that was away.
BOUNDS_S: Final = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)


class LoopFigures:
    """Since this process began to lead."""

    def __init__(self) -> None:
        self._passes = Histogram(
            "eratos_loop_pass_seconds", "From taking a batch of events to having done what was decided of it", BOUNDS_S
        )
        text = "Until the store had what a pass decided, waits for the store included"
        self._writes = Histogram("eratos_store_write_seconds", text, BOUNDS_S)

    def passed(self, seconds: float) -> None:
        """Count a pass of the loop."""
        self._passes.observe(seconds)

    def wrote(self, seconds: float) -> None:
        """Count the writes of a pass."""
        self._writes.observe(seconds)

    def families(self, queued: int) -> tuple[Family, ...]:
        """Return all that is counted. ``queued``: events that wait now."""
        waits = gauge("eratos_loop_queue_length", "Events and commands that wait for the loop", queued)
        return waits, self._passes.family(), self._writes.family()
