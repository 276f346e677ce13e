"""The app definition: Marathon's, read and checked in one place. Everybody else works with :class:`App` alone.

Called by the API, the store's codec, the scheduler's core and the command line. One model instead of the four that
Marathon keeps of an app: raw JSON is normalised (:mod:`.normalise`), read into frozen parts (:mod:`.parts`), held
against the rules between fields (:mod:`.rules`), and every problem is reported together.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar

from pydantic import Field, PrivateAttr, ValidationError

from eratos.common import names
from eratos.common.resources import Resources

from . import bounds, documents, ids, messages, rules
from . import labels as known_labels
from .errors import PROBLEMS_MOST, InvalidApp, Problem
from .normalise import LEGACY_FIELDS, OUTPUT_ONLY, normalise
from .parts import (
    DISABLED,
    Constraint,
    ConstraintItem,
    Container,
    Fetch,
    HealthCheck,
    Labels,
    Network,
    Part,
    PortDefinition,
    ReadinessCheck,
    ResourceLimits,
    Seconds,
    UnreachableChoice,
    UnreachableStrategy,
    UpgradeStrategy,
)
from .routing import Routing, routing

__all__ = [
    "App",
    "AppPort",
    "Constraint",
    "HealthCheck",
    "InvalidApp",
    "Problem",
    "UnreachableStrategy",
    "UpgradeStrategy",
]

#: The least memory with which Docker starts a container, in MiB (moby, daemon_unix.go, linuxMinMemory).
MEM_MIB_MIN = 6

#: What Marathon leaves out of an app's JSON while it is empty.
_OMITTED_WHEN_EMPTY = (
    *("args", "constraints", "dependencies", "env", "fetch", "healthChecks", "readinessChecks"),
    *("acceptedResourceRoles", "version"),
)


#: Stands in for a required field that could not be read, while the rest is checked.
_STAND_INS: Mapping[str, Any] = {"id": "/", "container": {"docker": {"image": "-"}}}

A = TypeVar("A", bound="App")


class AppPort(NamedTuple):
    """One port of an app, whatever the network."""

    host_port: int  #: 0: any free port of the agent
    container_port: int  #: 0: the same as the host port
    protocol: str
    name: str
    labels: Mapping[str, str]
    service_port: int  #: where balancers may offer it; 0: not stated


class App(Part):
    """An app as Marathon 1.11 defines it, less what eratos refuses. See :meth:`parse`; the core sets ``version``."""

    id: str
    cmd: Annotated[str, Field(min_length=1)] | None = None
    args: tuple[str, ...] = ()
    user: Annotated[str, Field(min_length=1)] | None = None
    env: Labels = {}
    instances: Annotated[int, Field(ge=0)] = 1
    cpus: Annotated[float, Field(ge=0.001, le=1e6)] = 1.0
    mem: Annotated[float, Field(ge=MEM_MIB_MIN, le=1e9)] = 128.0
    disk: Annotated[float, Field(ge=0, le=1e12)] = 0.0
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
    fetch: tuple[Fetch, ...] = ()
    dependencies: tuple[str, ...] = ()
    upgrade_strategy: UpgradeStrategy = UpgradeStrategy()
    labels: Labels = {}
    task_kill_grace_period_seconds: Seconds | None = None
    kill_selection: Literal["YOUNGEST_FIRST", "OLDEST_FIRST"] = "YOUNGEST_FIRST"
    unreachable_strategy: UnreachableChoice = UnreachableStrategy()
    resource_limits: ResourceLimits | None = None
    version: str = ""
    #: Stored by a version that balanced every app, and not changed since: it keeps what it had. No user can state it.
    _unasked: bool = PrivateAttr(default=False)

    @classmethod
    def parse(cls, data: Any, base: str = "/", before: App | None = None) -> Self:
        """Read a user's definition; relative ids are taken below the group ``base``. Raises InvalidApp.

        Of the app that there is ``before``, what goes beyond today's bounds may stay.
        """
        if not isinstance(data, Mapping):
            raise InvalidApp([Problem("/", f"must be an object with the app's fields, not {messages.kind(data)}")])
        documents.check(data)
        return cls._read(data, base, _beyond(data, base, before), stored=False)

    @classmethod
    def restore(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote, version included. Raises InvalidApp.

        Bounds, and rules that came later, are for what is asked for (:meth:`parse`): what an older version stored is read.
        """
        return cls._read(data, "/", [], stored=True).with_version(str(data.get("version") or ""))

    @classmethod
    def _read(cls, data: Mapping[str, Any], base: str, problems: list[Problem], *, stored: bool) -> Self:
        raw, found = normalise(data)
        problems += found
        problems += _resolve_ids(raw, base)
        app, unreadable, found = _read(cls, raw)
        problems += found
        problems += rules.problems(app, unreadable | {_field(problem) for problem in problems}, stored=stored)
        if problems:
            raise InvalidApp(problems)
        return app

    def to_json(self) -> dict[str, Any]:
        """Return Marathon's JSON in canonical form: parsing it gives an equal app."""
        data = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        data.setdefault("unreachableStrategy", DISABLED)
        for key in _OMITTED_WHEN_EMPTY:
            if not data[key]:
                del data[key]
        if self.network != "host":
            del data["portDefinitions"]
        if self.container.docker is None:
            del data["container"]
        return data

    def with_version(self, version: str) -> Self:
        return self.model_copy(update={"version": version})

    @property
    def unasked(self) -> bool:
        """Whether balancers serve it by the rules of the version that stored it, which did not wait to be asked."""
        return self._unasked

    def with_unasked(self, unasked: bool) -> Self:
        """Return the app with the rules for balancing of the version that stored it, or of this one."""
        # Not a copy of what was computed by the other rules.
        copy = type(self).model_construct(
            self.model_fields_set, **{name: getattr(self, name) for name in type(self).model_fields}
        )
        copy._unasked = unasked
        return copy

    def with_instances(self, instances: int) -> Self:
        return self.model_copy(update={"instances": instances})

    def with_dependencies(self, dependencies: tuple[str, ...]) -> Self:
        """Return the app with further dependencies: those of the groups that it lies in."""
        return self.model_copy(update={"dependencies": tuple(dict.fromkeys((*self.dependencies, *dependencies)))})

    def same_definition(self, other: App) -> bool:
        """Tell whether both describe the same tasks: anything but the number of instances and the version counts."""
        return self.with_instances(0).with_version("") == other.with_instances(0).with_version("")

    @cached_property
    def resources(self) -> Resources:
        """What one instance takes, rounded up to whole MiB and to Mesos' thousandths of a CPU."""
        return Resources(max(1, round(self.cpus * 1000)), math.ceil(self.mem), math.ceil(self.disk))

    @cached_property
    def cpus_limit_m(self) -> int:
        """Hard limit in thousandths of a CPU; 0: none, ``cpus`` is a weight."""
        limit = self.resource_limits.cpus if self.resource_limits else "unlimited"
        return 0 if isinstance(limit, str) else round(limit * 1000)

    @cached_property
    def launch_bytes(self) -> int:
        """About how much one launch takes on the wire: the instruction in base64, and labels and resources beside it."""
        return 2 * len(self.model_dump_json(by_alias=True, exclude_none=True)) + 2048

    @property
    def checked(self) -> bool:
        """Whether its instances have to be told healthy before a deployment counts on them."""
        return bool(self.health_checks or self.readiness_checks)

    @cached_property
    def ports(self) -> tuple[AppPort, ...]:
        if self.network == "host":
            # Without requirePorts a definition's number is a service port, and any host port will do (app.raml).
            return tuple(
                AppPort(p.port if self.require_ports else 0, 0, p.protocol, p.name or "", p.labels, p.port)
                for p in self.port_definitions
            )
        mappings = self.container.port_mappings or ()
        return tuple(AppPort(p.host_port, p.container_port, p.protocol, p.name or "", p.labels, p.service_port) for p in mappings)

    @property
    def network(self) -> Literal["host", "bridge"]:
        return "host" if self.networks[0].mode == "host" else "bridge"

    @property
    def image(self) -> str:
        """The Docker image; empty: the command runs as a process of the agent's host."""
        return self.container.docker.image if self.container.docker else ""

    @property
    def command_args(self) -> tuple[str, ...] | None:
        """The command with its arguments, or None where the image's own is wanted."""
        if self.cmd is not None:
            return ("/bin/sh", "-c", self.cmd)
        return self.args or None

    @cached_property
    def consul_tags(self) -> tuple[str, ...]:
        return known_labels.consul_tags(self.labels)

    @property
    def drain_s(self) -> float:
        """Longest wait for the balancers to let go of an instance before SIGTERM."""
        return float(self.labels.get(known_labels.DRAIN_SECONDS, known_labels.DEFAULT_DRAIN_S))

    @property
    def placement(self) -> str:
        """How instances are placed: ``spread``, ``pack``, or empty for the scheduler's own setting."""
        return self.labels.get(known_labels.PLACEMENT, "")

    @property
    def single_instance(self) -> bool:
        return self.labels.get(known_labels.SINGLE_INSTANCE) == "true"

    @cached_property
    def routings(self) -> tuple[Routing, ...]:
        """How balancers route to each port."""
        checked = {self._port_of(check) for check in self.health_checks if check.protocol in ("http", "https")}
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


