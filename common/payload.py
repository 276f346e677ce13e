"""The task payload: all that an executor needs to run one task, carried in ``TaskInfo.data``.

The scheduler writes it from the app definition, the executor reads it; it is the whole contract between the two.
Versioned: an executor refuses a payload from a newer scheduler with a reason instead of misreading it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

from .errors import PermanentError
from .resources import Resources

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Port:
    """One port of a task. With host networking the process listens on ``host_port`` itself."""

    host_port: int
    container_port: int = 0  #: 0: the same as host_port
    protocol: str = "tcp"  #: ``tcp``, ``udp`` or ``udp,tcp``
    name: str = ""


@dataclass(frozen=True, slots=True)
class Volume:
    """A mount: a host path or, with ``named``, a Docker volume."""

    container_path: str
    source: str  #: a path that is relative lies in the task's sandbox
    read_only: bool = False
    named: bool = False


@dataclass(frozen=True, slots=True)
class KeptVolume:
    """A Docker volume of an app that outlives the task. It is among :attr:`TaskPayload.volumes` as well, which mount it."""

    name: str
    path: str  #: the app's own name for it: its containerPath
    slot: str
    new: bool = False  #: it may have to be made; else it is there, or its data is missing


@dataclass(frozen=True, slots=True)
class DriverVolume:
    """A volume of a Docker volume driver that is to be there before the task starts, as :attr:`TaskPayload.volumes` mount it."""

    name: str
    driver: str
    options: Mapping[str, str] = field(default_factory=dict)  #: that the driver is told when it makes the volume
    secret_options: Mapping[str, str] = field(default_factory=dict)  #: options that are secrets, and where these are
    alone: bool = False  #: nobody else may write to it meanwhile


@dataclass(frozen=True, slots=True)
class VolumeCopy:
    """A volume that is to be made on this host as a copy of one on another."""

    source: str  #: the other volume's name
    host: str  #: where that is: its agent's host name
    agent_id: str  #: that agent's id
    name: str
    path: str  #: the app's own name for it: its containerPath
    key: str = field(default="", repr=False)  #: by which the executor there gives that volume


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A secret that must be in a file of the task's container before it starts."""

    path: str  #: in the container, absolute
    source: str  #: its name in the executor's store of secrets


@dataclass(frozen=True, slots=True)
class Fetch:
    """A file that must be in the task's sandbox before it starts."""

    uri: str  #: ``http``, ``https`` or ``file``, or an absolute path of the host
    path: str  #: in the sandbox, relative
    extract: bool = True  #: unpack it there as well, where its name is an archive's
    executable: bool = False


class CheckKind(StrEnum):
    """How a health check asks."""

    HTTP = "http"
    HTTPS = "https"
    TCP = "tcp"
    COMMAND = "command"

    @classmethod
    def over_http(cls) -> tuple[CheckKind, ...]:
        return (cls.HTTP, cls.HTTPS)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One of Marathon's health checks, all times in seconds."""

    protocol: str  #: a :class:`CheckKind`
    path: str = "/"
    port: int = 0  #: the port to connect to, on the task's address
    command: str = ""
    grace_s: float = 300
    interval_s: float = 60
    timeout_s: float = 20
    max_failures: int = 3  #: consecutive failures until the task is killed; 0: never
    delay_s: float = 0  #: from the task's start to the first probe
    ipv6: bool = False
    ignore_1xx: bool = False  #: an answer with such a status says nothing
    container: str = ""  #: of a pod: in which of its containers a command runs


@dataclass(frozen=True, slots=True)
class ReadinessCheck:
    """One of Marathon's readiness checks: asked until it passes once, and before that the task gets no traffic."""

    name: str
    protocol: str  #: ``http`` or ``https``
    path: str
    port: int  #: the port to connect to, on the task's address
    interval_s: float = 30
    timeout_s: float = 10
    statuses: tuple[int, ...] = (200,)  #: HTTP statuses that mean ready
    keep_response: bool = False  #: show people the last answer


