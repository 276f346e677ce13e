"""From a task's payload to the body of Docker's ``POST /containers/create``, pure.

Written straight in the Engine API's words (docs.docker.com/engine/api/v1.41), so that what a task runs with can be read
and tested in one place. What cannot be done is refused with a reason; nothing is dropped silently.
"""

from __future__ import annotations

from typing import Any, Final

from eratos.common import names
from eratos.common.errors import PermanentError
from eratos.common.payload import Port, TaskPayload, Volume

from .environment import environment
from .host import Host
from .parameters import apply_parameters

#: A container's sandbox, with what was fetched, as with Mesos' own Docker executor (--sandbox_directory).
SANDBOX: Final = "/mnt/mesos/sandbox"
MIB: Final = 1024 * 1024
#: Docker's least weight.
_CPU_SHARES_MIN: Final = 2
_CPU_PERIOD_US: Final = 100_000
#: Docker's own default never rotates: one talkative task would fill the host's disk (F29).
_LOG_CONFIG: Final = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
_SHELL: Final = ("/bin/sh", "-c")


def container_config(payload: TaskPayload, host: Host) -> dict[str, Any]:
    """Return the create body for a task. Raises PermanentError naming the field that cannot be honoured."""
    config: dict[str, Any] = {
        "Image": payload.image,
        "Env": [f"{key}={value}" for key, value in ({"MESOS_SANDBOX": SANDBOX} | environment(payload, host.hostname)).items()],
        "Labels": labels(payload, host),
        "HostConfig": {
            "NetworkMode": _network(payload, host),
            # The executor decides about restarts with the scheduler: Docker must not.
            "RestartPolicy": {"Name": "no"},
            "Init": False,
            "LogConfig": _LOG_CONFIG,
            "Binds": [_bind(volume) for volume in payload.volumes],
            "Privileged": payload.privileged,
            **_limits(payload),
        },
    }
    if payload.args is not None:
        # A shell command replaces the image's entrypoint, as with Mesos' own Docker executor; plain arguments follow it.
        if payload.args[:2] == _SHELL:
            config["Entrypoint"], config["Cmd"] = [_SHELL[0]], list(payload.args[1:])
        else:
            config["Cmd"] = list(payload.args)
    if payload.user:
        config["User"] = payload.user
    if payload.network == "bridge":
        config["ExposedPorts"] = {key: {} for port in payload.ports for key in _port_keys(port)}
        if host.real:
            config["HostConfig"]["PortBindings"] = {
                key: [{"HostPort": str(port.host_port)}] for port in payload.ports for key in _port_keys(port)
            }
    apply_parameters(config, payload.parameters)
    if config["HostConfig"].get("ReadonlyRootfs") and not payload.fetch:
        # Nothing can be put into such a container beforehand.
        config["HostConfig"].setdefault("Tmpfs", {}).setdefault(SANDBOX, "mode=1777")
    if payload.network == "bridge" and host.dns:
        config["HostConfig"].setdefault("Dns", [host.dns])
    if not host.real:
        config["HostConfig"]["Binds"] = [_on_this_host(bind, host) for bind in config["HostConfig"]["Binds"]]
    return config


def labels(payload: TaskPayload, host: Host) -> dict[str, str]:
    """Return the labels by which containers are found again after the executor's death."""
    return {
        names.LABEL_FRAMEWORK: host.framework_id,
        names.LABEL_EXECUTOR: host.executor_id,
        names.LABEL_AGENT: host.agent_id,
        names.LABEL_HOST: host.name,
        names.LABEL_APP: payload.app_id,
        names.LABEL_INSTANCE: payload.instance_id,
        names.LABEL_TASK: payload.task_id,
    }


def host_ports(payload: TaskPayload, protocol: str) -> tuple[int, ...]:
    """Return the ports of a protocol that the task needs on the host."""
    if payload.network == "none":
        return ()
    return tuple(port.host_port for port in payload.ports if protocol in port.protocol.split(","))


def published(payload: TaskPayload, host: Host) -> tuple[Port, ...]:
    """Return the ports that are to be published beside Docker, which does so on real hosts only."""
    return payload.ports if payload.network == "bridge" and not host.real else ()


def stand_in_ports(payload: TaskPayload) -> tuple[int, ...]:
    """Return the port whose accepting stands in for checks: of an app without any the first TCP port, if there is one."""
    if payload.readiness_checks or payload.health_checks:
        return ()
    return host_ports(payload, "tcp")[:1]


def probe_target(payload: TaskPayload, port: int, address: str) -> tuple[str, int]:
    """Return where to reach a task's port from its own host.

    A bridged container is asked at its own address: on a published port Docker's proxy accepts before the task listens.
    """
    if payload.network != "bridge" or not address:
        return "127.0.0.1", port
    for candidate in payload.ports:
        if candidate.host_port == port:
            return address, candidate.container_port or port
    return address, port


def _limits(payload: TaskPayload) -> dict[str, Any]:
    resources = payload.resources
    limits: dict[str, Any] = {"CpuShares": max(_CPU_SHARES_MIN, resources.cpus_m * 1024 // 1000)}
    if payload.cpus_limit_m:
        limits |= {"CpuPeriod": _CPU_PERIOD_US, "CpuQuota": payload.cpus_limit_m * _CPU_PERIOD_US // 1000}
    if resources.mem_mib:
        # As much swap as memory means: no swap beyond it.
        limits |= {"Memory": resources.mem_mib * MIB, "MemorySwap": resources.mem_mib * MIB}
    if resources.gpus:
        limits["DeviceRequests"] = [{"Driver": "nvidia", "Count": resources.gpus, "Capabilities": [["gpu"]]}]
    return limits


def _network(payload: TaskPayload, host: Host) -> str:
    if payload.network == "host":
        return host.network
    if payload.network == "none":
        return "none"
    if payload.network != "bridge":
        raise PermanentError(f"network {payload.network!r} is unknown: use host, bridge or none")
    if host.real:
        return "bridge"
    if not host.bridge:
        raise PermanentError(
            f"network bridge needs a Docker network of its own where a container plays the host ({host.network}): "
            "name it by ERATOS_HOST_BRIDGE, or use network host"
        )
    return host.bridge


def _bind(volume: Volume) -> str:
    if not volume.named and not volume.source.startswith("/"):
        raise PermanentError(f"volume {volume.source!r}: a host path must be absolute")
    return f"{volume.source}:{volume.container_path}:{'ro' if volume.read_only else 'rw'}"


def _on_this_host(bind: str, host: Host) -> str:
    """Name a Docker volume after the played host: played hosts share a Docker daemon, and no disk."""
    source, separator, rest = bind.partition(":")
    return bind if source.startswith("/") or not separator else f"{host.name.replace(':', '-')}_{source}:{rest}"


def _port_keys(port: Port) -> list[str]:
    return [f"{port.container_port or port.host_port}/{protocol}" for protocol in port.protocol.split(",")]
