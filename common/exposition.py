"""Prometheus' text format, for parts that should not need its client: executors and balancer companions.

https://prometheus.io/docs/instrumenting/exposition_formats (version 0.0.4). Names and units follow
https://prometheus.io/docs/practices/naming.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_STARTED: Final = time.time()


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: what follows the family's name, labels, value."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """All samples of one name."""

    name: str
    kind: str  #: ``counter``, ``gauge`` or ``histogram``
    text: str  #: what it counts, and its unit
    samples: tuple[Sample, ...]


def gauge(name: str, text: str, value: float) -> Family:
    return Family(name, "gauge", text, (Sample(value),))


def counter(name: str, text: str, value: float) -> Family:
    """Return a counter; ``name`` ends in ``_total``."""
    return Family(name, "counter", text, (Sample(value),))


def by_label(kind: str, name: str, text: str, label: str, values: Mapping[str, float]) -> Family:
    """Return a family with a sample for each value of a label."""
    return Family(name, kind, text, tuple(Sample(value, {label: key}) for key, value in sorted(values.items())))


class Histogram:
    """Counts durations. Not thread-safe."""

    def __init__(self, name: str, text: str, bounds_s: Iterable[float]) -> None:
        """``bounds_s`` are upper bounds, ascending; one without bound is added."""
        self._name, self._text = name, text
        self._bounds_s = tuple(bounds_s)
        self._counts = [0] * (len(self._bounds_s) + 1)
        self._sum_s = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds_s, seconds)] += 1
        self._sum_s += seconds

    def family(self) -> Family:
        upto = list(accumulate(self._counts))
        names = [*(f"{bound:g}" for bound in self._bounds_s), "+Inf"]
        buckets = (Sample(count, {"le": name}, "_bucket") for name, count in zip(names, upto, strict=True))
        total = (Sample(self._sum_s, {}, "_sum"), Sample(upto[-1], {}, "_count"))
        return Family(self._name, "histogram", self._text, (*buckets, *total))


def of_process() -> Iterator[Family]:
    """Yield what this process takes, under the names that all of Prometheus' clients use."""
    yield counter("process_cpu_seconds_total", "CPU time of this process, in seconds.", time.process_time())
    yield gauge("process_start_time_seconds", "When this process started, in seconds since the epoch.", _STARTED)
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return  # not Linux
    yield gauge("process_resident_memory_bytes", "Memory of this process, in bytes.", float(pages * os.sysconf("SC_PAGE_SIZE")))


def render(families: Iterable[Family]) -> bytes:
    """Return the answer to a scrape."""
    lines: list[str] = []
    for family in families:
        lines += [f"# HELP {family.name} {_escaped(family.text)}", f"# TYPE {family.name} {family.kind}"]
        lines += [f"{family.name}{sample.suffix}{_labels(sample.labels)} {sample.value:.17g}" for sample in family.samples]
    return "".join(f"{line}\n" for line in lines).encode()


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value, quotes=True)}"' for name, value in labels.items()) + "}"


def _escaped(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quotes else text
