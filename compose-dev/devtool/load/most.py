"""How much the system carries: the highest rate that is answered in time, and what stood in the way of more."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import health
from ..settings import Settings
from ..shell import run

#: A rate holds when that many of the requests that were due were made: else the load itself was behind.
MADE = 0.97
#: The search ends when what holds and what does not are that close.
CLOSE = 0.07
#: CPU of the machine, by share, above which there is none left.
BUSY = 0.9
STEPS_MOST = 12
PORTS = "net.ipv4.ip_local_port_range"


@dataclass(frozen=True)
class Seen:
    """What one rate did to the system. CPU is in cores."""

    cpu: dict[str, float] = field(default_factory=dict)  #: by group: workers, balancers, load, rest
    machine_cpu: float = 0.0  #: share of all cores that was at work, by the machine's own count; 0: it does not say
    cores: int = 1
    queued: int = 0  #: requests that waited in balancers for a server
    connections: float = 0.0  #: of balancers, as a share of what they allow


@dataclass(frozen=True)
class Step:
    """One rate that was tried."""

    rate: float
    summary: dict[str, Any]
    seen: Seen


def holds(step: Step, p99_s: float, seconds: float) -> bool:
    """Return whether a rate was carried: every request made, answered well, and 99 of 100 in time."""
    made = step.summary["requests"] >= MADE * step.rate * seconds
    return bool(made and not step.summary["failed"] and step.summary["p99_s"] <= p99_s)


def search(first: float, carried: Callable[[float], bool]) -> float:
    """Return the highest rate that is carried, as closely as CLOSE; 0 where none is.

    ``first`` is a guess. It is doubled, or halved, until one rate holds and a higher one does not; then what lies between is
    halved.
    """
    low, high, rate = 0.0, 0.0, first
    for _ in range(STEPS_MOST):
        if carried(rate):
            low = rate
        else:
            high = rate
        if high and high - low <= CLOSE * high:
            break
        rate = low * 2 if not high else (low + high) / 2
        if rate < 1:
            break
    return low


def obstacle(step: Step, p99_s: float) -> str:
    """Return what stood in the way of a rate that was not carried."""
    summary, seen = step.summary, step.seen
    reasons = summary.get("reasons") or {}
    if reasons.get("no free ports here"):
        return f"ports: the load found no free one{_of(summary, PORTS)}; use more kept connections, or --tune"
    if reasons.get("no descriptors here"):
        return f"descriptors: the load may not open more connections{_of(summary, 'descriptors')}; --tune allows more"
    if summary["wrong_app"]:
        return f"{summary['wrong_app']} answers came from the wrong app"
    used = sum(seen.cpu.values()) / seen.cores
    if max(seen.machine_cpu, used) >= BUSY:
        outside = max(0.0, seen.machine_cpu * seen.cores - sum(seen.cpu.values()))
        order = sorted({**seen.cpu, "outside of containers": outside}.items(), key=lambda item: -item[1])
        parts = ", ".join(f"{group} {cpu:.1f}" for group, cpu in order if cpu >= 0.05)
        return f"CPU: the machine's {seen.cores} cores have no more; in cores: {parts}"
    if seen.connections >= BUSY:
        return f"connections: the balancers have {seen.connections:.0%} of what they allow"
    if seen.queued:
        return f"workers' connections: {seen.queued} requests waited in balancers for a server"
    if summary["late_most_s"] > p99_s / 2:
        return f"the load generator, which was up to {summary['late_most_s']:.2f} s behind its plan"
    if summary["failed"]:
        return "failures: " + ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return (
        f"the workers: nothing else is used up, and an answer took {summary['p50_s']:.3f} s at the median, "
        f"{summary['p99_s']:.3f} s at the 99th percentile"
    )


def _of(summary: dict[str, Any], name: str) -> str:
    value = (summary.get("settings") or {}).get(name)
    return f" ({name} = {value})" if value else ""


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return the settings that limit the load, a line each, with what they were where that was something else."""
    return [
        f"{name} = {value}" + (f", was {before[name]}" if before.get(name, value) != value else "")
        for name, value in sorted(after.items())
    ]


def look(settings: Settings) -> Seen:
    """Return what the system is doing. Takes some seconds, which docker needs to see how much CPU is used."""
    before = _machine()
    output = run(["docker", "stats", "--no-stream", "--format", "{{.Name}} {{.CPUPerc}}"], check=False, timeout_s=60)
    after = _machine()
    busy, total = after[0] - before[0], after[1] - before[1]
    queued, connections = _balancers(settings)
    return Seen(group_cpu(output, settings.project), busy / total if total else 0.0, cores(), queued, connections)


def cores() -> int:
    """Return the cores that containers have: those of Docker's machine."""
    found = run(["docker", "info", "--format", "{{.NCPU}}"], check=False, timeout_s=30).strip()
    return int(found) if found.isdigit() and int(found) else 1


def group_cpu(output: str, project: str) -> dict[str, float]:
    """Return the CPU of the groups in cores, out of lines `name percent%` of docker stats."""
    groups = {"workers": 0.0, "balancers": 0.0, "load": 0.0, "rest": 0.0}
    for line in output.splitlines():
        name, _, percent = line.partition(" ")
        if not re.fullmatch(r"[\d.]+%", percent):
            continue
        if re.fullmatch(rf"{re.escape(project)}-balancer\d+-1", name):
            group = "balancers"
        elif name.startswith(f"{project}-load-"):
            group = "load"
        elif ".instance-" in name:
            group = "workers"
        else:
            group = "rest"
        groups[group] += float(percent[:-1]) / 100
    return groups


def _machine() -> tuple[int, int]:
    """Return the ticks that this machine's cores worked, and all that there were; (0, 0) where it does not say."""
    try:
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except FileNotFoundError:
        return 0, 0
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _balancers(settings: Settings) -> tuple[int, float]:
    """Return how many requests wait in the balancers, and their connections as a share of what they allow."""
    answers, _ = health.ask_all("STATS", "balancer", settings.balancers, settings, "/stats;csv")
    return read_statistics([text for status, text in answers.values() if status == 200])


def read_statistics(texts: list[str]) -> tuple[int, float]:
    """Return the queued requests of all, and the largest share of a frontend's connections, out of HAProxy's CSV."""
    queued, share = 0, 0.0
    for text in texts:
        for row in csv.DictReader(io.StringIO(text.lstrip("# "))):
            if row.get("svname") == "BACKEND":
                queued += int(row.get("qcur") or 0)
            elif row.get("svname") == "FRONTEND" and int(row.get("slim") or 0):
                share = max(share, int(row.get("scur") or 0) / int(row["slim"]))
    return queued, share
