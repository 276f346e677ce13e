"""Why an instance waits: one enum, and one reason for each refused offer.

The order is the order in which an offer is looked at (Marathon calls it the funnel, NoOfferMatchReason.scala): the first
thing that does not fit is the reason, so counts per reason add up to the number of offers refused.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Reason(enum.Enum):
    """Why an offer was refused, under Marathon's names where it has one, in funnel order."""

    MAINTENANCE = "AgentMaintenance"
    FAILING_HOST = "FailingHost"
    CONSTRAINT = "UnfulfilledConstraint"
    CPUS = "InsufficientCpus"
    MEMORY = "InsufficientMemory"
    DISK = "InsufficientDisk"
    GPUS = "InsufficientGpus"
    PORTS = "InsufficientPorts"


class Waiting(enum.Enum):
    """What a whole app waits for."""

    NOT_CONNECTED = "NotConnected"  #: no subscription with a Mesos master
    BRAKE = "DisasterBrake"  #: much was lost at once: nothing is launched until the brake is released
    DEPENDENCY = "Dependency"  #: an app that it depends on has no ready instance yet
    REQUIREMENT = "Requirement"  #: an app that it requires has too few ready instances
    FIRST = "FirstInstance"  #: its instance with ordinal 0 is not ready, and the others start after that
    RUN_BEFORE = "RunBefore"  #: the run in whose place it comes has not ended
    BACK_OFF = "BackOff"  #: its last tasks failed, the next launch is delayed
    VOLUME = "VolumeElsewhere"  #: what waits has its volumes on hosts that offer nothing, or may still be written to
    WRITER = "VolumeInUse"  #: a volume of its that one task at a time may write to is another one's
    VOLUME_RECORD = "VolumeRecord"  #: the record of a volume of its cannot be read: it begins with no empty one
    LAUNCH_LIMIT = "LaunchLimit"  #: too many launches are unconfirmed
    NO_OFFER = "NoOffer"  #: no agent has offered anything since
    FAULT = "InternalError"  #: eratos itself broke over it
    NO_FIT = "NoFittingOffer"  #: offers came, none fitted


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one agent's latest offer was refused for an app."""

    reason: Reason
    hostname: str
    at: float
    wanted: float = 0  #: of what ran short: CPUs, MiB, GPUs, ports
    free: float = 0
    note: str = ""  #: in place of the two, where the reason is no amount
    kind: str = ""  #: ``reserved`` or ``unreserved``, where the app accepts no others

    @property
    def missing(self) -> float:
        """How much was missing, as a share of what was wanted (0 where that has no meaning); the least is the nearest."""
        return 1 - max(self.free, 0) / self.wanted if self.wanted else 0

    @property
    def detail(self) -> str:
        """Name the field of the app, what it wants and what was there."""
        if self.note:
            return self.note
        return f"{_FIELDS[self.reason]}: {self.wanted:g} wanted, {max(self.free, 0):g} free on {self.hostname}{self._of_kind}"

    @property
    def _of_kind(self) -> str:
        return f", of {self.kind} resources alone (acceptedResourceRoles)" if self.kind else ""


_FIELDS = {Reason.CPUS: "cpus", Reason.MEMORY: "mem", Reason.DISK: "disk", Reason.GPUS: "gpus", Reason.PORTS: "ports"}
