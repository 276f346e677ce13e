"""What the executor does to the world: made by the machine, performed in order by the loop; results come back as events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eratos.common.payload import Fetch, OnChange, Port, ReadinessCheck, Requirement, SecretFile

from .updates import StatusUpdate


@dataclass(frozen=True, slots=True)
class SendUpdate:
    """Report to the agent; the driver keeps the update until it is acknowledged."""

    update: StatusUpdate


@dataclass(frozen=True, slots=True)
class HostVolume:
    """A volume of an app that a task gets, and that outlives it."""

    volume_id: str
    name: str  #: in Docker
    labels: Mapping[str, str]
    new: bool = False  #: it is made where it is not there; else its data is missing


@dataclass(frozen=True, slots=True)
class HostDriverVolume:
    """A volume of one of Docker's volume drivers that a task mounts: it is made where it is not there."""

    name: str  #: in Docker
    driver: str
    options: Mapping[str, str]
    secret_options: Mapping[str, str]  #: options that are secrets, and where these are
    labels: Mapping[str, str]
    alone: bool = False  #: no other container may write to it meanwhile


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Create and start a container, or all of a pod's; pull the images first where they are absent."""

    task_id: str
    name: str
    image: str
    config: dict[str, Any]  #: the body of Docker's ``POST /containers/create``
    host_ports: tuple[int, ...] = ()  #: TCP ports that must be free on the host
    force_pull: bool = False
    fetch: tuple[Fetch, ...] = ()
    udp_ports: tuple[int, ...] = ()  #: of the host, the task's own from now on
    publish: tuple[Port, ...] = ()  #: to be published beside Docker: see played_host
    networks: tuple[str, ...] = ()  #: Docker networks to join before the start, beside the one it is made with
    secret_env: Mapping[str, str] = field(default_factory=dict)  #: variables that hold secrets, and where these are
    secret_files: tuple[SecretFile, ...] = ()
    pull_secret: str = ""  #: where the logins to the image's registry are in the store of secrets
    container: str = ""  #: which one of a pod's
    others: tuple[StartContainer, ...] = ()  #: of a pod: what starts after it, each sharing its network
    pulled: frozenset[str] = frozenset()  #: images that were pulled for this start already
    files: Mapping[str, str] = field(default_factory=dict)  #: by their paths in the sandbox: there before it starts
    volumes: tuple[HostVolume, ...] = ()
    of_drivers: tuple[HostDriverVolume, ...] = ()

    @property
    def folder(self) -> str:
        """The container's own part of the task's sandbox, where nested containers have theirs with Mesos; empty: all of it."""
        return f"containers/{self.container}" if self.container else ""

    @property
    def all(self) -> tuple[StartContainer, ...]:
        """The containers to start, in order."""
        return (self, *self.others)


@dataclass(frozen=True, slots=True)
class StartProcess:
    """Start a command on the host itself, in a session and a folder of its own: the container of a task without an image."""

    task_id: str
    args: tuple[str, ...]
    env: dict[str, str]  #: all that the app says; the runtime adds the folder and what every process needs
    mark: str  #: value of ``names.PROCESS_MARK`` in the environment, by which processes are found again
    user: str = ""  #: empty: the executor's own
    host_ports: tuple[int, ...] = ()
    fetch: tuple[Fetch, ...] = ()
    udp_ports: tuple[int, ...] = ()
    secret_env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CancelStart:
    """Give up a start that still waits for its image or its files; one that is past this point goes on."""

    task_id: str


@dataclass(frozen=True, slots=True)
class StopContainer:
    """Ask the container's process to end: the image's stop signal, SIGTERM by default."""

    task_id: str


@dataclass(frozen=True, slots=True)
class KillContainer:
    """SIGKILL."""

    task_id: str


@dataclass(frozen=True, slots=True)
class ExamineContainer:
    """Find out why a container died: exit code, out of memory or not, its last lines."""

    task_id: str
    container: str = ""  #: which one of a pod's


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    """Remove a container in whatever state it is. One that is gone already is fine."""

    task_id: str


@dataclass(frozen=True, slots=True)
class DestroyVolume:
    """Destroy a volume; every one of these ends in VolumeDestroyed."""

    volume_id: str
    name: str  #: in Docker
    labels: Mapping[str, str]  #: that it must have


