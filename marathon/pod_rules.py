"""Rules that tie several fields of a pod together, as :mod:`.rules` does for apps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from . import app_parts, labels
from .app_parts import UNLIMITED, SecretVariable
from .errors import Problem
from .pod import Pod
from .pod_parts import Endpoint, PodContainer, PodSpec, Variables


def problems(pod: Pod, *, stored: bool = False) -> Iterator[Problem]:
    """Hold a pod against every rule; ``stored``: against those it was stored under."""
    for rule in _RULES:
        yield from rule(pod.spec)
    yield from labels.problems(pod.labels, pod.ports, stored=stored)
    yield from _twice("/containers", "a Consul service", pod.service_names)
    if pod.single_instance and pod.instances > 1:
        yield Problem("/scaling/instances", f"is {pod.instances}: the label {labels.SINGLE_INSTANCE} allows one at most")
    if not stored:
        yield from _readable_expressions(pod)
        yield from _users(pod.spec)


def _users(spec: PodSpec) -> Iterator[Problem]:
    for place, name in (("", spec.user), *((f"/containers({i})", container.user) for i, container in enumerate(spec.containers))):
        if message := app_parts.not_a_user(name):
            yield Problem(f"{place}/user", message)


def _names(spec: PodSpec) -> Iterable[Problem]:
    yield from _twice("/containers", "name", (container.name for container in spec.containers))
    yield from _twice("/volumes", "name", (volume.name for volume in spec.volumes))
    yield from _twice("/containers", "endpoint", (endpoint.name for endpoint in spec.endpoints))


def _ports(spec: PodSpec) -> Iterable[Problem]:
    yield from _twice("/containers", "hostPort", (e.host_port for e in spec.endpoints if e.host_port))
    inner = (f"{e.container_port}/{protocol}" for e in spec.endpoints if e.container_port for protocol in e.protocol)
    yield from _twice("/containers", "containerPort", inner)
    networks = [network.name for network in spec.networks if network.name]
    for place, endpoint in _endpoints(spec):
        if spec.networks[0].mode == "host" and endpoint.container_port is not None:
            yield Problem(f"{place}/containerPort", "has no meaning on the host's network: use hostPort")
        if spec.networks[0].mode == "container" and endpoint.container_port is None:
            yield Problem(f"{place}/containerPort", "is missing: add it, or 0 for the number that the host's port gets")
        for name in endpoint.network_names:
            if name not in networks:
                yield Problem(f"{place}/networkNames", f"holds {name}, the pod's networks are {_listed(networks)}: correct it")


def _endpoints(spec: PodSpec) -> Iterator[tuple[str, Endpoint]]:
    for index, container in enumerate(spec.containers):
        for number, endpoint in enumerate(container.endpoints):
            yield f"/containers({index})/endpoints({number})", endpoint


def _networks(spec: PodSpec) -> Iterable[Problem]:
    yield from _twice("/networks", "name", (network.name for network in spec.networks if network.name))


def _mounts(spec: PodSpec) -> Iterable[Problem]:
    known = {volume.name: volume for volume in spec.volumes}
    used = set()
    for index, container in enumerate(spec.containers):
        yield from _twice(f"/containers({index})/volumeMounts", "mountPath", (m.target for m in container.volume_mounts))
        for number, mount in enumerate(container.volume_mounts):
            place = f"/containers({index})/volumeMounts({number})"
            used.add(mount.name)
            if mount.name not in known:
                yield Problem(f"{place}/name", f"is {mount.name}, the pod's volumes are {_listed(known)}: correct it")
            elif known[mount.name].secret and not mount.mount_path.startswith("/"):
                # Whoever may read an agent's files may read the sandboxes.
                yield Problem(f"{place}/mountPath", "must be absolute for a secret: a sandbox can be read from outside")
            elif not mount.mount_path.startswith("/") and ".." in mount.mount_path.split("/"):
                yield Problem(f"{place}/mountPath", "must lie in the sandbox where it is relative: write it without ..")
    for index, volume in enumerate(spec.volumes):
        if volume.name not in used:
            yield Problem(f"/volumes({index})", f"is mounted by no container: add a volumeMount of {volume.name}, or remove it")


def _secrets(spec: PodSpec) -> Iterable[Problem]:
    held = list(_secret_variables("", spec.environment))
    held += [(f"/volumes({index})/secret", volume.secret) for index, volume in enumerate(spec.volumes) if volume.secret]
    for index, container in enumerate(spec.containers):
        place = f"/containers({index})"
        held += _secret_variables(place, container.environment)
        if container.image.pull_config is not None:
            held.append((f"{place}/image/pullConfig/secret", container.image.pull_config.secret))
    for place, secret in held:
        if secret not in spec.secrets:
            yield Problem(place, f"is {secret}, the pod's secrets are {_listed(sorted(spec.secrets))}: correct it, or add it")


def _secret_variables(place: str, variables: Variables) -> Iterator[tuple[str, str]]:
    for name, value in variables.items():
        if isinstance(value, SecretVariable):
            yield f"{place}/environment/{name}/secret", value.secret


def _checks(spec: PodSpec) -> Iterable[Problem]:
    for index, container in enumerate(spec.containers):
        check = container.health_check
        if check is None or not check.endpoint:
            continue
        place = f"/containers({index})/healthCheck/{'http' if check.http else 'tcp'}/endpoint"
        own = {endpoint.name: endpoint for endpoint in container.endpoints}
        if check.endpoint not in own:
            yield Problem(place, f"is {check.endpoint}, the container's endpoints are {_listed(own)}: correct it")
        elif own[check.endpoint].protocol == ("udp",):
            yield Problem(place, f"is {check.endpoint}, which speaks UDP: checks need TCP")


def _limits(spec: PodSpec) -> Iterable[Problem]:
    for index, container in enumerate(spec.containers):
        for name, limit, least in _limits_of(container):
            if isinstance(limit, float) and limit < least:
                yield Problem(f"/containers({index})/resourceLimits/{name}", f"must be at least {name}, which is {least:g}")


def _limits_of(container: PodContainer) -> Iterator[tuple[str, float | str, float]]:
    if container.resource_limits is not None:
        yield "cpus", container.resource_limits.cpus, container.resources.cpus
        memory = container.resource_limits.mem
        yield "mem", UNLIMITED if memory is None else memory, container.resources.mem


def _artifacts(spec: PodSpec) -> Iterable[Problem]:
    for index, container in enumerate(spec.containers):
        yield from _twice(f"/containers({index})/artifacts", "destPath", (file.path for file in container.artifacts))


def _readable_expressions(pod: Pod) -> Iterable[Problem]:
    unusable = app_parts.unusable(pod.constraints)
    for index, constraint in enumerate(pod.constraints):
        if refused := unusable.get(constraint):
            yield Problem(f"/scheduling/placement/constraints({index})/value", f"cannot be used: {refused}")


def _twice(where: str, what: str, values: Iterable[object]) -> Iterator[Problem]:
    for value, count in Counter(values).items():
        if count > 1:
            yield Problem(where, f"has {what} {value} {count} times: each may be there once")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


_RULES: Final[tuple[Callable[[PodSpec], Iterable[Problem]], ...]] = (
    *(_names, _ports, _networks, _mounts, _secrets, _checks, _limits, _artifacts),
)
