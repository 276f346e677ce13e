"""The app as everybody works with it: Marathon's definition as one frozen model, and what follows from its fields.

Called by the API, the store's codec, the scheduler's core and the command line. How JSON becomes one: :mod:`.definition`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr

from eratos.common import names
from eratos.common.payload import CheckKind
from eratos.common.resources import Resources
from eratos.common.routing import Routing

from . import labels as known_labels
from . import registrator
from .app_parts import (
    DISABLED,
    AppPort,
    Aside,
    ConstraintItem,
    Container,
    ExecutorResources,
    Fetch,
    Labels,
    Network,
    Part,
    PortDefinition,
    Residency,
    ResourceLimits,
    Seconds,
    Secret,
    SecretVariable,
    UnreachableChoice,
    UnreachableStrategy,
    UpgradeStrategy,
    Volume,
)
from .autoscale import Autoscale
from .checks import Check, HealthCheck, ReadinessCheck
from .error_budget import ErrorBudget
from .extras import Extras
from .routing import port_labels, routing

#: The least memory with which Docker starts a container, in MiB (moby, daemon_unix.go, linuxMinMemory).
MEM_MIB_MIN = 6

#: What Marathon leaves out of an app's JSON while it is empty.
_OMITTED_WHEN_EMPTY = (
    *("args", "constraints", "dependencies", "env", "secrets", "fetch", "healthChecks", "readinessChecks"),
    *("acceptedResourceRoles", "version", "tty"),
)


class App(Part):
    """An app as Marathon 1.11 defines it, less what eratos refuses. The core sets ``version``."""

    id: str
    cmd: Annotated[str, Field(min_length=1)] | None = None
    args: tuple[str, ...] = ()
    user: Annotated[str, Field(min_length=1)] | None = None
    variables: Mapping[str, str | SecretVariable] = Field(default={}, alias="env")
    secrets: Mapping[str, Secret] = {}
    instances: Annotated[int, Field(ge=0)] = 1
    cpus: Annotated[float, Field(ge=0.001, le=1e6)] = 1.0
    mem: Annotated[float, Field(ge=MEM_MIB_MIN, le=1e9)] = 128.0
    disk: Annotated[float, Field(ge=0, le=1e12)] = 0.0
    gpus: Annotated[int, Field(ge=0, le=1000)] = 0
    constraints: tuple[ConstraintItem, ...] = ()
    accepted_resource_roles: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    role: Annotated[str, Field(min_length=1)] | None = None
    port_definitions: tuple[PortDefinition, ...] = ()
    require_ports: bool = False
    networks: tuple[Network, ...] = (Network(),)
    container: Container = Container()
    backoff_seconds: Seconds = 1
    backoff_factor: Annotated[float, Field(ge=1)] = 1.15
    max_launch_delay_seconds: Seconds = 300
    health_checks: tuple[HealthCheck, ...] = ()
    readiness_checks: tuple[ReadinessCheck, ...] = ()
    check: Check | None = None
    fetch: tuple[Fetch, ...] = ()
    dependencies: tuple[str, ...] = ()
    upgrade_strategy: UpgradeStrategy = UpgradeStrategy()
    labels: Labels = {}
    task_kill_grace_period_seconds: Seconds | None = None
    kill_selection: Literal["YOUNGEST_FIRST", "OLDEST_FIRST"] = "YOUNGEST_FIRST"
    unreachable_strategy: UnreachableChoice = UnreachableStrategy()
    residency: Residency | None = None
    resource_limits: ResourceLimits | None = None
    executor_resources: ExecutorResources | None = None
    tty: bool = False
    eratos: Extras = Extras()
    version: str = ""
    #: Stored by a version that balanced every app, and not changed since: it keeps what it had. No user can state it.
    _unasked: bool = PrivateAttr(default=False)
    #: Indexes of the ports whose service port the scheduler chose. JSON does not distinguish them from those that were stated.
    _assigned: frozenset[int] = PrivateAttr(default=frozenset())
    _aside: Aside = PrivateAttr(default=Aside())

    def to_json(self) -> dict[str, Any]:
        """Return Marathon's JSON in canonical form: parsing it gives an equal app."""
        data = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        data.setdefault("unreachableStrategy", DISABLED)
        for key in _OMITTED_WHEN_EMPTY:
            if not data[key]:
                del data[key]
        for volume in data["container"]["volumes"]:
            if "secret" in volume:
                del volume["mode"]  # as in Marathon
        if self.network != "host":
            del data["portDefinitions"]
        if self.container == Container():
            del data["container"]
        # Of our own only what is stated: some of it goes with some kinds of requirements alone.
        data["eratos"] = self.eratos.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
        if not data["eratos"]:
            del data["eratos"]
        return data

    def with_role(self, role: str | None) -> Self:
        return self.model_copy(update={"role": role})

    def with_version(self, version: str) -> Self:
        return self.model_copy(update={"version": version})

    @property
    def unasked(self) -> bool:
        """Whether balancers serve it by the rules of the version that stored it, which did not wait to be asked."""
        return self._unasked

    def with_unasked(self, unasked: bool) -> Self:
        """Return the app with the rules for balancing of the version that stored it, or of this one."""
        copy = self._anew()
        copy._unasked = unasked
        return copy

    @property
    def assigned(self) -> frozenset[int]:
        """Indexes of the ports whose service port the scheduler chose."""
        return self._assigned

    def with_service_ports(self, service_ports: Sequence[int], assigned: Iterable[int]) -> Self:
        """Return the app with one service port for each of its ports; ``assigned``: the indexes of those that were chosen."""
        if self.network == "host":
            definitions = zip(self.port_definitions, service_ports, strict=True)
            changed: dict[str, Any] = {"port_definitions": tuple(d.model_copy(update={"port": port}) for d, port in definitions)}
        else:
            mappings = zip(self.container.port_mappings or (), service_ports, strict=True)
            mapped = tuple(mapping.model_copy(update={"service_port": port}) for mapping, port in mappings)
            changed = {"container": self.container.model_copy(update={"port_mappings": mapped})}
        copy = self._anew(**changed)
        copy._assigned = frozenset(assigned)
        return copy

    def with_assigned(self, assigned: Iterable[int]) -> Self:
        """Return the app with the same service ports, of which the scheduler chose those of these indexes."""
        return self.with_service_ports([port.service_port for port in self.ports], assigned)

    @property
    def dropped(self) -> tuple[tuple[str, str], ...]:
        """Fields that were given and have no effect here: place and reason. Not in JSON, and no part of the definition."""
        return self._aside.dropped

    def with_dropped(self, dropped: Iterable[tuple[str, str]]) -> Self:
        copy = self._anew()
        copy._aside = Aside(tuple(dropped))
        return copy

    def _anew(self, **changed: Any) -> Self:
        """Return a copy with other fields, without what was computed of these."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        copy = type(self).model_construct(self.model_fields_set | changed.keys(), **fields | changed)
        copy._unasked, copy._assigned, copy._aside = self._unasked, self._assigned, self._aside
        return copy

    def with_instances(self, instances: int) -> Self:
        return self.model_copy(update={"instances": instances})

    def same_definition(self, other: App) -> bool:
        """Return whether both describe the same tasks: anything counts but how many there are to be, and the version."""
        return self._of_tasks() == other._of_tasks()

    def _of_tasks(self) -> Self:
        eratos = self.eratos
        of_scheduler = dict.fromkeys(("autoscale", "error_budget", "follow"))
        if any(getattr(eratos, name) is not None for name in of_scheduler):
            eratos = eratos.model_copy(update=of_scheduler)
        return self.model_copy(update={"instances": 0, "version": "", "eratos": eratos})

    @property
    def awaited(self) -> tuple[str, ...]:
        """The apps and groups that have to be there before it: those it depends on, and those it requires and waits for."""
        required = (app_id for app_id in self.eratos.awaited() if app_id != self.id)
        return tuple(dict.fromkeys((*self.dependencies, *required)))

    @cached_property
    def resources(self) -> Resources:
        """What one instance takes, rounded up to whole MiB and to Mesos' thousandths of a CPU."""
        return Resources(max(1, round(self.cpus * 1000)), math.ceil(self.mem), math.ceil(self.disk), self.gpus)

    @cached_property
    def cpus_limit_m(self) -> int:
        """Hard limit in thousandths of a CPU; 0: none, ``cpus`` is a weight."""
        limit = self.resource_limits.cpus if self.resource_limits else "unlimited"
        return 0 if isinstance(limit, str) else round(limit * 1000)

    @cached_property
    def mem_limit_mib(self) -> int | None:
        """Hard limit in MiB; 0: ``mem`` itself, None: there is none."""
        limit = self.resource_limits.mem if self.resource_limits else None
        if limit is None:
            return 0
        return None if isinstance(limit, str) else math.ceil(limit)

    @cached_property
    def launch_bytes(self) -> int:
        """About how much one launch takes on the wire: the instruction in base64, and labels and resources beside it."""
        return 2 * len(self.model_dump_json(by_alias=True, exclude_none=True)) + 2048

    @property
    def checked(self) -> bool:
        """Whether its instances have to be reported healthy before a deployment counts on them."""
        return bool(self.health_checks or self.readiness_checks)

    @cached_property
    def ports(self) -> tuple[AppPort, ...]:
        if self.network == "host":
            # Without requirePorts a definition's number is a service port, and any host port will do (app.raml).
            return tuple(
                AppPort(p.port if self.require_ports else 0, 0, p.protocol, p.name or "", p.labels, p.port, i in self._assigned)
                for i, p in enumerate(self.port_definitions)
            )
        return tuple(
            AppPort(p.host_port or 0, p.container_port, p.protocol, p.name or "", p.labels, p.service_port, i in self._assigned)
            for i, p in enumerate(self.container.port_mappings or ())
        )

    @cached_property
    def taken_ports(self) -> frozenset[int]:
        """The ports of balancers and hosts that it states or was given, which are nobody else's to be given."""
        stated = (number for port in self.ports for number in (port.service_port, port.host_port))
        return frozenset((*stated, *port_labels(self.labels)))

    @property
    def network(self) -> Literal["host", "bridge"]:
        """``bridge``: its containers have a network of their own, and ports are published on the host."""
        return "host" if self.networks[0].mode == "host" else "bridge"

    @property
    def docker_networks(self) -> tuple[str, ...]:
        """The Docker networks that its containers join; empty: the host's, or Docker's own bridge."""
        return tuple(network.name for network in self.networks if network.mode == "container" and network.name)

    @property
    def image(self) -> str:
        """The Docker image; empty: the command runs as a process of the agent's host."""
        return self.container.docker.image if self.container.docker else ""

    @cached_property
    def env(self) -> Mapping[str, str]:
        """The variables that are stated."""
        return {name: value for name, value in self.variables.items() if isinstance(value, str)}

    @cached_property
    def secret_env(self) -> Mapping[str, str]:
        """The variables that hold secrets, with the sources of these."""
        held = ((name, value.secret) for name, value in self.variables.items() if isinstance(value, SecretVariable))
        return {name: self.secrets[secret].source for name, secret in held}

    @property
    def command_args(self) -> tuple[str, ...] | None:
        """The command with its arguments, or None where the image's own is wanted."""
        if self.cmd is not None:
            return ("/bin/sh", "-c", self.cmd)
        return self.args or None

    @cached_property
    def service_tags(self) -> tuple[tuple[str, ...], ...]:
        """Tags of each port's service in Consul, beside our own."""
        of_all, stated = known_labels.consul_tags(self.labels), {**self.env, **self.labels}
        return tuple(tuple(dict.fromkeys((*of_all, *registrator.tags(stated, port)))) for port in self.ports)

    @cached_property
    def service_attributes(self) -> tuple[Mapping[str, str], ...]:
        """What each port's service has in its meta in Consul, beside our own."""
        own = self.eratos.attributes
        return tuple({**registrator.attributes(self.labels, port, own), **own} for port in self.ports)

    @property
    def drain_s(self) -> float:
        """Longest wait for the balancers to let go of an instance before SIGTERM."""
        return float(self.labels.get(known_labels.DRAIN_SECONDS, known_labels.DEFAULT_DRAIN_S))

    @cached_property
    def accepts(self) -> str:
        """Which resources it takes: ``reserved`` for the scheduler's role, ``unreserved``, or empty for either."""
        roles = set(self.accepted_resource_roles)
        if len(roles) != 1:
            return ""
        return "unreserved" if roles == {"*"} else "reserved"

    @property
    def placement(self) -> str:
        """How instances are placed: ``spread``, ``pack``, or empty for the scheduler's own setting."""
        return self.labels.get(known_labels.PLACEMENT, "")

    @property
    def per_host(self) -> bool:
        """Whether it has one instance on each host that can have one."""
        return self.eratos.per_host

    @cached_property
    def persistent_volumes(self) -> tuple[Volume, ...]:
        """Those of its volumes that each instance has of its own, and that outlive it."""
        return tuple(volume for volume in self.container.volumes if volume.persistent is not None)

    @property
    def resident(self) -> bool:
        """Whether its instances are bound to the hosts that their volumes are on."""
        return bool(self.persistent_volumes)

    @cached_property
    def exclusive_volumes(self) -> frozenset[str]:
        """The names of volumes that lie where other hosts reach them, and that one of its instances may write to at a time."""
        return frozenset(volume.exclusive for volume in self.container.volumes) - {""}

    @property
    def alone(self) -> bool:
        """Whether an instance comes after the end of the one before it, never beside it: only one may have its volumes."""
        return self.resident or bool(self.exclusive_volumes)

    @property
    def follows(self) -> bool:
        """Whether its instances leave hosts that are emptied, with copies of their volumes."""
        return self.eratos.follow is not None and self.resident

    @property
    def autoscale(self) -> Autoscale | None:
        """How the number of its instances follows what is measured; None: users alone set it."""
        return self.eratos.autoscale

    @property
    def error_budget(self) -> ErrorBudget | None:
        """How many of its requests may fail before nothing that is planned disturbs it; None: nobody said."""
        return self.eratos.error_budget

    @property
    def demands(self) -> known_labels.Demands | None:
        """How its new instances have to answer at the gates of a canary; None: nothing is demanded."""
        return known_labels.demands(self.labels, self.error_budget.tolerated if self.error_budget is not None else None)

    @property
    def ordinals(self) -> bool:
        """Whether each of its instances has an ordinal of its own."""
        return self.eratos.ordinals is not None

    @property
    def first_alone(self) -> bool:
        """Whether its other instances start only while the one with ordinal 0 is ready."""
        return self.eratos.ordinals is not None and self.eratos.ordinals.first_alone

    @property
    def single_instance(self) -> bool:
        return self.labels.get(known_labels.SINGLE_INSTANCE) == "true"

    @cached_property
    def routings(self) -> tuple[Routing, ...]:
        """How balancers route to each port."""
        checked = {self._port_of(check) for check in self.health_checks if check.protocol in CheckKind.over_http()}
        return tuple(
            routing(self.labels, index, port, http_checked=index in checked, unasked=self._unasked)
            for index, port in enumerate(self.ports)
        )

    def _port_of(self, check: HealthCheck) -> int | None:
        """Return the index of the port that a check asks; None: none of the app's."""
        if check.port is None:
            return check.port_index
        return next((i for i, port in enumerate(self.ports) if check.port in (port.host_port, port.container_port)), None)

    @cached_property
    def routing_meta(self) -> tuple[Mapping[str, str], ...]:
        """How balancers route to each port, as meta of its Consul service."""
        return tuple(routing.meta() for routing in self.routings)

    @cached_property
    def service_names(self) -> tuple[str, ...]:
        """The Consul service name of each port: the app's own for the first, with name or index for the others."""
        return tuple(
            names.service_name(self.id, "" if index == 0 else port.name or str(index)) for index, port in enumerate(self.ports)
        )
