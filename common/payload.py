"""The task payload: all that an executor needs to run one task, carried in ``TaskInfo.data``.

The scheduler writes it from the app definition, the executor reads it; it is the whole contract between the two.
Versioned: an executor refuses a payload from a newer scheduler with a reason instead of misreading it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
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
    source: str
    read_only: bool = False
    named: bool = False


@dataclass(frozen=True, slots=True)
class Fetch:
    """A file that must be in the task's sandbox before it starts."""

    uri: str  #: ``http``, ``https`` or ``file``, or an absolute path of the host
    path: str  #: in the sandbox, relative
    extract: bool = True  #: unpack it there as well, where its name is an archive's
    executable: bool = False


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One of Marathon's health checks, all times in seconds."""

    protocol: str  #: ``http``, ``https``, ``tcp`` or ``command``
    path: str = "/"
    port: int = 0  #: the port to connect to, on the task's address
    command: str = ""
    grace_s: float = 300
    interval_s: float = 60
    timeout_s: float = 20
    max_failures: int = 3  #: consecutive failures until the task is killed; 0: never


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
    version: int = VERSION

    @property
    def runtime(self) -> Literal["docker", "process"]:
        """What runs the task."""
        return "docker" if self.image else "process"

    def to_bytes(self) -> bytes:
        """Encode for ``TaskInfo.data``."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":")).encode()

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
            raw["args"] = None if raw["args"] is None else tuple(raw["args"])
            return cls(**raw)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise PermanentError(f"task payload cannot be read: {error}") from error
