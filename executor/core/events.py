"""What happens to the executor: events of the driver, the runtimes and the clock; the core handles each in one step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .requirements import Found


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The agent accepted the subscription, the first or a later one."""

    agent_id: str
    hostname: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The subscription ended. Tasks go on; updates wait in the ledger (rules 58 and 65)."""


@dataclass(frozen=True, slots=True)
class LaunchTask:
    """Run a task. The same task id may come twice: the agent sends a launch again when it has no answer."""

    task_id: str
    payload_bytes: bytes  #: ``TaskInfo.data``: read it with :class:`eratos.common.payload.TaskPayload`


@dataclass(frozen=True, slots=True)
class KillTask:
    """End a task; answered by a terminal update even where the task is unknown (rule 62)."""

    task_id: str
    grace_s: float | None = None  #: overrides the task's own grace (rule 63); None: the task's own


@dataclass(frozen=True, slots=True)
class VolumeUnwanted:
    """The scheduler wants a volume destroyed. It says so again until it has heard that this is done."""

    volume_id: str
    app_id: str  #: whose it must be


@dataclass(frozen=True, slots=True)
class VolumeDestroyed:
    """What became of a volume. Answers DestroyVolume."""

    volume_id: str
    error: str = ""  #: why it is still there; empty: it is not


@dataclass(frozen=True, slots=True)
class Shutdown:
    """End every task, report each, and exit within the grace period (rule 67). May come more than once."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time went by."""


@dataclass(frozen=True, slots=True)
class Preparing:
    """The start waits for something from the network: its image or its files."""

    task_id: str
    what: str  #: in words, for people: ``pulling image shop/cart``


@dataclass(frozen=True, slots=True)
class ContainerStarted:
    """Docker says that the container runs."""

    task_id: str
    address: str = ""  #: the container's own IP address; empty: it lives on the host's


@dataclass(frozen=True, slots=True)
class StartFailed:
    """No container came up. Every StartContainer ends in this event or in ContainerStarted."""

    task_id: str
    message: str  #: names the image or the port, and the fix


@dataclass(frozen=True, slots=True)
class ContainerDied:
    """The container's process ended, or the container is gone. May come more than once, and before ContainerStarted."""

    task_id: str
    exit_code: int | None = None  #: None: not known
    container: str = ""  #: which one of a pod's


@dataclass(frozen=True, slots=True)
class ContainerExamined:
    """What is left to know of a container that died by itself. Answers ExamineContainer."""

    task_id: str
    exit_code: int | None = None
    out_of_memory: bool = False
    log_tail: str = ""  #: its last lines of output


@dataclass(frozen=True, slots=True)
class ContainersListed:
    """A full listing of one runtime's containers: repairs whatever an edge missed."""

    began_at: float  #: when the listing was asked for; a container started later may be missing from it
    running: frozenset[str]  #: task ids
    ended: frozenset[str]  #: task ids whose container is there but does not run
    runtime: str = "docker"  #: whose listing it is: the other runtime's tasks are not in it
    partly: frozenset[str] = frozenset()  #: task ids of pods of which some containers run and others do not
    services: Mapping[str, int] = field(default_factory=dict)  #: task id -> how many it has in Consul; one where it is not here


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """How far a copy of volumes is, for people. Comes every few seconds."""

    task_id: str
    message: str


@dataclass(frozen=True, slots=True)
class CopyDone:
    """A copy of volumes has ended. Answers CopyVolumes."""

    task_id: str
    error: str = ""  #: why it is not whole; empty: it is


@dataclass(frozen=True, slots=True)
class ProbeDone:
    """The result of one probe. Every Probe ends in this event, after its timeout at the latest."""

    task_id: str
    index: int  #: of the check
    passed: bool | None  #: None: the answer says nothing
    detail: str = ""  #: the answer or the error, for people
    code: int | None = None  #: HTTP status or exit code, where there is one


@dataclass(frozen=True, slots=True)
class RequirementFound:
    """What meets a requirement of a followed task by now; comes once something is known of it, and whenever that changes."""

    task_id: str
    name: str
    found: Found


@dataclass(frozen=True, slots=True)
class RequirementTold:
    """A running task was told of a change. Answers TellTask, after its time limit and a little more at the latest."""

    task_id: str
    fault: str = ""  #: why it does not go by it; empty: it does


@dataclass(frozen=True, slots=True)
class ServicesKept:
    """Consul has services of tasks that a dead executor left running. Comes with each comparison for as long as there are any."""

    ports: Mapping[str, frozenset[int]]  #: by task id
    datacenters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  #: likewise, those whose balancers may serve them


@dataclass(frozen=True, slots=True)
class BalancersTold:
    """The live balancers know that a removal is planned, and the hold is over. Comes also where one did not answer."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Deregistered:
    """The Consul agent holds no service of the task any more. Comes late, or not at all, while Consul is away."""

    task_id: str


@dataclass(frozen=True, slots=True)
class DrainHeld:
    """Who still holds a task that is drained, and why. Comes whenever that changes."""

    task_id: str
    detail: str


@dataclass(frozen=True, slots=True)
class DrainDone:
    """The balancers let go of the task, or the time given for that is over. Answers AskBalancers."""

    task_id: str
    released: bool
    detail: str = ""  #: which balancer held it and why, where ``released`` is false


Event = (
    Subscribed
    | Disconnected
    | LaunchTask
    | KillTask
    | Shutdown
    | VolumeUnwanted
    | VolumeDestroyed
    | Tick
    | Preparing
    | ContainerStarted
    | StartFailed
    | ContainerDied
    | ContainerExamined
    | ContainersListed
    | CopyProgress
    | CopyDone
    | ProbeDone
    | RequirementFound
    | RequirementTold
    | ServicesKept
    | BalancersTold
    | Deregistered
    | DrainHeld
    | DrainDone
)
