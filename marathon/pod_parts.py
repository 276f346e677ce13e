"""The parts of a pod's definition as frozen models, named and defaulted as in Marathon 1.11's RAML types (``pod.raml``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from eratos.common.payload import CheckKind

from .app_parts import (
    HOST_PATH,
    IMAGE,
    PATH,
    PORT_NAME,
    SANDBOX,
    AnyPort,
    Constraint,
    ExecutorResources,
    Fetch,
    Labels,
    Network,
    NetworkName,
    Part,
    PortName,
    PositiveSeconds,
    PullConfig,
    ResourceLimits,
    Seconds,
    Secret,
    SecretVariable,
    UnreachableChoice,
    UnreachableStrategy,
    UpgradeStrategy,
    parse_constraint,
)
from .checks import DEFAULT_DELAY_S, CheckCommand, ExecCheck, kind_of_check

#: The least memory with which Docker starts a container, in MiB (moby, daemon_unix.go, linuxMinMemory).
MEM_MIB_MIN = 6

Name = Annotated[str, Field(pattern=PORT_NAME, max_length=63)]
Variables = Mapping[str, str | SecretVariable]


class Endpoint(Part):
    """A port of a container, known in the whole pod by its name."""

    name: PortName
    container_port: AnyPort | None = None
    host_port: AnyPort | None = None
    protocol: Annotated[tuple[Literal["tcp", "udp"], ...], Field(min_length=1, max_length=2)] = ("tcp",)
    labels: Labels = {}
    network_names: tuple[NetworkName, ...] = ()

    @property
    def protocols(self) -> Literal["tcp", "udp", "udp,tcp"]:
        """The protocols as an app's port states them."""
        if len(set(self.protocol)) == 2:
            return "udp,tcp"
        return self.protocol[0]


class Exec(Part):
    command: CheckCommand
    override_entrypoint: bool | None = None

    @model_validator(mode="after")
    def _shells_override(self) -> Self:
        if self.command.shell is not None and self.override_entrypoint is False:
            raise ValueError(
                "has a command.shell, which always replaces the entrypoint: leave overrideEntrypoint out, or use argv"
            )
        return self

    @property
    def args(self) -> tuple[str, ...]:
        if self.command.shell is not None:
            return ("/bin/sh", "-c", self.command.shell)
        assert self.command.argv is not None
        return self.command.argv


class ContainerResources(Part):
    cpus: Annotated[float, Field(ge=0.001, le=1e6)] = 1.0
    mem: Annotated[float, Field(ge=MEM_MIB_MIN, le=1e9)] = 128.0
    disk: Annotated[float, Field(ge=0, le=1e12)] = 0.0
    gpus: Annotated[int, Field(ge=0, le=1000)] = 0


class Image(Part):
    kind: Literal["DOCKER"] = "DOCKER"
    id: Annotated[str, Field(min_length=1, pattern=IMAGE)]
    pull_config: PullConfig | None = None
    force_pull: bool = False
    labels: Labels = {}


class Lifecycle(Part):
    kill_grace_period_seconds: Annotated[float, Field(ge=0)] | None = None


class EndpointCheck(Part):
    endpoint: PortName


class EndpointHttpCheck(EndpointCheck):
    path: Annotated[str, Field(pattern=PATH, max_length=1024)] | None = None
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"


class PodHealthCheck(Part):
    """One of a container's; what it means for the pod is what an app's means for the app."""

    http: EndpointHttpCheck | None = None
    tcp: EndpointCheck | None = None
    exec: ExecCheck | None = None
    grace_period_seconds: Seconds = 300
    interval_seconds: PositiveSeconds = 60
    max_consecutive_failures: Annotated[int, Field(ge=0)] = 3
    timeout_seconds: PositiveSeconds = 20
    delay_seconds: Seconds = DEFAULT_DELAY_S

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kind_of_check(self.http, self.tcp, self.exec)
        return self

    @property
    def kind(self) -> CheckKind:
        return kind_of_check(self.http, self.tcp, self.exec)

    @property
    def endpoint(self) -> str:
        """The endpoint that is asked; empty for a command."""
        asked = self.http or self.tcp
        return asked.endpoint if asked is not None else ""

    @property
    def command(self) -> str:
        """The command as a shell takes it; empty where an endpoint is asked."""
        return self.exec.line if self.exec is not None else ""


