"""Rules that tie several fields of an app together. Each names the fields it reads; it rests while one is unreadable.

So a typo in one field does not hide what is wrong elsewhere, and brings no false alarm of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from pathlib import PurePosixPath
from typing import Final

from eratos.common import docker_parameters, names, service_meta
from eratos.common.errors import PermanentError
from eratos.common.payload import CheckKind

from . import app_parts, expressions, labels, routing
from .app import App
from .app_parts import SecretVariable
from .errors import Problem

_EXAMPLE: Final = '"container": {"type": "DOCKER", "docker": {"image": "..."}}'
_PORT_FIELDS: Final = ("container", "networks", "portDefinitions", "ports", "requirePorts")


def problems(app: App, unreadable: Collection[str], *, stored: bool = False) -> Iterable[Problem]:
    """Hold an app against every rule whose fields could all be read; ``stored``: against those it was stored under."""
    for fields, rule in _RULES if stored else (*_RULES, *_RULES_OF_CHANGES):
        if not any(field in unreadable for field in fields):
            yield from rule(app)


def _attributes_for_consul(app: App) -> Iterable[Problem]:
    for key, value in app.eratos.attributes.items():
        if message := service_meta.fault(key, value):
            yield Problem(f"/eratos/attributes/{key}", message)


def _user_that_may_be(app: App) -> Iterable[Problem]:
    if message := app_parts.not_a_user(app.user):
        yield Problem("/user", message)


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
        yield Problem("/networks", "must be the host's without an image: a process has no network of its own")
    if app.container.volumes:
        yield Problem("/container/volumes", "need an image: a process sees its host's files; write to $MESOS_SANDBOX or to them")
    if app.cpus_limit_m:
        yield Problem("/resourceLimits/cpus", "needs an image: nothing limits what a process takes; remove it")
    if app.mem_limit_mib:
        yield Problem("/resourceLimits/mem", "needs an image: nothing limits what a process takes; remove it")
    if app.tty:
        yield Problem("/tty", "needs an image: a process has no terminal; remove it")


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


def _networks_of_ports(app: App) -> Iterable[Problem]:
    """Each name is that of a network; networks are there once."""
    yield from _repeated("networks", (network.name for network in app.networks if network.name))
    for index, mapping in enumerate(app.container.port_mappings or ()):
        for name in mapping.network_names or ():
            if name not in app.docker_networks:
                known = ", ".join(app.docker_networks) or "none"
                place = f"/container/portMappings({index})/networkNames"
                yield Problem(place, f"holds {name}, the app's networks of mode container are {known}: correct it")


def _known_secrets(app: App) -> Iterable[Problem]:
    held = [(f"/env/{name}/secret", value.secret) for name, value in app.variables.items() if isinstance(value, SecretVariable)]
    volumes = enumerate(app.container.volumes)
    held += [(f"/container/volumes({index})/secret", volume.secret) for index, volume in volumes if volume.secret]
    for index, volume in enumerate(app.container.volumes):
        options = volume.external.options if volume.external is not None else {}
        place = f"/container/volumes({index})/external/options"
        held += [(f"{place}/{key}", value.secret) for key, value in options.items() if isinstance(value, SecretVariable)]
    if app.container.docker is not None and app.container.docker.pull_config is not None:
        held.append(("/container/docker/pullConfig/secret", app.container.docker.pull_config.secret))
    for place, secret in held:
        if secret not in app.secrets:
            known = ", ".join(sorted(app.secrets)) or "none"
            yield Problem(place, f"is {secret}, the app's secrets are {known}: correct it, or add it to secrets")


def _checks_have_ports(app: App) -> Iterable[Problem]:
    for index, check in enumerate(app.health_checks):
        if check.protocol is CheckKind.COMMAND or check.port is not None or check.port_index is None:
            continue
        if check.port_index >= len(app.ports):
            has = routing.indices(len(app.ports))
            yield Problem(
                f"/healthChecks({index})/portIndex",
                f"is {check.port_index}, the app has {has}: correct it, add the port, or set the check's port",
            )
        elif app.ports[check.port_index].protocol == "udp":
            yield Problem(f"/healthChecks({index})/portIndex", f"is {check.port_index}, a UDP port: checks need TCP")


def _check_has_a_port(app: App) -> Iterable[Problem]:
    asked = app.check.asked if app.check is not None else None
    if asked is None or asked.port is not None:
        return
    index, where = asked.port_index or 0, f"/check/{'http' if app.check and app.check.http else 'tcp'}/portIndex"
    if index >= len(app.ports):
        yield Problem(where, f"is {index}, the app has {routing.indices(len(app.ports))}: correct it, or set port")
    elif app.ports[index].protocol == "udp":
        yield Problem(where, f"is {index}, a UDP port: checks need TCP")


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
    listed = False
    for index, parameter in enumerate(app.container.docker.parameters if app.container.docker else ()):
        if parameter.key not in docker_parameters.NAMES:
            instead = _INSTEAD.get(parameter.key, "")
            if not instead:
                instead = "remove it" if listed else f"known are {', '.join(sorted(docker_parameters.NAMES))}"
                listed = True
            yield Problem(f"/container/docker/parameters({index})/key", f"is refused, {parameter.key!r}: {instead}")


def _parameters_with_good_values(app: App) -> Iterable[Problem]:
    parameters = app.container.docker.parameters if app.container.docker else ()
    config = docker_parameters.blank()
    for index, parameter in enumerate(parameters):
        if parameter.key in docker_parameters.NAMES:
            try:
                docker_parameters.apply(config, [(parameter.key, parameter.value)])
            except PermanentError as error:
                yield Problem(f"/container/docker/parameters({index})/value", f"cannot be used: {error}")


def _labels(app: App) -> Iterable[Problem]:
    yield from labels.problems(app.labels, app.ports, stored=True)


def _later_labels(app: App) -> Iterable[Problem]:
    if any(routing.later(key) for key in app.labels):
        found = routing.problems(app.labels, app.ports)
        yield from (problem for problem in found if routing.later(problem.path.removeprefix("/labels/")))


def _single_instance(app: App) -> Iterable[Problem]:
    if not app.single_instance:
        return
    if app.instances > 1:
        yield Problem("/instances", f"is {app.instances}: the label {labels.SINGLE_INSTANCE} allows one at most")
    strategy = app.upgrade_strategy
    if strategy.minimum_health_capacity or strategy.maximum_over_capacity:
        yield Problem("/upgradeStrategy", f"must have both capacities 0 with the label {labels.SINGLE_INSTANCE}")


def _readable_expressions(app: App) -> Iterable[Problem]:
    most = expressions.STEPS_ON_EACH_HOST_MAX if app.per_host else expressions.STEPS_MAX
    unusable = app_parts.unusable(app.constraints, most)
    for index, constraint in enumerate(app.constraints):
        if refused := unusable.get(constraint):
            given = constraint.value[:60] + "..." * (len(constraint.value) > 60)
            yield Problem(f"/constraints({index})", f"has a regular expression that cannot be used, '{given}': {refused}")


def _limit_above_request(app: App) -> Iterable[Problem]:
    if app.cpus_limit_m and app.cpus_limit_m < app.resources.cpus_m:
        yield Problem("/resourceLimits/cpus", f"must be at least cpus, which is {app.cpus:g}")
    if app.mem_limit_mib and app.mem_limit_mib < app.resources.mem_mib:
        yield Problem("/resourceLimits/mem", f"must be at least mem, which is {app.mem:g}")


def _distinct_items(app: App) -> Iterable[Problem]:
    yield from _repeated("constraints", app.constraints)
    yield from _repeated("acceptedResourceRoles", app.accepted_resource_roles)
    yield from _repeated("dependencies", app.dependencies)
    yield from _repeated("fetch", (file.path for file in app.fetch))
    yield from _repeated("container/volumes", (volume.container_path for volume in app.container.volumes))
    if app.id in app.dependencies:
        yield Problem(f"/dependencies({app.dependencies.index(app.id)})", "is the app itself: remove it")


def _requirements(app: App) -> Iterable[Problem]:
    for name, requirement in app.eratos.requires.items():
        if requirement.app == app.id and requirement.wait and not app.ordinals:
            text = 'is the app itself, so that none could be the first: add "wait": false, or eratos.ordinals, which has a first'
            yield Problem(f"/eratos/requires/{name}/app", text)
        elif requirement.app == app.id and requirement.on_change.kind == "restart":
            text = "must be a command, a signal or nothing: each restart of the app would change what it requires, without end"
            yield Problem(f"/eratos/requires/{name}/onChange", text)


def _per_host(app: App) -> Iterable[Problem]:
    if not app.per_host:
        return
    if app.instances > 1:
        text = f"is {app.instances}: with eratos.perHost it must be 1, for one on each host, or 0 for none; hosts decide how many"
        yield Problem("/instances", text)
    if app.upgrade_strategy.maximum_over_capacity not in (0, 1):
        text = "has no meaning with eratos.perHost, as no host ever has two: remove it; minimumHealthCapacity sets the pace"
        yield Problem("/upgradeStrategy/maximumOverCapacity", text)
    for index, constraint in enumerate(app.constraints):
        of_one_host = constraint.operator == "UNIQUE" and constraint.field in ("hostname", "@hostname")
        if not (of_one_host or constraint.operator in _OF_HOSTS or (constraint.operator == "CLUSTER" and constraint.value)):
            text = f"is {constraint.operator}, which looks at other instances: with eratos.perHost use {', '.join(_OF_HOSTS)}"
            yield Problem(f"/constraints({index})", text)
    for label in (labels.SINGLE_INSTANCE, labels.CANARY, labels.BLUE_GREEN, labels.PLACEMENT):
        if label in app.labels:
            yield Problem(f"/labels/{label}", "has no meaning with eratos.perHost: remove it")


def _autoscale(app: App) -> Iterable[Problem]:
    if app.autoscale is None:
        return
    if fault := app.autoscale.fault(app.instances):
        yield Problem("/instances", fault)
    if app.per_host:
        yield Problem("/eratos/autoscale", "has no meaning with eratos.perHost: hosts decide how many there are; remove one")
    if app.single_instance and app.autoscale.max > 1:
        text = f"is {app.autoscale.max}: the label {labels.SINGLE_INSTANCE} allows one at most; remove autoscale"
        yield Problem("/eratos/autoscale/max", text)
    target = app.autoscale.target
    # With a hard limit no share is above 1.
    if target.cpu is not None and app.cpus_limit_m and target.cpu * (1 + app.autoscale.tolerance) >= 1:
        most = 1 / (1 + app.autoscale.tolerance)
        text = f"is never passed: with resourceLimits.cpus no share is above 1, and tolerance is {app.autoscale.tolerance:g}"
        yield Problem("/eratos/autoscale/target/cpu", f"{text}; give less than {most:.2f}")
    if target.balanced and not any(found.balanced for found in app.routings):
        why = "; ".join(dict.fromkeys(found.why_not for found in app.routings)) or "the app has no port"
        yield Problem("/eratos/autoscale/target", f"is counted by balancers, and none serves the app: {why}")
    elif target.queue is not None and not any(found.maxconn for found in app.routings):
        text = "never comes to be: requests wait where instances may have so many at a time; state the label ERATOS_0_MAXCONN"
        yield Problem("/eratos/autoscale/target/queue", text)


def _error_budget(app: App) -> Iterable[Problem]:
    if app.error_budget is None:
        if app.labels.get(labels.CANARY_ERRORS) == labels.BUDGET:
            text = f"is {labels.BUDGET}, and the app has none: add eratos.errorBudget, or give a share such as 0.5%"
            yield Problem(f"/labels/{labels.CANARY_ERRORS}", text)
        return
    served = [found for found in app.routings if found.balanced]
    if not served:
        why = "; ".join(dict.fromkeys(found.why_not for found in app.routings)) or "the app has no port"
        yield Problem("/eratos/errorBudget", f"is counted by balancers, and none serves the app: {why}")
    elif not any(found.mode == "http" for found in served):
        text = "counts answers, and balancers see none in mode tcp: remove it, or have a port served in mode http"
        yield Problem("/eratos/errorBudget", text)


def _ordinals(app: App) -> Iterable[Problem]:
    if not app.ordinals:
        return
    if app.per_host:
        yield Problem("/eratos/ordinals", "goes without perHost, where hosts tell the instances apart: remove one of the two")
    if app.upgrade_strategy.maximum_over_capacity not in (0, 1):
        text = "has no meaning with eratos.ordinals, as no ordinal is held twice: remove it; minimumHealthCapacity sets the pace"
        yield Problem("/upgradeStrategy/maximumOverCapacity", text)
    strategy = app.unreachable_strategy
    if strategy is not None and not 0 < strategy.inactive_after_seconds == strategy.expunge_after_seconds:
        text = (
            'must be "disabled" with eratos.ordinals, or have the same value above 0 for inactiveAfterSeconds and '
            "expungeAfterSeconds: an instance counts as dead before another one has its ordinal"
        )
        yield Problem("/unreachableStrategy", text)
    if app.kill_selection != "YOUNGEST_FIRST":
        yield Problem("/killSelection", "has no meaning with eratos.ordinals, where the highest goes first: remove it")
    for label in (labels.CANARY, labels.BLUE_GREEN):
        if label in app.labels:
            yield Problem(f"/labels/{label}", "has no meaning with eratos.ordinals: remove it")


#: Constraints that speak of a host alone.
_OF_HOSTS: Final = ("LIKE", "UNLIKE", "IS")


def _residency(app: App) -> Iterable[Problem]:
    """What goes with volumes that stay where they are; the bounds of upgradeStrategy are Marathon's (UpgradeStrategy.scala)."""
    if not app.resident:
        if app.residency is not None:
            text = "goes with volumes of the kind persistent, which bind instances to their hosts: add one, or remove it"
            yield Problem("/residency", text)
        if app.eratos.follow is not None:
            text = "goes with volumes of the kind persistent, which instances stay with otherwise: add one, or remove it"
            yield Problem("/eratos/follow", text)
        return
    strategy = app.upgrade_strategy
    if strategy.maximum_over_capacity > 0:
        text = "must be 0 with persistent volumes: one more instance would have volumes of its own, and these empty"
        yield Problem("/upgradeStrategy/maximumOverCapacity", text)
    if strategy.minimum_health_capacity > _RESIDENT_HEALTH_MOST:
        text = f"must be at most {_RESIDENT_HEALTH_MOST} with persistent volumes, as in Marathon: instances are replaced in place"
        yield Problem("/upgradeStrategy/minimumHealthCapacity", text)
    if app.unreachable_strategy is not None:
        text = 'must be "disabled" with persistent volumes: residency says what becomes of an instance whose host is away'
        yield Problem("/unreachableStrategy", text)
    if app.ordinals:
        text = "goes without persistent volumes, which do not follow their ordinal: an ordinal's next holder could have another's"
        yield Problem("/eratos/ordinals", text)
    if app.per_host:
        yield Problem("/eratos/perHost", "goes without persistent volumes, which bind instances already: use hostPath")
    if labels.BLUE_GREEN in app.labels:
        text = "goes without persistent volumes: a whole second set of instances would have volumes of its own, and these empty"
        yield Problem(f"/labels/{labels.BLUE_GREEN}", text)
    for index, volume in enumerate(app.container.volumes):
        below = [other for other in app.persistent_volumes if volume.in_sandbox and _lies_in(volume.source, other)]
        if below and not any(_mounts(volume.source, other) for other in below):
            text = f"lies in the persistent volume {below[0].container_path}, of which only the whole can be mounted elsewhere"
            yield Problem(f"/container/volumes({index})/hostPath", text)


