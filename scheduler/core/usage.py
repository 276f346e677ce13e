"""What executors say that tasks take of CPU and memory. Pure; how the number of instances follows it is :mod:`autoscale`'s."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from .window import Averages, Sample, Window

#: The name of the target that goes by it (eratos.marathon.autoscale.TARGETS).
CPU: Final = "cpu"


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


class Share(NamedTuple):
    """What is known of one instance that has a task."""

    value: float | None  #: of the CPU that it may use; None: not known
    why: str = ""  #: it is not known


@dataclass(slots=True)
class UsageMeter:
    """Adds up which part of the CPU that they may use an app's instances use.

    It is a sum, as what balancers count is: what is known of some is the least that all of them take. So a missing figure may
    ask for more instances, and never for fewer.
    """

    known: int = 0  #: instances whose share the last look knew
    _window: Window = field(default_factory=lambda: Window("executors", (CPU,)))

    def add(self, now: float, shares: Sequence[Share]) -> None:
        """Take in a further look: the shares of all instances that have a task and are to go on."""
        self._window.begins_anew(now)
        known = [share.value for share in shares if share.value is not None]
        unknown = [share.why for share in shares if share.value is None]
        missing = f"the CPU of {len(unknown)} of {len(shares)} instances is not known: {unknown[0]}" if unknown else ""
        self.known = len(known)
        self._window.add(Sample(now, {CPU: sum(known)}, missing))

    def averages(self, now: float) -> Averages:
        return self._window.averages(now)
