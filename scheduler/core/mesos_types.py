"""Mesos' own things as the core sees them: offers, task states, status updates. Wire forms never get this far."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eratos.common.check_results import CheckResult
from eratos.common.resources import PortRanges, Resources


class TaskState(enum.Enum):
    """Mesos' task states (mesos.proto, TaskState)."""

    STAGING = "TASK_STAGING"
    STARTING = "TASK_STARTING"
    RUNNING = "TASK_RUNNING"
    KILLING = "TASK_KILLING"
    FINISHED = "TASK_FINISHED"
    FAILED = "TASK_FAILED"
    KILLED = "TASK_KILLED"
    ERROR = "TASK_ERROR"
    LOST = "TASK_LOST"
    DROPPED = "TASK_DROPPED"
    UNREACHABLE = "TASK_UNREACHABLE"
    GONE = "TASK_GONE"
    GONE_BY_OPERATOR = "TASK_GONE_BY_OPERATOR"
    UNKNOWN = "TASK_UNKNOWN"

    @property
    def terminal(self) -> bool:
        """Whether a task in this state has ended for good.

        For a partition-aware framework UNREACHABLE and UNKNOWN prove nothing, and LOST may come back (rules 18 and 20).
        """
        return self in _TERMINAL


_TERMINAL = frozenset(
    {
        TaskState.FINISHED,
        TaskState.FAILED,
        TaskState.KILLED,
        TaskState.ERROR,
        TaskState.DROPPED,
        TaskState.GONE,
        TaskState.GONE_BY_OPERATOR,
        TaskState.LOST,
    }
)


#: Of updates that answer a reconciliation.
RECONCILIATION = "REASON_RECONCILIATION"

NO_PORTS = PortRanges()
NO_RESOURCES = Resources()


def number_text(value: float) -> str:
    """Return a number as constraints compare it: to the nearest thousandth, without zeros at the end (Constraints.scala)."""
    text = f"{value:.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


@dataclass(frozen=True, slots=True)
class Window:
    """When an agent's host is down for maintenance, in seconds since the epoch (mesos.proto, Unavailability)."""

    begin: float
    end: float = math.inf


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent: where tasks run or could run. One object for each, shared by all that is on it."""

    agent_id: str
    hostname: str
    region: str = ""
    zone: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def spread_zone(self) -> str:
        """The zone to spread over: that of the fault domain, or where none is configured, an attribute of this name.

        Regions may have zones of the same names.
        """
        zone = self.zone or self.attributes.get("zone", "")
        return f"{self.region}/{zone}" if self.region and zone else zone


@dataclass(frozen=True, slots=True)
class Offer:
    """What one agent offers. ``resources`` and ``ports`` are the sums over everything this framework may use."""

    offer_id: str
    agent_id: str
    hostname: str
    resources: Resources
    ports: PortRanges = NO_PORTS
    attributes: Mapping[str, str] = field(default_factory=dict)
    executor_ids: frozenset[str] = frozenset()  #: of this framework, already on the agent
    region: str = ""
    zone: str = ""
    window: Window | None = None  #: maintenance that is scheduled for the agent's host
    reserved: Resources = NO_RESOURCES  #: how much of the resources is reserved for this framework's role
    reserved_ports: PortRanges = NO_PORTS
    role: str = ""  #: that it is allocated to: its resources pay for tasks of apps with this role alone


@dataclass(frozen=True, slots=True)
class InverseOffer:
    """The master asks whether an agent can be taken out of service (docs/maintenance.md)."""

    offer_id: str
    agent_id: str
    window: Window


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """One status update. ``uuid`` is empty where nothing is to be acknowledged (rule 9)."""

    task_id: str
    state: TaskState
    agent_id: str = ""
    uuid: str = ""
    reason: str = ""  #: e.g. ``REASON_RECONCILIATION``
    source: str = ""  #: e.g. ``SOURCE_EXECUTOR``
    message: str = ""
    healthy: bool | None = None
    check: Mapping[str, Any] | None = None  #: what the app's check was answered
    checks: tuple[CheckResult, ...] = ()  #: how its health checks went; empty: nothing is said of them
    timestamp: float = 0.0  #: seconds since the epoch, by the sender's clock
    addresses: tuple[str, ...] = ()
    executor_id: str = ""
    outdated: str | None = None  #: why the task needs to be replaced, empty: it does not; None: nothing is said of it