@dataclass(frozen=True, slots=True)
class Service:
    """One Consul service: what a port of the task is registered as once the instance is ready."""

    service_id: str
    name: str
    port: int
    tags: tuple[str, ...] = ()
    meta: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DiscoveryPort:
    """A port of the task as Mesos shows it to those who discover by it."""

    number: int
    name: str
    protocol: str  #: ``tcp`` or ``udp``
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OnChange:
    """What becomes of a running task when what it requires has changed."""

    kind: str  #: ``command``, ``signal``, ``restart`` or ``nothing``
    value: str = ""  #: the command for a shell, or the signal's name
    timeout_s: float = 60  #: longest that the command may take


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a task needs of others: resolved before it starts, given to it, and followed as long as it runs.

    One of ``services``, ``key`` and ``static`` says where to look.
    """

    name: str
    variable: str  #: what it is told by, such as ``REQUIRE_MYSQL``
    services: tuple[str, ...] = ()  #: Consul services; the first is where instances without a port's mark are looked for
    datacenter: str = ""  #: Consul's; empty: the agent's own
    app_id: str = ""  #: only instances of this app; empty: of anybody
    port: str = ""  #: only the app's port of this name; empty: whatever the services are
    tags: tuple[str, ...] = ()  #: all of them
    attributes: Mapping[str, str] = field(default_factory=dict)  #: meta of the services, and an expression for each in RE2
    zone: str = ""  #: where the task itself is
    zone_rule: str = "any"  #: ``any``; ``prefer`` or ``require`` instances of that zone
    key: str = ""  #: in Consul's key-value store
    static: tuple[str, ...] = ()  #: ``host:port`` of each
    least: int = 1  #: so many the start waits for
    wait: bool = True  #: False: it starts with fewer, and with none
    on_change: OnChange = OnChange("restart")


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a pod. What it does not say of itself, such as the network, is the whole pod's.

    The fields mean what those of the same names mean in :class:`TaskPayload`.
    """

    name: str
    resources: Resources
    image: str
    args: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()
    fetch: tuple[Fetch, ...] = ()
    user: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    force_pull: bool = False
    cpus_limit_m: int = 0
    tty: bool = False
    mem_limit_mib: int | None = 0
    secret_env: Mapping[str, str] = field(default_factory=dict)
    secret_files: tuple[SecretFile, ...] = ()
    pull_secret: str = ""


#: Fields for whoever launches the task; its executor has no use for them.
_OF_THE_LAUNCH: Final = ("discovery", "accepts")
#: Fields that came later. They are left out while they say nothing, so that executors which run already go on reading.
_LATER: Final[Mapping[str, Any]] = {
    **{"networks": (), "tty": False, "mem_limit_mib": 0},
    **{"secret_env": {}, "secret_files": (), "check": None, "requires": ()},
    **{"pull_secret": "", "containers": (), "keeps": (), "sweeps": False, "copies": (), "of_drivers": ()},
}
_LATER_OF_CHECKS: Final[Mapping[str, Any]] = {"delay_s": 0, "ipv6": False, "ignore_1xx": False, "container": ""}


