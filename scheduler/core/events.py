"""What happens to the scheduler. Each is taken by :meth:`machine.Machine.take`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from eratos.marathon.app import App
from eratos.marathon.job import Job

from .error_budget import ServiceFigures
from .gates import QueueFigures, ServerFigures
from .mesos_types import InverseOffer, Offer, TaskStatus
from .records import QuotaRecord
from .usage import TaskUsage


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
    """Why there is no subscription: how the last one ended, or what an attempt was answered. Comes whenever that changes."""

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
class VolumeDestroyed:
    """What an executor says of a volume that it was to destroy."""

    volume_id: str
    error: str = ""  #: why it is still there; empty: it is not


@dataclass(frozen=True, slots=True)
class MasterError:
    """An ERROR event: this subscription is over (rule 39)."""

    message: str


@dataclass(frozen=True, slots=True)
class LookAround:
    """Somebody looks at the cluster, and is to see all agents with what they have free."""


@dataclass(frozen=True, slots=True)
class FiguresSeen:
    """What balancers have counted of their servers, and executors measured of tasks, asked while something is decided by it."""

    servers: tuple[ServerFigures, ...]
    missing: str = ""  #: why it is not all there is; empty: every balancer has answered
    balancers: tuple[str, ...] = ()  #: those that have answered
    queues: tuple[QueueFigures, ...] = ()
    unscaled: str = ""  #: why there is less than autoscaling needs, beside what is missing; empty: there is not
    services: tuple[ServiceFigures, ...] = ()
    uncounted: str = ""  #: why there is less than error budgets need, beside what is missing; empty: there is not
    usages: Mapping[str, TaskUsage] = field(default_factory=dict)  #: task -> what it takes, by the executors that were asked
    silent: Mapping[str, str] = field(default_factory=dict)  #: agent -> why its executor has not said it


@dataclass(frozen=True, slots=True)
class Tick:
    """Time went by."""


# Commands: what users ask for.


@dataclass(frozen=True, slots=True)
class PutApps:
    """Create or replace apps, and delete others, all of it or nothing."""

    apps: tuple[App, ...]
    create_only: bool = False  #: refuse where an app exists already
    force: bool = False  #: also while a deployment touches one of the apps, which then does so no longer
    dropped: tuple[str, ...] = ()  #: apps to delete
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  #: groups to keep -> what they depend on
    dropped_groups: tuple[str, ...] = ()
    enforced: Mapping[str, bool] = field(default_factory=dict)  #: groups of which it is said -> whether they enforce their role


@dataclass(frozen=True, slots=True)
class DeleteApps:
    app_ids: tuple[str, ...]
    force: bool = False
    groups: tuple[str, ...] = ()  #: to delete with them
    wipe: bool = False  #: destroy their persistent volumes


@dataclass(frozen=True, slots=True)
class RestartApp:
    """Replace every instance of an app by one of the same definition under a new version."""

    app_id: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class KillInstances:
    """Kill instances; each is replaced, unless ``scale`` lowers the wanted number by as many."""

    instance_ids: tuple[str, ...]
    scale: bool = False
    force: bool = False
    wipe: bool = False  #: destroy their persistent volumes, so that what replaces them begins anew


@dataclass(frozen=True, slots=True)
class DeleteVolume:
    """Destroy a persistent volume that nobody uses."""

    volume_id: str
    forget: bool = False  #: do not wait for its host to say so, which then is gone for good


@dataclass(frozen=True, slots=True)
class MoveVolumes:
    """Have an instance moved to another host with copies of its volumes."""

    app_id: str
    instance_id: str = ""  #: which one of the app's; empty: the only one that has volumes
    hostname: str = ""  #: where to; empty: to whichever host has room
    wipe: bool = False  #: destroy the old volumes once the instance is ready with the copies; else leave them


@dataclass(frozen=True, slots=True)
class CancelMoves:
    """Have the instances of an app stay where they are, or come back there."""

    app_id: str


@dataclass(frozen=True, slots=True)
class PutVersion:
    """Make an app what it was in a version that is kept."""

    app_id: str
    version: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class RollBack:
    """Take a deployment back: what it changed becomes what it was before, as a new deployment."""

    deployment_id: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """End a deployment. What it has begun stays wanted, what it has not is not done."""

    deployment_id: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Have a deployment come no further, or go on."""

    deployment_id: str
    paused: bool = True


@dataclass(frozen=True, slots=True)
class Promote:
    """Have the apps of a deployment that stand at a gate of their canary go on to the next step."""

    deployment_id: str
    force: bool = False  #: though the error budget of one of them is spent


@dataclass(frozen=True, slots=True)
class ResetDelay:
    """End an app's launch delay after failures."""

    app_id: str


@dataclass(frozen=True, slots=True)
class ReleaseBrake:
    """Go on in spite of the losses that engaged the disaster brake."""


@dataclass(frozen=True, slots=True)
class PutDrain:
    """Have a host drained, or have what is left there stopped by another deadline."""

    hostname: str
    deadline_s: float | None = None  #: from now; 0: no deadline; None: none, or the one that there is
    by: str = ""  #: who asks for it


@dataclass(frozen=True, slots=True)
class DeleteDrain:
    """Let a host that is drained take instances again."""

    hostname: str
    by: str = ""  #: who asks for it


@dataclass(frozen=True, slots=True)
class PutQuota:
    """Bound what may be wanted within a group. What is wanted already stays so."""

    quota: QuotaRecord


@dataclass(frozen=True, slots=True)
class DeleteQuota:
    """Have what is wanted within a group bounded by it no longer."""

    path: str


@dataclass(frozen=True, slots=True)
class PutJob:
    """Create a job, or change the one that there is."""

    job: Job
    create_only: bool = False  #: refuse where there is one already; else refuse where there is none


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Delete a job and its history; refused while runs of it are at work, unless these are to be stopped."""

    job_id: str
    stop_runs: bool = False


@dataclass(frozen=True, slots=True)
class StartRun:
    """Start a run of a job now. The Reply's version is its id."""

    job_id: str


@dataclass(frozen=True, slots=True)
class StopRun:
    """Stop a run of a job."""

    job_id: str
    run_id: str


Command = (
    PutApps
    | DeleteApps
    | RestartApp
    | KillInstances
    | DeleteVolume
    | MoveVolumes
    | CancelMoves
    | PutVersion
    | RollBack
    | Cancel
    | Pause
    | Promote
    | ResetDelay
    | ReleaseBrake
    | PutDrain
    | DeleteDrain
    | PutQuota
    | DeleteQuota
    | PutJob
    | DeleteJob
    | StartRun
    | StopRun
)


@dataclass(frozen=True, slots=True)
class CommandReceived:
    """A user asked for something. Answered by exactly one Reply or Refuse with its token."""

    token: int
    command: Command


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
    | VolumeDestroyed
    | MasterError
    | LookAround
    | FiguresSeen
    | Tick
    | CommandReceived
)
