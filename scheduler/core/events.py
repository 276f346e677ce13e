"""What happens to the scheduler. Each event is handled by :meth:`machine.Machine.handle` in one step."""

from __future__ import annotations

from dataclasses import dataclass

from eratos.marathon.app import App

from .mesos import InverseOffer, Offer, TaskStatus


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The master accepted the subscription, the first or a later one."""

    framework_id: str
    master: str  #: host:port
    region: str = ""  #: of the master's fault domain; empty: it names none


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The subscription ended; every offer on hand is void (rule 23)."""


@dataclass(frozen=True, slots=True)
class NotSubscribed:
    """Why there is no subscription: how the last one ended, or what an attempt was answered. Told whenever that changes."""

    reason: str


@dataclass(frozen=True, slots=True)
class OffersReceived:
    offers: tuple[Offer, ...]


@dataclass(frozen=True, slots=True)
class OfferRescinded:
    offer_id: str


@dataclass(frozen=True, slots=True)
class InverseOffersReceived:
    offers: tuple[InverseOffer, ...]


@dataclass(frozen=True, slots=True)
class InverseOfferRescinded:
    """The maintenance that an inverse offer spoke of was cancelled or has begun."""

    offer_id: str


@dataclass(frozen=True, slots=True)
class StatusChanged:
    status: TaskStatus


@dataclass(frozen=True, slots=True)
class AgentLost:
    """The master removed an agent. Sent once and unreliably: never the only trigger (rule 22)."""

    agent_id: str


@dataclass(frozen=True, slots=True)
class ExecutorLost:
    agent_id: str
    executor_id: str
    status: int = 0


@dataclass(frozen=True, slots=True)
class NotLaunched:
    """Launches that the core decided on were never sent, so their tasks do not exist."""

    task_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MasterError:
    """An ERROR event: this subscription is over (rule 39)."""

    message: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time went by."""


# Commands: events that a user asked for. Each is answered by exactly one Reply or Refuse that carries its token.


@dataclass(frozen=True, slots=True)
class PutApps:
    """Create or replace apps, all of them or none."""

    token: int
    apps: tuple[App, ...]
    create_only: bool = False  #: refuse where an app exists already
    force: bool = False  #: also while a deployment touches one of the apps


@dataclass(frozen=True, slots=True)
class ScaleApp:
    token: int
    app_id: str
    instances: int
    force: bool = False


@dataclass(frozen=True, slots=True)
class DeleteApps:
    token: int
    app_ids: tuple[str, ...]
    force: bool = False


@dataclass(frozen=True, slots=True)
class RestartApp:
    """Replace every instance of an app by one of the same definition under a new version."""

    token: int
    app_id: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class KillInstances:
    """Kill instances; each is replaced, unless ``scale`` lowers the wanted number by as many."""

    token: int
    instance_ids: tuple[str, ...]
    scale: bool = False


@dataclass(frozen=True, slots=True)
class ResetDelay:
    """End an app's launch delay after failures."""

    token: int
    app_id: str


@dataclass(frozen=True, slots=True)
class ReleaseBrake:
    """Go on in spite of the losses that engaged the disaster brake."""

    token: int


Command = PutApps | ScaleApp | DeleteApps | RestartApp | KillInstances | ResetDelay | ReleaseBrake
Event = (
    Subscribed
    | Disconnected
    | NotSubscribed
    | OffersReceived
    | OfferRescinded
    | InverseOffersReceived
    | InverseOfferRescinded
    | StatusChanged
    | AgentLost
    | ExecutorLost
    | NotLaunched
    | MasterError
    | Tick
    | Command
)
