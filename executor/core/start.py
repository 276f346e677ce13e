"""From a task's payload to the action that starts it, pure: a Docker container, or without an image a process of the host."""

from __future__ import annotations

from eratos.common import names
from eratos.common.errors import PermanentError
from eratos.common.payload import TaskPayload

from .actions import StartContainer, StartProcess
from .container import container_config, host_ports, published
from .environment import environment
from .host import Host
from .mark import Mark


def start_action(payload: TaskPayload, host: Host) -> StartContainer | StartProcess:
    """Return how to start a task. Raises PermanentError naming the field that cannot be honoured."""
    if payload.runtime not in host.runtimes:
        what = "an image" if payload.runtime == "docker" else "no image"
        raise PermanentError(f"the app has {what}, and runtime {payload.runtime} is switched off on this host (ERATOS_RUNTIMES)")
    if payload.runtime == "process":
        return _process(payload, host)
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
    )


def _process(payload: TaskPayload, host: Host) -> StartProcess:
    if not payload.args:
        raise PermanentError("args are empty: a task without an image needs a command")
    if payload.network != "host":
        raise PermanentError(f"network {payload.network!r} needs a container: a process is on its host's")
    # What only a container can do, in the words of the payload.
    for field in ("volumes", "parameters", "privileged", "cpus_limit_m"):
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
    )