@dataclass(frozen=True, slots=True)
class TaskPayload:
    """One task as the executor runs it."""

    task_id: str
    instance_id: str
    app_id: str
    app_version: str
    resources: Resources
    image: str  #: empty: ``args`` run as a process of the host
    args: tuple[str, ...] | None = None  #: None: the image's own command
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    network: str = "host"  #: ``host``, ``bridge`` or ``none``
    ports: tuple[Port, ...] = ()
    volumes: tuple[Volume, ...] = ()
    health_checks: tuple[HealthCheck, ...] = ()
    readiness_checks: tuple[ReadinessCheck, ...] = ()
    services: tuple[Service, ...] = ()
    fetch: tuple[Fetch, ...] = ()
    user: str = ""
    privileged: bool = False
    parameters: tuple[tuple[str, str], ...] = ()  #: Docker run options by name, as in Marathon's ``parameters``
    force_pull: bool = False
    cpus_limit_m: int = 0  #: hard limit in thousandths of a CPU; 0: ``resources.cpus_m`` is a weight, no limit
    kill_grace_s: float = 3  #: from SIGTERM to SIGKILL
    drain_s: float = 10  #: longest wait for the balancers to let go of the task before SIGTERM
    networks: tuple[str, ...] = ()  #: with network ``bridge``: Docker networks to join instead of Docker's own bridge
    tty: bool = False
    mem_limit_mib: int | None = 0  #: hard limit; 0: ``resources.mem_mib`` itself, None: there is none
    secret_env: Mapping[str, str] = field(default_factory=dict)  #: variables that hold secrets, and where these are
    secret_files: tuple[SecretFile, ...] = ()
    check: HealthCheck | None = None  #: whose answer is reported to Mesos, and says nothing about health
    requires: tuple[Requirement, ...] = ()
    pull_secret: str = ""  #: where the logins to the image's registry are in the store of secrets; empty: the host's count
    containers: tuple[Container, ...] = ()  #: of a pod: what it runs instead of an image, all with one life and one network
    keeps: tuple[KeptVolume, ...] = ()  #: volumes that are this app's, and are so looked at before the task starts
    of_drivers: tuple[DriverVolume, ...] = ()  #: volumes that a driver has, and makes where they are not there
    sweeps: bool = False  #: it runs nothing, and ends once what dead executors left on the host is gone
    copies: tuple[VolumeCopy, ...] = ()  #: it runs nothing, and ends once these are there whole
    discovery: tuple[DiscoveryPort, ...] = ()
    accepts: str = ""  #: ``reserved`` or ``unreserved``: what its resources may be taken from; empty: either
    version: int = VERSION

    @property
    def runtime(self) -> Literal["docker", "process"]:
        """What runs the task."""
        return "docker" if self.image or self.containers else "process"

    def of_container(self, container: Container) -> TaskPayload:
        """Return the instruction for one container of a pod, as if it were alone."""
        own = {each.name: getattr(container, each.name) for each in dataclasses.fields(container) if each.name != "name"}
        return dataclasses.replace(self, **own, containers=())

    def to_bytes(self) -> bytes:
        """Encode for ``TaskInfo.data``."""
        fields = {name: value for name, value in _fields(self).items() if name not in _OF_THE_LAUNCH}
        return json.dumps(fields, separators=(",", ":"), default=_fields).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> TaskPayload:
        """Decode; raises PermanentError saying what is wrong with the payload."""
        try:
            raw: dict[str, Any] = json.loads(data)
            version = raw.get("version")
            if version != VERSION:
                raise PermanentError(f"task payload has version {version}, this executor reads {VERSION}")
            raw["resources"] = Resources(**raw["resources"])
            for name, kind in (
                ("ports", Port),
                ("volumes", Volume),
                ("health_checks", HealthCheck),
                ("readiness_checks", ReadinessCheck),
                ("services", Service),
                ("fetch", Fetch),
            ):
                raw[name] = tuple(kind(**item) for item in raw[name])
            raw["services"] = tuple(dataclasses.replace(s, tags=tuple(s.tags)) for s in raw["services"])
            raw["readiness_checks"] = tuple(dataclasses.replace(c, statuses=tuple(c.statuses)) for c in raw["readiness_checks"])
            raw["parameters"] = tuple((key, value) for key, value in raw["parameters"])
            raw["check"] = HealthCheck(**raw["check"]) if raw.get("check") else None
            raw["secret_files"] = tuple(SecretFile(**item) for item in raw.get("secret_files", ()))
            raw["requires"] = tuple(_requirement(item) for item in raw.get("requires", ()))
            raw["keeps"] = tuple(KeptVolume(**item) for item in raw.get("keeps", ()))
            raw["of_drivers"] = tuple(DriverVolume(**item) for item in raw.get("of_drivers", ()))
            raw["copies"] = tuple(VolumeCopy(**item) for item in raw.get("copies", ()))
            raw["networks"] = tuple(raw.get("networks", ()))
            raw["containers"] = tuple(_container(item) for item in raw.get("containers", ()))
            raw["args"] = None if raw["args"] is None else tuple(raw["args"])
            return cls(**raw)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise PermanentError(f"task payload cannot be read: {error}") from error


_LATER_OF: Final[Mapping[type, Mapping[str, Any]]] = {TaskPayload: _LATER, HealthCheck: _LATER_OF_CHECKS}


def _fields(part: Any) -> dict[str, Any]:
    """Return the fields of a payload or of a part as they are sent. ``dataclasses.asdict`` takes ten times as long."""
    later = _LATER_OF.get(type(part), {})
    fields = {name: getattr(part, name) for name in part.__slots__}
    for name, nothing in later.items():
        if fields[name] == nothing:
            del fields[name]
    return fields


def _requirement(raw: dict[str, Any]) -> Requirement:
    lists = {name: tuple(raw[name]) for name in ("services", "tags", "static")}
    return Requirement(**{**raw, **lists, "on_change": OnChange(**raw["on_change"])})


def _container(raw: dict[str, Any]) -> Container:
    raw["resources"] = Resources(**raw["resources"])
    for name, kind in (("volumes", Volume), ("fetch", Fetch), ("secret_files", SecretFile)):
        raw[name] = tuple(kind(**item) for item in raw[name])
    raw["parameters"] = tuple((key, value) for key, value in raw["parameters"])
    raw["args"] = None if raw["args"] is None else tuple(raw["args"])
    return Container(**raw)
