"""What executors say that tasks take of CPU and memory. Pure; how the number of instances follows it is :mod:`autoscale`'s."""

from __future__ import annotations

from typing import NamedTuple


class TaskUsage(NamedTuple):
    """Figures of one task; None: not known."""

    age_s: float  #: of the reading, when the executor said it
    cpus: float | None  #: cores in use, on average of some seconds
    cpus_limit: float | None  #: cores it may use: its hard limit, or its ``cpus``
    mem_bytes: int | None  #: its working set
    mem_limit_bytes: int | None  #: what it may hold at most

    @property
    def cpu_share(self) -> float | None:
        """Which part of the CPU that it may use it uses."""
        return self.cpus / self.cpus_limit if self.cpus is not None and self.cpus_limit else None