class VolumeMount(Part):
    name: Name
    mount_path: Annotated[str, Field(min_length=1, max_length=1024, pattern=HOST_PATH)]
    read_only: bool = False

    @property
    def target(self) -> str:
        """The absolute path in the container."""
        return str(PurePosixPath(SANDBOX, self.mount_path))


class PodVolume(Part):
    """What several containers may mount: a folder of the instance's own, one of the host, or a secret."""

    name: Name
    host: Annotated[str, Field(pattern=HOST_PATH)] | None = None
    secret: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.host is not None and self.secret is not None:
            raise ValueError("has host and secret: keep one of the two, or none for a folder that lives as long as the instance")
        if self.host is not None and not self.host.startswith("/"):
            parts = PurePosixPath(self.host).parts
            if ".." in parts or not parts:
                raise ValueError(f"has host {self.host!r}: where it is relative it must lie in the sandbox, such as data")
        return self

    @property
    def source(self) -> str:
        """The host's path, relative ones in the instance's sandbox."""
        return self.host or f"volumes/{self.name}"


class PodContainer(Part):
    name: Name
    exec: Exec | None = None
    resources: ContainerResources
    resource_limits: ResourceLimits | None = None
    endpoints: Annotated[tuple[Endpoint, ...], Field(max_length=100)] = ()
    image: Image
    environment: Variables = {}
    user: Annotated[str, Field(min_length=1)] | None = None
    health_check: PodHealthCheck | None = None
    volume_mounts: tuple[VolumeMount, ...] = ()
    artifacts: tuple[Fetch, ...] = ()
    labels: Labels = {}
    lifecycle: Lifecycle | None = None
    tty: bool = False


class Backoff(Part):
    backoff: Annotated[float, Field(ge=0)] = 1
    backoff_factor: Annotated[float, Field(ge=1)] = 1.15
    max_launch_delay: Annotated[float, Field(ge=0)] = 300


class PodConstraint(Part):
    field_name: str
    operator: str
    value: str | None = None

    @model_validator(mode="after")
    def _readable(self) -> Self:
        _ = self.constraint
        return self

    @property
    def constraint(self) -> Constraint:
        """Raises ValueError where it is none."""
        return parse_constraint([self.field_name, self.operator, *([self.value] if self.value else [])])


class Placement(Part):
    constraints: tuple[PodConstraint, ...] = ()
    accepted_resource_roles: tuple[Annotated[str, Field(min_length=1)], ...] = ()


class Scheduling(Part):
    backoff: Backoff = Backoff()
    upgrade: UpgradeStrategy = UpgradeStrategy()
    placement: Placement = Placement()
    kill_selection: Literal["YOUNGEST_FIRST", "OLDEST_FIRST"] = "YOUNGEST_FIRST"
    unreachable_strategy: UnreachableChoice = UnreachableStrategy()


class Scaling(Part):
    kind: Literal["fixed"] = "fixed"
    instances: Annotated[int, Field(ge=0)] = 1


class PodSpec(Part):
    """A pod as its document states it."""

    id: str
    labels: Labels = {}
    user: Annotated[str, Field(min_length=1)] | None = None
    environment: Variables = {}
    containers: Annotated[tuple[PodContainer, ...], Field(min_length=1, max_length=32)]
    secrets: Mapping[str, Secret] = {}
    volumes: tuple[PodVolume, ...] = ()
    networks: Annotated[tuple[Network, ...], Field(min_length=1)] = (Network(),)
    scaling: Scaling = Scaling()
    scheduling: Scheduling = Scheduling()
    executor_resources: ExecutorResources | None = None
    role: Annotated[str, Field(min_length=1)] | None = None

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Those of all containers, in their order."""
        return tuple(endpoint for container in self.containers for endpoint in container.endpoints)