def _one_writer(app: App) -> Iterable[Problem]:
    """What goes with volumes that others reach, too, of which one instance at a time may have the right to write."""
    if not app.exclusive_volumes:
        return
    named = ", ".join(sorted(app.exclusive_volumes))
    why = f"one instance at a time may write to the volume {named}: say external.shared if several may, or mode RO if none does"
    if app.instances > 1:
        yield Problem("/instances", f"is {app.instances}, and {why}")
    if app.autoscale is not None and app.autoscale.max > 1:
        yield Problem("/eratos/autoscale/max", f"is {app.autoscale.max}, and {why}")
    if app.per_host:
        yield Problem("/eratos/perHost", f"has an instance on each host, and {why}")
    if labels.BLUE_GREEN in app.labels:
        yield Problem(f"/labels/{labels.BLUE_GREEN}", f"has a second instance beside the first, and {why}")
    strategy = app.upgrade_strategy
    if strategy.maximum_over_capacity > 0:
        yield Problem("/upgradeStrategy/maximumOverCapacity", f"must be 0, as {why}")
    if strategy.minimum_health_capacity > _RESIDENT_HEALTH_MOST:
        text = f"must be at most {_RESIDENT_HEALTH_MOST}, as in Marathon: the old instance ends first, as {why}"
        yield Problem("/upgradeStrategy/minimumHealthCapacity", text)
    unreachable = app.unreachable_strategy
    if unreachable is not None and not 0 < unreachable.inactive_after_seconds == unreachable.expunge_after_seconds:
        text = (
            'must be "disabled", or have the same value above 0 for inactiveAfterSeconds and expungeAfterSeconds, after which an '
            f"instance out of reach counts as dead, whatever it writes: {why}"
        )
        yield Problem("/unreachableStrategy", text)


