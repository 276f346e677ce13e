"""From a task's payload to the action that starts it, pure: a Docker container, or without an image a process of the host."""

from __future__ import annotations

from dataclasses import replace

from eratos.common import names
from eratos.common.errors import PermanentError
from eratos.common.payload import Container, TaskPayload

from .actions import StartContainer, StartProcess
from .container import container_config, driver_volumes, host_ports, kept_volumes, networks, published
from .environment import environment
from .host import Host
from .ownership import Mark


def start_action(payload: TaskPayload, host: Host) -> StartContainer | StartProcess:
    """Return how to start a task. Raises PermanentError naming the field that cannot be honoured."""
    if payload.runtime not in host.runtimes:
        what = "an image" if payload.runtime == "docker" else "no image"
        raise PermanentError(f"the app has {what}, and runtime {payload.runtime} is switched off on this host (ERATOS_RUNTIMES)")
    if payload.runtime == "process":
        return _process(payload, host)
    if payload.containers:
        return _pod(payload, host)
    return StartContainer(
        payload.task_id,
        names.container_name(payload.task_id),
        payload.image,
        container_config(payload, host),
        host_ports(payload, "tcp"),
        payload.force_pull,
        payload.fetch,
        host_ports(payload, "udp"),
        published(payload, host),
        networks(payload, host)[1:],
        payload.secret_env,
        payload.secret_files,
        payload.pull_secret,
        volumes=kept_volumes(payload, host),
        of_drivers=driver_volumes(payload, host),
    )


def _pod(payload: TaskPayload, host: Host) -> StartContainer:
    """Return how to start a pod: its first container has the network and the ports, and the others join it there."""
    first, *others = payload.containers
    start = start_action(payload.of_container(first), host)
    assert isinstance(start, StartContainer), "containers of pods have images"
    joined = host.network if payload.network == "host" else f"container:{names.container_name(payload.task_id, first.name)}"
    parts = [
        _part_of_pod(start, payload, first),
        *(_part_of_pod(_joining(payload.of_container(each), host, joined), payload, each) for each in others),
    ]
    files = (
        replace(f, path=f"{part.folder}/{f.path}")
        for part, each in zip(parts, payload.containers, strict=True)
        for f in each.fetch
    )
    return replace(parts[0], fetch=tuple(files), others=tuple(parts[1:]))


def _joining(payload: TaskPayload, host: Host, network: str) -> StartContainer:
    """Return how to start a container on a network that is there: ports and whatever else belongs to it are another's."""
    return StartContainer(
        payload.task_id,
        "",
        payload.image,
        container_config(payload, host, network),
        force_pull=payload.force_pull,
        secret_env=payload.secret_env,
        secret_files=payload.secret_files,
        pull_secret=payload.pull_secret,
    )


def _part_of_pod(start: StartContainer, payload: TaskPayload, container: Container) -> StartContainer:
    marks = {names.LABEL_CONTAINER: container.name, names.LABEL_CONTAINERS: str(len(payload.containers))}
    return replace(
        start,
        name=names.container_name(payload.task_id, container.name),
        config={**start.config, "Labels": start.config["Labels"] | marks},
        container=container.name,
    )


def _process(payload: TaskPayload, host: Host) -> StartProcess:
    if not payload.args:
        raise PermanentError("args are empty: a task without an image needs a command")
    if payload.network != "host":
        raise PermanentError(f"network {payload.network!r} needs a container: a process is on its host's")
    # What only a container can do, in the words of the payload.
    for field in ("volumes", "parameters", "privileged", "cpus_limit_m", "tty", "secret_files", "keeps", "of_drivers"):
        if getattr(payload, field):
            raise PermanentError(f"{field} needs a container: give the app an image, or leave it out")
    mark = Mark(host.framework_id, host.name, host.agent_id, host.executor_id, payload.task_id)
    return StartProcess(
        payload.task_id,
        payload.args,
        environment(payload, host.hostname),
        mark.to_text(),
        payload.user,
        host_ports(payload, "tcp"),
        payload.fetch,
        host_ports(payload, "udp"),
        payload.secret_env,
    )
