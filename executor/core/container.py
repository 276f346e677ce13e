"""From a task's payload to the body of Docker's ``POST /containers/create``, pure.

Written straight in the Engine API's words (docs.docker.com/engine/api/v1.41), so that what a task runs with can be read
and tested in one place. What cannot be done is refused with a reason; nothing is dropped silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from eratos.common import docker_parameters, names
from eratos.common.errors import PermanentError, TemporaryError
from eratos.common.payload import Port, TaskPayload, Volume

from .actions import HostCopy, HostDriverVolume, HostVolume
from .environment import environment
from .host import Host

#: A container's sandbox, with what was fetched, as with Mesos' own Docker executor (--sandbox_directory).
SANDBOX: Final = "/mnt/mesos/sandbox"
#: Stands in a bind for the task's sandbox on the daemon's host, which is known when the container is made.
IN_SANDBOX: Final = "/@sandbox/"
MIB: Final = 1024 * 1024
#: Docker's own volume driver.
LOCAL_DRIVER: Final = "local"
#: Docker's least weight.
_CPU_SHARES_MIN: Final = 2
_CPU_PERIOD_US: Final = 100_000
#: Docker's own default never rotates: one talkative task would fill the host's disk.
_LOG_CONFIG: Final = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
_SHELL: Final = ("/bin/sh", "-c")


def container_config(payload: TaskPayload, host: Host, joined: str = "") -> dict[str, Any]:
    """Return the create body for a task; ``joined``: a network that is there, as Docker names it, with ports of its own.

    Raises PermanentError naming the field that cannot be honoured.
    """
    own_network = payload.network == "bridge" and not joined
    config: dict[str, Any] = {
        "Image": payload.image,
        "Env": [f"{key}={value}" for key, value in ({"MESOS_SANDBOX": SANDBOX} | environment(payload, host.hostname)).items()],
        "Labels": labels(payload, host),
        "HostConfig": {
            "NetworkMode": joined or networks(payload, host)[0],
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
    if payload.tty:
        config["Tty"] = True
    if own_network:
        config["ExposedPorts"] = {key: {} for port in payload.ports for key in _port_keys(port)}
        if host.real:
            config["HostConfig"]["PortBindings"] = {
                key: [{"HostPort": str(port.host_port)}] for port in payload.ports for key in _port_keys(port)
            }
    docker_parameters.apply(config, payload.parameters)
    # With the network of a container that plays the host its resolver comes along.
    if host.dns and (own_network or (payload.network == "host" and host.real)):
        config["HostConfig"].setdefault("Dns", [host.dns])
    if not host.real:
        everywhere = {f"{volume.name}:" for volume in payload.of_drivers if volume.driver != LOCAL_DRIVER}
        binds = config["HostConfig"]["Binds"]
        config["HostConfig"]["Binds"] = [
            bind if bind[: bind.find(":") + 1] in everywhere else _on_this_host(bind, host) for bind in binds
        ]
    return config


def with_sandbox(config: Mapping[str, Any], source: str, folder: str = "") -> dict[str, Any]:
    """Return the create body with a folder of the daemon's host as the container's sandbox, or with a folder of its own where
    ``source`` is empty; ``folder`` is the container's own part of it. What the app mounts there itself stays. Raises
    TemporaryError where folders of it are to be mounted.
    """
    host_config = dict(config["HostConfig"])
    if any(bind.startswith(IN_SANDBOX) for bind in host_config.get("Binds", ())):
        if not source:
            raise TemporaryError("a relative hostPath needs a Docker daemon that sees the executor's files")
        place = f"{source}/"
        host_config["Binds"] = [
            bind.replace(IN_SANDBOX, place, 1) if bind.startswith(IN_SANDBOX) else bind for bind in host_config["Binds"]
        ]
        config = {**config, "HostConfig": host_config}
    own = {*(bind.split(":")[1] for bind in host_config.get("Binds", ())), *host_config.get("Tmpfs", {})}
    if SANDBOX in own:
        return dict(config)
    if not source:
        return {**config, "Volumes": {SANDBOX: {}}}  # a volume without a name: it goes with its container
    own_place = f"{source}/{folder}" if folder else source
    return {**config, "HostConfig": host_config | {"Mounts": [{"Type": "bind", "Source": own_place, "Target": SANDBOX}]}}


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
        names.LABEL_SERVICES: str(len(payload.services)),
        # Of Mesos' own Docker containerizer, for programs that look for it, such as shippers of logs.
        "MESOS_TASK_ID": payload.task_id,
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


def probe_target(payload: TaskPayload, port: int, address: str, *, ipv6: bool = False) -> tuple[str, int]:
    """Return where to reach a task's port from its own host.

    A bridged container is asked at its own address: on a published port Docker's proxy accepts before the task listens.
    Over IPv6 it is asked there all the same, for no other of its addresses is known.
    """
    if ipv6:
        return "::1", port
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
        most_mib = payload.mem_limit_mib if payload.mem_limit_mib != 0 else resources.mem_mib
        if most_mib is not None:
            # As much swap as memory means: no swap beyond it.
            limits |= {"Memory": most_mib * MIB, "MemorySwap": most_mib * MIB}
        if most_mib != resources.mem_mib:
            limits["MemoryReservation"] = resources.mem_mib * MIB
    if resources.gpus:
        limits["DeviceRequests"] = [{"Driver": "nvidia", "Count": resources.gpus, "Capabilities": [["gpu"]]}]
    return limits


def networks(payload: TaskPayload, host: Host) -> tuple[str, ...]:
    """Return the Docker networks that a container joins, the first one when it is made. Raises PermanentError."""
    if payload.network == "host":
        return (host.network,)
    if payload.network == "none":
        return ("none",)
    if payload.network != "bridge":
        raise PermanentError(f"network {payload.network!r} is unknown: use host, bridge or none")
    if host.real:
        return payload.networks or ("bridge",)
    if not host.bridge:
        raise PermanentError(
            f"network bridge needs a Docker network of its own where a container plays the host ({host.network}): "
            "name it by ERATOS_HOST_BRIDGE, or use network host"
        )
    # A played host reaches the containers on its own bridge alone, so that is joined as well.
    return (host.bridge, *payload.networks)


def _bind(volume: Volume) -> str:
    source = volume.source
    if not volume.named and not source.startswith("/"):
        names_of_it = [name for name in source.split("/") if name not in ("", ".")]
        if ".." in names_of_it or not names_of_it:
            raise PermanentError(f"volume {source!r}: a relative host path must lie in the sandbox")
        source = IN_SANDBOX + "/".join(names_of_it)
    return f"{source}:{volume.container_path}:{'ro' if volume.read_only else 'rw'}"


def _on_this_host(bind: str, host: Host) -> str:
    """Name a Docker volume after the played host: played hosts share a Docker daemon, and no disk."""
    source, separator, rest = bind.partition(":")
    return bind if source.startswith("/") or not separator else f"{host.name.replace(':', '-')}_{source}:{rest}"


def volume_name(volume_id: str, host: Host) -> str:
    """Return a volume's name in Docker: played hosts share a daemon, and no disk."""
    return volume_id if host.real else _on_this_host(f"{volume_id}:", host).rstrip(":")


