"""Resources in integers: thousandths of a CPU, MiB, whole ports.

Mesos itself compares scalars in thousandths (src/common/values.cpp); with integers the sums here are exact and agree with it.
Floats exist only at the wire: :mod:`eratos.marathon` and the ``mesos`` packages convert.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resources:
    """An amount of scalar resources."""

    cpus_m: int = 0  #: thousandths of a CPU
    mem_mib: int = 0
    disk_mib: int = 0
    gpus: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            self.cpus_m + other.cpus_m,
            self.mem_mib + other.mem_mib,
            self.disk_mib + other.disk_mib,
            self.gpus + other.gpus,
        )

    def __sub__(self, other: Resources) -> Resources:
        return Resources(
            self.cpus_m - other.cpus_m,
            self.mem_mib - other.mem_mib,
            self.disk_mib - other.disk_mib,
            self.gpus - other.gpus,
        )

    def least(self, other: Resources) -> Resources:
        """Return, of each resource, the lesser of both amounts."""
        return Resources(
            min(self.cpus_m, other.cpus_m),
            min(self.mem_mib, other.mem_mib),
            min(self.disk_mib, other.disk_mib),
            min(self.gpus, other.gpus),
        )

    def fits(self, wanted: Resources) -> bool:
        """Return whether ``wanted`` can be taken out of this amount."""
        return (
            wanted.cpus_m <= self.cpus_m
            and wanted.mem_mib <= self.mem_mib
            and wanted.disk_mib <= self.disk_mib
            and wanted.gpus <= self.gpus
        )


class PortRanges:
    """A set of ports kept as sorted, disjoint, inclusive ranges: an agent offers thousands, a task takes a few."""

    __slots__ = ("_ranges",)

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        merged: list[tuple[int, int]] = []
        for begin, end in sorted(ranges):
            if begin > end:
                raise ValueError(f"port range {begin}-{end} ends before it begins")
            if merged and begin <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((begin, end))
        self._ranges = tuple(merged)

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        return self._ranges

    def __contains__(self, port: int) -> bool:
        return any(begin <= port <= end for begin, end in self._ranges)

    def __iter__(self) -> Iterator[int]:
        for begin, end in self._ranges:
            yield from range(begin, end + 1)

    def __len__(self) -> int:
        if len(self._ranges) == 1:
            return self._ranges[0][1] - self._ranges[0][0] + 1
        return sum(end - begin + 1 for begin, end in self._ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PortRanges) and self._ranges == other._ranges

    def __hash__(self) -> int:
        return hash(self._ranges)

    def __repr__(self) -> str:
        return f"PortRanges({', '.join(f'{b}-{e}' for b, e in self._ranges)})"

    @classmethod
    def _of(cls, ranges: tuple[tuple[int, int], ...]) -> PortRanges:
        """Return the set of ranges that are sorted and disjoint already."""
        made = cls.__new__(cls)
        made._ranges = ranges
        return made

    def without(self, ports: Iterable[int]) -> PortRanges:
        """Return the set less the given ports; ports it does not hold are ignored."""
        ranges = list(self._ranges)
        for port in ports:
            for index, (begin, end) in enumerate(ranges):
                if begin <= port <= end:
                    ranges[index : index + 1] = [r for r in ((begin, port - 1), (port + 1, end)) if r[0] <= r[1]]
                    break
        return PortRanges._of(tuple(ranges))

    def from_on(self, start: int) -> PortRanges:
        """Return the ports at or above ``start``."""
        if not self._ranges or start <= self._ranges[0][0]:
            return self
        return PortRanges._of(tuple((max(begin, start), end) for begin, end in self._ranges if end >= start))

    def first(self, count: int, avoid: frozenset[int] = frozenset()) -> tuple[int, ...] | None:
        """Return the lowest ``count`` ports outside ``avoid``, or None where there are fewer."""
        found: list[int] = []
        for port in self:
            if len(found) == count:
                break
            if port not in avoid:
                found.append(port)
        return tuple(found) if len(found) == count else None
