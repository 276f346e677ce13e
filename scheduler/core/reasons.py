"""Why an instance waits: one enum, and one reason for each refused offer.

The order is the order in which an offer is looked at (Marathon calls it the funnel, NoOfferMatchReason.scala): the first
thing that does not fit is the reason, so counts per reason add up to the number of offers refused.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Reason(enum.Enum):
    """Why an offer was refused, under Marathon's names, in funnel order."""

    CONSTRAINT = "UnfulfilledConstraint"
    CPUS = "InsufficientCpus"
    MEMORY = "InsufficientMemory"
    DISK = "InsufficientDisk"
    GPUS = "InsufficientGpus"
    PORTS = "InsufficientPorts"


class Waiting(enum.Enum):
    """What a whole app waits for."""

    NOT_CONNECTED = "NotConnected"  #: no subscription with a Mesos master
    DEPENDENCY = "Dependency"  #: an app that it depends on has no ready instance yet
    BACK_OFF = "BackOff"  #: its last tasks failed, the next launch is delayed
    LAUNCH_LIMIT = "LaunchLimit"  #: too many launches are unconfirmed
    NO_OFFER = "NoOffer"  #: no agent has offered anything since
    NO_FIT = "NoFittingOffer"  #: offers came, none fitted


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one agent's latest offer was refused for an app; ``detail`` names the field, what it wants and what was there."""

    reason: Reason
    detail: str
    hostname: str
    at: float
    #: how much was missing, as a share of what was wanted (0 where that has no meaning); the least is the nearest offer
    missing: float = 0.0
