"""Rules that tie several fields of an app together. Each names the fields it reads; it rests while one is unreadable.

So a typo in one field does not hide what is wrong elsewhere, and brings no false alarm of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Final

from . import expressions, labels, routing
from .errors import Problem

if TYPE_CHECKING:
    from .app import App

_EXAMPLE: Final = '"container": {"type": "DOCKER", "docker": {"image": "..."}}'
_PORT_FIELDS: Final = ("container", "networks", "portDefinitions", "ports", "requirePorts")


def problems(app: App, unreadable: Collection[str], *, stored: bool = False) -> Iterable[Problem]:
    """Hold an app against every rule whose fields could all be read; ``stored``: against those it was stored under."""
    for fields, rule in _RULES if stored else (*_RULES, *_RULES_OF_CHANGES):
        if not any(field in unreadable for field in fields):
            yield from rule(app)


def _one_command(app: App) -> Iterable[Problem]:
    if app.cmd is not None and app.args:
        yield Problem("/args", "goes without cmd: keep one of the two")


def _something_to_run(app: App) -> Iterable[Problem]:
    if not app.image and app.command_args is None:
        yield Problem("/container", f"is missing: add a Docker container, {_EXAMPLE}, or a cmd to run as a process of the host")


def _process_on_its_host(app: App) -> Iterable[Problem]:
    if app.image:
        return
    if app.network != "host":
        yield Problem("/networks", "must be the host's without a container: a process has no network of its own")
    if app.cpus_limit_m:
        yield Problem("/resourceLimits/cpus", "needs a container: nothing limits what a process takes; remove it")


def _distinct_ports(app: App) -> Iterable[Problem]:
    where = "/portDefinitions" if app.network == "host" else "/container/portMappings"
    yield from _twice(where, "name", (port.name for port in app.ports if port.name))
    if app.network == "host":
        yield from _twice(where, "port", (definition.port for definition in app.port_definitions if definition.port))
    else:
        yield from _twice(where, "hostPort", (port.host_port for port in app.ports if port.host_port))
        inner = (f"{port.container_port}/{port.protocol}" for port in app.ports if port.container_port)
        yield from _twice(where, "containerPort", inner)
    # An unnamed port's service is named after its index, which another port may have for a name.
    yield from _twice(where, "the Consul service", app.service_names)


def _twice(where: str, what: str, values: Iterable[object]) -> Iterable[Problem]:
    for value, count in Counter(values).items():
        if count > 1:
            yield Problem(where, f"has {what} {value} {count} times: every port needs its own")


def _checks_have_ports(app: App) -> Iterable[Problem]:
    for index, check in enumerate(app.health_checks):
        if check.protocol == "command" or check.port is not None or check.port_index is None:
            continue
        if check.port_index >= len(app.ports):
            has = routing.indices(len(app.ports))
            yield Problem(
                f"/healthChecks({index})/portIndex",
                f"is {check.port_index}, the app has {has}: correct it, add the port, or set the check's port",
            )
        elif app.ports[check.port_index].protocol == "udp":
            yield Problem(f"/healthChecks({index})/portIndex", f"is {check.port_index}, a UDP port: checks need TCP")


def _readiness_checks(app: App) -> Iterable[Problem]:
    ports = {port.name: port for port in app.ports if port.name}
    for index, check in enumerate(app.readiness_checks):
        if check.port_name not in ports:
            known = ", ".join(sorted(ports)) or "none"
            yield Problem(
                f"/readinessChecks({index})/portName", f"is {check.port_name}, the app's named ports are {known}: correct it"
            )
        elif ports[check.port_name].protocol == "udp":
            yield Problem(f"/readinessChecks({index})/portName", f"is {check.port_name}, a UDP port: checks need TCP")
    yield from _repeated("readinessChecks", (check.name for check in app.readiness_checks))


def _known_parameters(app: App) -> Iterable[Problem]:
    for index, parameter in enumerate(app.container.docker.parameters if app.container.docker else ()):
        if parameter.key not in DOCKER_PARAMETERS:
            instead = _INSTEAD.get(parameter.key, f"known are {', '.join(sorted(DOCKER_PARAMETERS))}")
            yield Problem(f"/container/docker/parameters({index})/key", f"is refused, {parameter.key!r}: {instead}")


def _labels(app: App) -> Iterable[Problem]:
    yield from labels.problems(app.labels, app.ports)


def _single_instance(app: App) -> Iterable[Problem]:
    if not app.single_instance:
        return
    if app.instances > 1:
        yield Problem("/instances", f"is {app.instances}: the label {labels.SINGLE_INSTANCE} allows one at most")
    strategy = app.upgrade_strategy
    if strategy.minimum_health_capacity or strategy.maximum_over_capacity:
        yield Problem("/upgradeStrategy", f"must have both capacities 0 with the label {labels.SINGLE_INSTANCE}")


def _readable_expressions(app: App) -> Iterable[Problem]:
    for index, constraint in enumerate(app.constraints):
        refused = expressions.refusal(constraint.value) if constraint.operator in ("LIKE", "UNLIKE") else ""
        if refused:
            given = constraint.value[:60] + "..." * (len(constraint.value) > 60)
            yield Problem(f"/constraints({index})", f"has a regular expression that cannot be used, '{given}': {refused}")


def _limit_above_request(app: App) -> Iterable[Problem]:
    if app.cpus_limit_m and app.cpus_limit_m < app.resources.cpus_m:
        yield Problem("/resourceLimits/cpus", f"must be at least cpus, which is {app.cpus:g}")


def _distinct_items(app: App) -> Iterable[Problem]:
    yield from _repeated("constraints", app.constraints)
    yield from _repeated("acceptedResourceRoles", app.accepted_resource_roles)
    yield from _repeated("dependencies", app.dependencies)
    yield from _repeated("fetch", (file.path for file in app.fetch))
    yield from _repeated("container/volumes", (volume.container_path for volume in app.container.volumes))
    if app.id in app.dependencies:
        yield Problem(f"/dependencies({app.dependencies.index(app.id)})", "is the app itself: remove it")


def _repeated(field: str, values: Iterable[object]) -> Iterable[Problem]:
    seen: set[object] = set()
    for index, value in enumerate(values):
        if value in seen:
            yield Problem(f"/{field}({index})", "is there twice: remove one")
        seen.add(value)


#: Options of docker run that the executor translates (executor/core/parameters.py; a test compares the two).
DOCKER_PARAMETERS: Final = frozenset(
    {
        "add-host",
        "cap-add",
        "cap-drop",
        "cpuset-cpus",
        "device",
        "dns",
        "dns-option",
        "dns-search",
        "entrypoint",
        "env",
        "group-add",
        "hostname",
        "init",
        "ipc",
        "label",
        "log-driver",
        "log-opt",
        "memory-reservation",
        "memory-swappiness",
        "oom-score-adj",
        "pid",
        "pids-limit",
        "privileged",
        "read-only",
        "security-opt",
        "shm-size",
        "stop-signal",
        "sysctl",
        "tmpfs",
        "ulimit",
        "user",
        "volume",
        "workdir",
    }
)

#: Options that have a field of their own.
_INSTEAD: Final = {
    "net": "use networks",
    "network": "use networks",
    "publish": "use container.portMappings",
    "memory": "use mem",
    "cpus": "use resourceLimits.cpus",
    "cpu-shares": "use cpus",
    "name": "containers are named after their task",
    "restart": "eratos itself starts what has ended",
    "stop-timeout": "use taskKillGracePeriodSeconds",
}

_Rule = Callable[["App"], Iterable[Problem]]

_RULES: Final[tuple[tuple[tuple[str, ...], _Rule], ...]] = (
    (("cmd", "args"), _one_command),
    (("cmd", "args", "container"), _something_to_run),
    (("container", "networks", "resourceLimits"), _process_on_its_host),
    (_PORT_FIELDS, _distinct_ports),
    (("healthChecks", *_PORT_FIELDS), _checks_have_ports),
    (("readinessChecks", "healthChecks", *_PORT_FIELDS), _readiness_checks),
    (("labels", *_PORT_FIELDS), _labels),
    (("labels", "instances", "upgradeStrategy"), _single_instance),
    (("cpus", "resourceLimits"), _limit_above_request),
    (("container",), _known_parameters),
    (("constraints", "acceptedResourceRoles", "dependencies", "container", "fetch", "id"), _distinct_items),
)

#: Rules that came later than apps that may lie in a store: those go on as they are, and are held to them by their next change.
_RULES_OF_CHANGES: Final[tuple[tuple[tuple[str, ...], _Rule], ...]] = ((("constraints",), _readable_expressions),)
