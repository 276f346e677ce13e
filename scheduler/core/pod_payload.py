"""The containers of a pod, as its executor is to start them. Pure."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator

from eratos.common.payload import Container, Fetch, Port, SecretFile, Volume
from eratos.common.resources import Resources
from eratos.marathon.app_parts import UNLIMITED
from eratos.marathon.pod import Pod
from eratos.marathon.pod_parts import PodContainer, PodVolume, Variables


def containers(pod: Pod, ports: tuple[Port, ...]) -> Iterator[Container]:
    """Yield the containers of a pod; ``ports`` are those of its endpoints, in order."""
    shared = {**_endpoints(pod, ports), **_plain(pod.spec.environment)}
    volumes = {volume.name: volume for volume in pod.spec.volumes}
    for each in pod.spec.containers:
        resources = _resources(each)
        pull = each.image.pull_config
        yield Container(
            name=each.name,
            resources=resources,
            image=each.image.id,
            args=_args(each),
            env={**_own(each), **shared, **_plain(each.environment)},
            labels={**pod.labels, **each.labels},
            volumes=tuple(_mounts(each, volumes)),
            fetch=tuple(Fetch(file.uri, file.path, file.extract, file.executable) for file in each.artifacts),
            user=each.user or pod.spec.user or "",
            parameters=tuple(_entrypoint(each)),
            force_pull=each.image.force_pull,
            cpus_limit_m=_cpus_limit_m(each),
            tty=each.tty,
            mem_limit_mib=_mem_limit_mib(each),
            secret_env=pod.secret_env_of(each),
            secret_files=tuple(_secret_files(pod, each, volumes)),
            pull_secret=pod.secrets[pull.secret].source if pull is not None else "",
        )


def _endpoints(pod: Pod, ports: tuple[Port, ...]) -> dict[str, str]:
    """Return the variables by which every container finds every endpoint (marathon, TaskGroupBuilder.scala)."""
    variables = {}
    for endpoint, port in zip(pod.spec.endpoints, ports, strict=True):
        name = re.sub(r"[^A-Z0-9_]", "_", endpoint.name.upper())
        variables[f"EP_HOST_{name}"] = str(port.host_port)
        if endpoint.container_port is not None:
            variables[f"EP_CONTAINER_{name}"] = str(port.container_port)
    return variables


def _own(container: PodContainer) -> dict[str, str]:
    resources = container.resources
    return {
        "MARATHON_CONTAINER_ID": container.name,
        "MARATHON_CONTAINER_RESOURCE_CPUS": str(resources.cpus),
        "MARATHON_CONTAINER_RESOURCE_MEM": str(resources.mem),
        "MARATHON_CONTAINER_RESOURCE_DISK": str(resources.disk),
        "MARATHON_CONTAINER_RESOURCE_GPUS": str(resources.gpus),
    }


def _plain(variables: Variables) -> dict[str, str]:
    return {name: value for name, value in variables.items() if isinstance(value, str)}


def _resources(container: PodContainer) -> Resources:
    found = container.resources
    return Resources(max(1, round(found.cpus * 1000)), math.ceil(found.mem), math.ceil(found.disk), found.gpus)


def _args(container: PodContainer) -> tuple[str, ...] | None:
    if container.exec is None:
        return None
    args = container.exec.args
    return args[1:] if container.exec.override_entrypoint and container.exec.command.argv else args


def _entrypoint(container: PodContainer) -> Iterator[tuple[str, str]]:
    """Yield the parameter that has the command's first word replace the image's entrypoint, where that is asked for."""
    if container.exec is not None and container.exec.override_entrypoint and container.exec.command.argv:
        yield "entrypoint", shlex.quote(container.exec.args[0])


def _cpus_limit_m(container: PodContainer) -> int:
    limit = container.resource_limits.cpus if container.resource_limits is not None else UNLIMITED
    return 0 if isinstance(limit, str) else round(limit * 1000)


def _mem_limit_mib(container: PodContainer) -> int | None:
    limit = container.resource_limits.mem if container.resource_limits is not None else None
    if limit is None:
        return 0
    return None if isinstance(limit, str) else math.ceil(limit)


def _mounts(container: PodContainer, volumes: dict[str, PodVolume]) -> Iterator[Volume]:
    for mount in container.volume_mounts:
        volume = volumes[mount.name]
        if volume.secret is None:
            yield Volume(mount.target, volume.source, mount.read_only)


def _secret_files(pod: Pod, container: PodContainer, volumes: dict[str, PodVolume]) -> Iterator[SecretFile]:
    for mount in container.volume_mounts:
        secret = volumes[mount.name].secret
        if secret is not None:
            yield SecretFile(mount.target, pod.secrets[secret].source)
