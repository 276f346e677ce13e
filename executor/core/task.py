"""One task as the executor sees it, and the phases it goes through.

::

    STARTING -> RUNNING -> ANNOUNCING -> DEREGISTERING -> DRAINING -> STOPPING -> ended
                   |  \\_______________ not in Consul ______________/
                   \\-> EXAMINING (died by itself) -> ended
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from eratos.common.payload import HealthCheck, ReadinessCheck, TaskPayload

from .actions import Probe
from .container import probe_target, stand_in_ports
from .health import Checks, port_check


class Phase(StrEnum):
    """What a task waits for."""

    STARTING = "starting"  #: Docker to start it
    RUNNING = "running"  #: nothing; probed, and in Consul while ready
    ANNOUNCING = "announcing"  #: the balancers to hear that its removal is planned
    DEREGISTERING = "deregistering"  #: Consul to forget it
    DRAINING = "draining"  #: the balancers to let go of it
    STOPPING = "stopping"  #: its process to end
    EXAMINING = "examining"  #: Docker to say why it died


#: Phases between the wish to stop a task that is in rotation and its stop signal.
LEAVING = frozenset({Phase.ANNOUNCING, Phase.DEREGISTERING, Phase.DRAINING})


#: A phase that takes longer is told to the scheduler; changes of what it waits for, after twice as long each time.
SLOW_S = 2.0
_SLOW_MOST_S = 60.0


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
    registered: bool = False
    ending: Ending | None = None  #: set once somebody wants the task to stop
    deadline: float | None = None  #: when to go on without what the phase waits for
    died: bool = False  #: the container's end was seen before its start was confirmed
    exit_code: int | None = None
    drain_note: str = ""  #: what the drain did not achieve
    held: str = ""  #: which balancers hold it now, and why
    told: str = ""  #: what was last said of a phase that takes long
    tell_from: float = 0.0  #: when something else may be said of it
    pause_s: float = SLOW_S  #: from one saying to the next
    preparing: str = ""  #: what its start waits for, or waited for
    unprobed_until: float | None = None  #: not looked at yet, because other tasks are being started: see lifecycle

    @property
    def task_id(self) -> str:
        return self.payload.task_id

    @property
    def service_ids(self) -> tuple[str, ...]:
        return tuple(service.service_id for service in self.payload.services)

    def enter(self, phase: Phase, now: float) -> None:
        """Begin a phase: nothing has been said of it yet, and it may take a while before anything is."""
        self.phase = phase
        self.told, self.tell_from, self.pause_s = "", now + SLOW_S, SLOW_S

    def waits_for(self) -> str:
        """Say what the phase waits for, and how long at most; nothing where that is told otherwise or never takes long."""
        match self.phase:
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

    def tells_at(self) -> float | None:
        """Return when it is to be told what the phase waits for, or None where there is nothing new to tell."""
        return None if self.waits_for() in ("", self.told) else self.tell_from

    def tell(self, now: float) -> str:
        """Return what is to be told, and note that it was."""
        self.told = self.waits_for()
        self.pause_s = min(2 * self.pause_s, _SLOW_MOST_S)
        self.tell_from = now + self.pause_s
        return self.told

    def readiness_checks(self) -> tuple[HealthCheck | ReadinessCheck, ...]:
        """Return the app's own; where it has no check at all, that its first TCP port accepts."""
        return self.payload.readiness_checks or tuple(port_check(port) for port in stand_in_ports(self.payload))

    def begin_checks(self, now: float) -> Checks:
        self.checks = Checks(self.payload.health_checks, self.readiness_checks(), now)
        return self.checks

    def probes(self, now: float) -> list[Probe]:
        """Return the probes that are due; each is then under way."""
        if self.checks is None or (self.unprobed_until is not None and now < self.unprobed_until):
            return []
        self.unprobed_until = None
        checks = (*self.payload.health_checks, *self.readiness_checks())
        return [self._probe(index, checks[index]) for index in self.checks.due(now)]

    def _probe(self, index: int, check: HealthCheck | ReadinessCheck) -> Probe:
        host, port = probe_target(self.payload, check.port, self.address)
        if isinstance(check, ReadinessCheck):
            return Probe(self.task_id, index, check.protocol, host, port, check.path, "", check.timeout_s, check)
        return Probe(self.task_id, index, check.protocol, host, port, check.path, check.command, check.timeout_s)
