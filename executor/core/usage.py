"""What tasks take of CPU and memory: of each the last two readings, and what its share of the CPU is between them. Pure.

A figure that is not known is None, and a task without a reading of late has no figures at all: nobody is to take that for
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from eratos.common.payload import Container, TaskPayload

from .container import MIB
from .task import Phase, Task

#: From one reading of all tasks to the next.
PERIOD_S: Final = 5.0
#: A reading that is older says nothing of now.
STALE_S: Final = 3 * PERIOD_S
#: Between two readings that are closer nothing is distinguished from chance.
_LEAST_S: Final = 0.5
#: In these nothing of a task runs.
_NOT_THERE: Final = frozenset({Phase.RESOLVING, Phase.STARTING, Phase.EXAMINING})


class Reading(NamedTuple):
    """What a runtime knows of a task at one moment."""

    at: float  #: seconds of a clock that never goes back
    cpu_s: float  #: CPU time of all that the task has ever run
    mem_bytes: int  #: its working set: what it holds, less the cached files that the kernel can drop at once


class Limits(NamedTuple):
    """What a task may take; None: as much as there is, or nobody said."""

    cpus: float | None
    mem_bytes: int | None


class Usage(NamedTuple):
    """What a task takes, as of the last reading."""

    app_id: str
    age_s: float  #: of the reading
    cpu_s: float
    cpus: float | None  #: cores in use, on average between the last two readings; None: there is one only
    mem_bytes: int
    limits: Limits

    def cpu_share(self) -> float | None:
        """Return which part of what it may take it takes of CPU; None: not known."""
        return self.cpus / self.limits.cpus if self.cpus is not None and self.limits.cpus else None

    def to_json(self) -> dict[str, Any]:
        """Return it as the scheduler gets it."""
        return {
            **{"ageSeconds": self.age_s, "cpus": self.cpus, "cpusLimit": self.limits.cpus},
            **{"memBytes": self.mem_bytes, "memLimitBytes": self.limits.mem_bytes},
        }


def limits(payload: TaskPayload) -> Limits:
    """Return what a task may take: its hard limits, and where it has none of CPU its ``cpus``, which it gets in any case."""
    parts: tuple[TaskPayload | Container, ...] = payload.containers or (payload,)
    cpus_m = sum(part.cpus_limit_m or part.resources.cpus_m for part in parts)
    mems = [part.resources.mem_mib if part.mem_limit_mib == 0 else part.mem_limit_mib for part in parts]
    mem_mib = None if None in mems else sum(mem for mem in mems if mem is not None)
    return Limits(cpus_m / 1000 if cpus_m else None, mem_mib * MIB if mem_mib else None)


def there(tasks: Iterable[Task]) -> Iterator[Task]:
    """Yield the tasks of which something runs that can be looked at."""
    return (task for task in tasks if task.phase not in _NOT_THERE and not task.payload.sweeps)


class UsageBook:
    """The last two readings of each task. Not thread-safe."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[TaskPayload, Reading, float | None]] = {}

    def take(self, payloads: Iterable[TaskPayload], readings: Mapping[str, Reading]) -> None:
        """Take in a round of readings. Tasks that are not among ``payloads`` are forgotten."""
        found: dict[str, tuple[TaskPayload, Reading, float | None]] = {}
        for payload in payloads:
            known, new = self._of.get(payload.task_id), readings.get(payload.task_id)
            if new is not None:
                found[payload.task_id] = payload, new, _cpus(known[1], new) if known is not None else None
            elif known is not None:
                found[payload.task_id] = known
        self._of = found

    def usages(self, now: float) -> dict[str, Usage]:
        """Return what is known of each task that was read of late."""
        return {
            task_id: Usage(payload.app_id, now - last.at, last.cpu_s, cpus, last.mem_bytes, limits(payload))
            for task_id, (payload, last, cpus) in self._of.items()
            if now - last.at <= STALE_S
        }


def _cpus(before: Reading, after: Reading) -> float | None:
    """Return the cores in use between two readings; None: that is not known.

    The CPU time goes back where it is no longer counted of what has ended.
    """
    if after.at - before.at < _LEAST_S or after.cpu_s < before.cpu_s:
        return None
    return (after.cpu_s - before.cpu_s) / (after.at - before.at)