def volume_labels(volume_id: str, app_id: str, host: Host) -> dict[str, str]:
    """Return the labels by which a volume is known as an app's."""
    return {names.LABEL_FRAMEWORK: host.framework_id, names.LABEL_APP: app_id, names.LABEL_VOLUME: volume_id}


def kept_volumes(payload: TaskPayload, host: Host) -> tuple[HostVolume, ...]:
    """Return the volumes of a task that outlive it."""
    return tuple(
        HostVolume(
            kept.name,
            volume_name(kept.name, host),
            {**volume_labels(kept.name, payload.app_id, host), names.LABEL_PATH: kept.path},
            kept.new,
        )
        for kept in payload.keeps
    )


def driver_volumes(payload: TaskPayload, host: Host) -> tuple[HostDriverVolume, ...]:
    """Return the volumes of a task that are a volume driver's.

    Docker's own driver keeps one of a name on each host, played ones too; for any other a name is the same volume everywhere.
    """
    return tuple(
        HostDriverVolume(
            volume_name(volume.name, host) if volume.driver == LOCAL_DRIVER else volume.name,
            volume.driver,
            volume.options,
            volume.secret_options,
            {names.LABEL_FRAMEWORK: host.framework_id},
            volume.alone,
        )
        for volume in payload.of_drivers
    )


def copies(payload: TaskPayload, host: Host) -> tuple[HostCopy, ...]:
    """Return the volumes that a task makes as copies. Raises PermanentError where this host has no Docker to make them with."""
    if "docker" not in host.runtimes:
        raise PermanentError("volumes are Docker's, which is switched off on this host (--runtimes)")
    return tuple(
        HostCopy(
            copy.source,
            copy.host,
            payload.app_id,
            copy.path,
            HostVolume(
                copy.name,
                volume_name(copy.name, host),
                {**volume_labels(copy.name, payload.app_id, host), names.LABEL_PATH: copy.path},
                new=True,
            ),
            copy.key,
        )
        for copy in payload.copies
    )


def _port_keys(port: Port) -> list[str]:
    return [f"{port.container_port or port.host_port}/{protocol}" for protocol in port.protocol.split(",")]