@dataclass(frozen=True, slots=True)
class HostCopy:
    """A volume that is to be made as a copy of another host's."""

    source_id: str  #: the volume there
    host: str  #: its name
    app_id: str
    path: str  #: the app's own name for it
    volume: HostVolume
    key: str = field(default="", repr=False)  #: by which the executor there gives it


@dataclass(frozen=True, slots=True)
class CopyVolumes:
    """Copy volumes from other hosts; every one of these ends in CopyDone."""

    task_id: str
    copies: tuple[HostCopy, ...]


@dataclass(frozen=True, slots=True)
class CancelCopy:
    """Break a copy off; it ends in its CopyDone all the same."""

    task_id: str


@dataclass(frozen=True, slots=True)
class ReportVolume:
    """Tell the scheduler what became of a volume that it wants destroyed."""

    volume_id: str
    error: str = ""  #: why it is still there; empty: it is not


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask a task how it is, once."""

    task_id: str
    index: int  #: of the check
    protocol: str  #: ``http``, ``https``, ``tcp`` or ``command``
    host: str
    port: int
    path: str
    command: str
    timeout_s: float
    readiness: ReadinessCheck | None = None  #: what it is about, where it is no health check
    ignore_1xx: bool = False  #: an HTTP status below 200 says nothing
    container: str = ""  #: of a pod: where a command runs


@dataclass(frozen=True, slots=True)
class Follow:
    """Find out what meets a task's requirements, and go on doing so."""

    task_id: str
    requirements: tuple[Requirement, ...]


@dataclass(frozen=True, slots=True)
class Unfollow:
    """Nobody needs to know any more what meets a task's requirements."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Using:
    """Say of these servers, and of no others, that a task goes by them: the executor that stops one waits until none does."""

    task_id: str
    servers: frozenset[str]  #: Consul service ids


@dataclass(frozen=True, slots=True)
class TellTask:
    """Tell a running task what meets a requirement by now: by its file, and then in the way that its app wants."""

    task_id: str
    path: str  #: the file, from the sandbox on
    text: str  #: what it holds from now on
    on_change: OnChange
    env: Mapping[str, str] = field(default_factory=dict)  #: variables for its command


@dataclass(frozen=True, slots=True)
class Register:
    """Want these services at the host's Consul agent, in place of any the task had before."""

    task_id: str
    services: tuple[dict[str, Any], ...]  #: bodies of ``PUT /v1/agent/service/register``


@dataclass(frozen=True, slots=True)
class Deregister:
    """Want no service of this task at the host's Consul agent."""

    task_id: str


@dataclass(frozen=True, slots=True)
class KeepServices:
    """Of what dead executors have in Consul, leave these tasks' services there until each one's Deregister, and no others.

    Before the first of these nobody knows which of their tasks still run, and all stays.
    """

    task_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class TellBalancers:
    """Announce to every live balancer that the removal of these services is planned."""

    task_id: str
    service_ids: tuple[str, ...]
    hold_s: float = 0.0  #: wait for so long at most until none of them would be left without a server
    drains: bool = True  #: they are asked next whether they have let go
    datacenters: tuple[str, ...] = ()  #: Consul's, whose balancers may serve them as well


@dataclass(frozen=True, slots=True)
class AskBalancers:
    """Ask every live balancer until none uses the services any more, or the time is over."""

    task_id: str
    service_ids: tuple[str, ...]
    timeout_s: float
    datacenters: tuple[str, ...] = ()  #: as above


@dataclass(frozen=True, slots=True)
class AbandonDrain:
    """Nobody waits for the balancers' answers about this task any more."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Exit:
    """Every task has ended and was reported: leave."""

    reason: str


Action = (
    SendUpdate
    | StartContainer
    | StartProcess
    | CancelStart
    | StopContainer
    | KillContainer
    | ExamineContainer
    | RemoveContainer
    | DestroyVolume
    | CopyVolumes
    | CancelCopy
    | ReportVolume
    | Probe
    | Follow
    | Unfollow
    | TellTask
    | Using
    | Register
    | Deregister
    | KeepServices
    | TellBalancers
    | AskBalancers
    | AbandonDrain
    | Exit
)