def _one_volume_of_a_name(app: App) -> Iterable[Problem]:
    """A name is one volume on a host, whatever mounts it, so all that is said of it must be the same."""
    first: dict[str, app_parts.ExternalVolume] = {}
    for index, volume in enumerate(app.container.volumes):
        external = volume.external
        if external is not None and first.setdefault(external.name, external) != external:
            text = f"is {external.name} twice, with different options: a name is one volume; write the same, or choose another"
            yield Problem(f"/container/volumes({index})/external/name", text)


#: Marathon's: with more, no old instance could be stopped before its successor is there.
_RESIDENT_HEALTH_MOST: Final = 0.5


def _lies_in(source: str, volume: app_parts.Volume) -> bool:
    return PurePosixPath(app_parts.SANDBOX, source).is_relative_to(volume.target)


def _mounts(source: str, volume: app_parts.Volume) -> bool:
    return str(PurePosixPath(app_parts.SANDBOX, source)) == volume.target


def _own_names(app: App) -> Iterable[Problem]:
    for index, volume in enumerate(app.container.volumes):
        if volume.external is not None and volume.external.name.startswith(f"{names.PREFIX}-"):
            text = f"begins with {names.PREFIX}-, as the volumes that eratos makes for one app alone: choose another name"
            yield Problem(f"/container/volumes({index})/external/name", text)