def _beyond(data: Mapping[str, Any], base: str, before: App | None) -> list[Problem]:
    """Return what goes beyond the bounds and did not before. Raises InvalidApp where reading on would cost too much."""
    given = {key: value for key, value in data.items() if key not in OUTPUT_ONLY}
    if isinstance(given.get("id"), str):
        with contextlib.suppress(ValueError):
            given["id"] = ids.absolute(given["id"], base)

    def new(rule: Callable[[Mapping[str, Any]], Iterable[Problem]]) -> list[Problem]:
        problems = list(itertools.islice(rule(given), PROBLEMS_MOST + 1))
        kept = set(rule(before.to_json())) if problems and before is not None else set()
        return [problem for problem in problems if problem not in kept]

    if too_large := new(bounds.sizes):
        raise InvalidApp(too_large)
    return new(bounds.values)


def _field(problem: Problem) -> str:
    """The top-level field that a problem is about."""
    return problem.path.split("/")[1].split("(")[0]


def _resolve_ids(raw: dict[str, Any], base: str) -> list[Problem]:
    problems = []
    if isinstance(raw.get("id"), str):
        try:
            raw["id"] = ids.app_id(raw["id"], base)
        except ValueError as error:
            problems.append(Problem("/id", str(error)))
    if isinstance(raw.get("dependencies"), list):
        for index, dependency in enumerate(raw["dependencies"]):
            try:
                raw["dependencies"][index] = ids.absolute(dependency, base) if isinstance(dependency, str) else dependency
            except ValueError as error:
                problems.append(Problem(f"/dependencies({index})", str(error)))
    return problems


def _read(cls: type[A], raw: dict[str, Any]) -> tuple[A, set[str], list[Problem]]:
    """Return the app, the top-level fields that could not be read (others stand in), and what is wrong with them."""
    try:
        return _validated(cls, raw), set(), []
    except ValidationError as error:
        problems = list(messages.problems(error, cls, LEGACY_FIELDS))
        unreadable = {str(detail["loc"][0]) for detail in error.errors(include_url=False, include_input=False)}
    readable = {key: value for key, value in raw.items() if key not in unreadable}
    return _validated(cls, {**_STAND_INS, **readable}), unreadable, problems


def _validated(cls: type[A], raw: dict[str, Any]) -> A:
    # Through JSON, because pydantic's strict mode takes a list for a tuple only from there.
    return cls.model_validate_json(json.dumps(raw))
