"""One task as the executor sees it, and the phases it goes through.

::

    (RESOLVING ->) STARTING -> RUNNING -> ANNOUNCING -> DEREGISTERING -> DRAINING -> STOPPING -> ended
                                  |  \\_______________ not in Consul ______________/
                                  \\-> EXAMINING (died by itself) -> ended
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from eratos.common.payload import HealthCheck, ReadinessCheck, TaskPayload
from eratos.common.routing import datacenters

from .actions import Probe
from .container import probe_target, stand_in_ports
from .health import Checks, port_check
from .progress import Progress
from .requirements import Requirements


class Phase(StrEnum):
    """What a task waits for."""

    RESOLVING = "resolving"  #: what it requires to be there
    STARTING = "starting"  #: Docker to start it
    RUNNING = "running"  #: nothing; probed, and in Consul while ready
    ANNOUNCING = "announcing"  #: the balancers to hear that its removal is planned
    DEREGISTERING = "deregistering"  #: Consul to forget it
    DRAINING = "draining"  #: the balancers to let go of it
    STOPPING = "stopping"  #: its process to end
    EXAMINING = "examining"  #: Docker to say why it died


#: Phases between the wish to stop a task that is in rotation and its stop signal.
LEAVING = frozenset({Phase.ANNOUNCING, Phase.DEREGISTERING, Phase.DRAINING})


@dataclass(frozen=True, slots=True)
class Ending:
    """The terminal state that a stop we decided on leads to."""

    state: str
    message: str
    healthy: bool | None = None


@dataclass(slots=True)
class Task:
    """Mutable; changed by :class:`lifecycle.Machine` alone."""

    payload: TaskPayload
    grace_s: float  #: from the stop signal to SIGKILL
    phase: Phase = Phase.STARTING
    started_at: float | None = None
    address: str = ""  #: the container's own; empty: the host's
    checks: Checks | None = None
    healthy: bool | None = None  #: as last reported
    checks_reported: tuple[tuple[bool, int], ...] = ()  #: of its health checks, as last reported
    check: Mapping[str, Any] | None = None  #: the last answer to the check that decides nothing, in Mesos' form
    registered: bool = False
    ending: Ending | None = None  #: set once somebody wants the task to stop
    deadline: float | None = None  #: when to go on without what the phase waits for
    died: bool = False  #: the container's end, or that of one of a pod's, was seen before its start was confirmed
    ended: dict[str, None] = field(default_factory=dict)  #: containers of a pod that have ended, the first one first
    exit_code: int | None = None
    drain_note: str = ""  #: what the drain did not achieve
    held: str = ""  #: which balancers hold it now, and why
    progress: Progress = field(default_factory=Progress)  #: of its phase
    preparing: str = ""  #: what its start waits for, or waited for
    requirements: Requirements = field(default_factory=Requirements)
    using: frozenset[str] = frozenset()  #: the servers of others that it goes by, as last said
    lacks: str = ""  #: what it requires and is not there
    unprobed_until: float | None = None  #: not looked at yet, because other tasks are being started: see lifecycle

    @property
    def task_id(self) -> str:
        return self.payload.task_id

    @property
    def over(self) -> bool:
        """Whether nothing of it runs any more, of a pod as far as its containers' ends were seen one by one."""
        return len(self.ended) == len(self.payload.containers)

    @property
    def first_ended(self) -> str:
        """The container of a pod that ended first; empty: none, or it is not known which."""
        return next(iter(self.ended), "")

    @property
    def service_ids(self) -> tuple[str, ...]:
        return tuple(service.service_id for service in self.payload.services)

    @property
    def datacenters(self) -> tuple[str, ...]:
        """The Consul data centers whose balancers may serve it."""
        return tuple(dict.fromkeys(name for service in self.payload.services for name in datacenters(service.meta)))

    def enter(self, phase: Phase, now: float) -> None:
        """Begin a phase: nothing has been said of it yet, and it may take a while before anything is."""
        self.phase, self.progress = phase, Progress.begin(now)

    def waits_for(self) -> str:
        """Say what the phase waits for, and how long at most; nothing where that is reported otherwise or never takes long."""
        match self.phase:
            case Phase.RESOLVING:
                return self.lacks
            case Phase.STARTING if not self.preparing:
                return "Docker has not started it yet" if self.payload.runtime == "docker" else "its process is being started"
            case Phase.RUNNING if self.checks is not None and self.healthy is None and not self.checks.ready:
                return self.checks.failing()
            case Phase.DEREGISTERING:
                return f"leaving Consul, whose agent has not answered; with draining {self.payload.drain_s:g} s at most"
            case Phase.DRAINING:
                return f"drained for {self.payload.drain_s:g} s at most: {self.held}" if self.held else ""
            case Phase.STOPPING if self.grace_s <= 0:
                return "killed, and not ended yet"
            case Phase.STOPPING:
                return f"asked to end, and killed if it has not after {self.grace_s:g} s"
        return ""

    def report_due(self) -> float | None:
        """Return when to report what the phase waits for, or None where there is nothing new.

        A task that waits for others is reported again and again: there is no end to it, and silence would be taken for one.
        """
        return self.progress.due(self.waits_for(), repeats=self.phase is Phase.RESOLVING)

    def report(self, now: float) -> str:
        """Return what to report, and note that it was reported."""
        waits_for = self.waits_for()
        self.progress.report(waits_for, now)
        if self.phase is Phase.RESOLVING:
            return f"{waits_for}; waiting for {now - self.progress.begun_at:.0f} s"
        return waits_for

    def readiness_checks(self) -> tuple[HealthCheck | ReadinessCheck, ...]:
        """Return the app's own; where it has no check at all, that its first TCP port accepts."""
        return self.payload.readiness_checks or tuple(port_check(port) for port in stand_in_ports(self.payload))

    def begin_checks(self, now: float) -> Checks:
        self.checks = Checks(self.payload.health_checks, self.readiness_checks(), now, self.payload.check)
        return self.checks

    def probes(self, now: float) -> list[Probe]:
        """Return the probes that are due; each is then under way."""
        if self.checks is None or (self.unprobed_until is not None and now < self.unprobed_until):
            return []
        self.unprobed_until = None
        shown = () if self.payload.check is None else (self.payload.check,)
        checks = (*self.payload.health_checks, *self.readiness_checks(), *shown)
        return [self._probe(index, checks[index]) for index in self.checks.due(now)]

    def _probe(self, index: int, check: HealthCheck | ReadinessCheck) -> Probe:
        if isinstance(check, ReadinessCheck):
            host, port = probe_target(self.payload, check.port, self.address)
            return Probe(self.task_id, index, check.protocol, host, port, check.path, "", check.timeout_s, check)
        host, port = probe_target(self.payload, check.port, self.address, ipv6=check.ipv6)
        probe = Probe(self.task_id, index, check.protocol, host, port, check.path, check.command, check.timeout_s)
        return replace(probe, ignore_1xx=check.ignore_1xx, container=check.container)
