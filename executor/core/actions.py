"""What the executor does to the world: made by the machine, performed in order by the loop; results come back as events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eratos.common.payload import Fetch, Port, ReadinessCheck

from .updates import StatusUpdate


@dataclass(frozen=True, slots=True)
class SendUpdate:
    """Report to the agent; the driver keeps the update until it is acknowledged."""

    update: StatusUpdate


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Create and start a container; pull the image first where it is absent."""

    task_id: str
    name: str
    image: str
    config: dict[str, Any]  #: the body of Docker's ``POST /containers/create``
    host_ports: tuple[int, ...] = ()  #: TCP ports that must be free on the host
    force_pull: bool = False
    fetch: tuple[Fetch, ...] = ()
    udp_ports: tuple[int, ...] = ()  #: of the host, the task's own from now on
    publish: tuple[Port, ...] = ()  #: to be published beside Docker: see played_host


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


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    """Remove a container in whatever state it is. One that is gone already is fine."""

    task_id: str


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
class TellBalancers:
    """Tell every live balancer that the removal of these services is planned."""

    task_id: str
    service_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AskBalancers:
    """Ask every live balancer until none uses the services any more, or the time is over."""

    task_id: str
    service_ids: tuple[str, ...]
    timeout_s: float


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
    | Probe
    | Register
    | Deregister
    | TellBalancers
    | AskBalancers
    | AbandonDrain
    | Exit
)