def _repeated(field: str, values: Iterable[object]) -> Iterable[Problem]:
    seen: set[object] = set()
    for index, value in enumerate(values):
        if value in seen:
            yield Problem(f"/{field}({index})", "is there twice: remove one")
        seen.add(value)


_EXTERNAL: Final = 'use container.volumes with external, whose options name "dvdi/driver"'

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
    "rm": "eratos itself removes containers that have ended",
    "stop-timeout": "use taskKillGracePeriodSeconds",
    "mount": _EXTERNAL,
    "volume-driver": _EXTERNAL,
    "volume-opt": _EXTERNAL,
}

_Rule = Callable[[App], Iterable[Problem]]

_RULES: Final[tuple[tuple[tuple[str, ...], _Rule], ...]] = (
    (("cmd", "args"), _one_command),
    (("cmd", "args", "container"), _something_to_run),
    (("container", "networks", "resourceLimits", "tty"), _process_on_its_host),
    (_PORT_FIELDS, _distinct_ports),
    (_PORT_FIELDS, _networks_of_ports),
    (("env", "secrets", "container"), _known_secrets),
    (("healthChecks", *_PORT_FIELDS), _checks_have_ports),
    (("check", *_PORT_FIELDS), _check_has_a_port),
    (("readinessChecks", "healthChecks", *_PORT_FIELDS), _readiness_checks),
    (("labels", *_PORT_FIELDS), _labels),
    (("labels", "instances", "upgradeStrategy"), _single_instance),
    (("cpus", "mem", "resourceLimits"), _limit_above_request),
    (("container",), _known_parameters),
    (("constraints", "acceptedResourceRoles", "dependencies", "container", "fetch", "id"), _distinct_items),
    (("eratos", "id"), _requirements),
    (("eratos", "instances", "constraints", "labels", "upgradeStrategy"), _per_host),
    (("eratos", "instances", "labels", "resourceLimits", *_PORT_FIELDS), _autoscale),
    (("eratos", "labels", *_PORT_FIELDS), _error_budget),
    (("eratos", "labels", "upgradeStrategy", "unreachableStrategy", "killSelection"), _ordinals),
    (("container", "residency", "upgradeStrategy", "unreachableStrategy", "eratos", "labels"), _residency),
    (("container", "instances", "upgradeStrategy", "unreachableStrategy", "eratos", "labels"), _one_writer),
)

#: Rules that came later than apps that may lie in a store: those go on as they are, may be scaled, and are held to them by their
#: next change of anything else.
_RULES_OF_CHANGES: Final[tuple[tuple[tuple[str, ...], _Rule], ...]] = (
    (("constraints", "eratos"), _readable_expressions),
    (("container",), _parameters_with_good_values),
    (("container",), _own_names),
    (("container",), _one_volume_of_a_name),
    (("user",), _user_that_may_be),
    (("eratos",), _attributes_for_consul),
    (("labels", *_PORT_FIELDS), _later_labels),
)
