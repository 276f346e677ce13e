"""The task payload of an instance: the app's definition plus where it was placed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from eratos.common import names, service_meta
from eratos.common.payload import (
    DiscoveryPort,
    DriverVolume,
    Fetch,
    HealthCheck,
    KeptVolume,
    Port,
    ReadinessCheck,
    SecretFile,
    Service,
    TaskPayload,
    Volume,
)
from eratos.marathon import app_parts, checks, pod
from eratos.marathon.app import App
from eratos.marathon.pod import Pod

from . import pod_payload, requirements
from .instances import Instance
from .records import VolumeRecord, VolumeState

#: From SIGTERM to SIGKILL where the app says nothing; Mesos' own default is as long (mesos.proto, KillPolicy).
DEFAULT_KILL_GRACE_S = 3.0


NO_APPS: Mapping[str, App] = {}


def payload(
    app: App,
    instance: Instance,
    framework_id: str,
    apps: Mapping[str, App] = NO_APPS,
    kept: Iterable[VolumeRecord] = (),
    *,
    enforced: bool = False,
    accepts: str = "",
) -> TaskPayload:
    """Return the whole instruction for the executor; ``instance`` has its agent and ports already. Of ``apps`` it may require
    some; ``kept`` are its persistent volumes; ``enforced``: its top-level group enforces its role; ``accepts``: which resources
    it takes (:meth:`.Host.accepts`).
    """
    volumes = {record.container_path: record for record in kept}
    docker, grace_s = app.container.docker, app.task_kill_grace_period_seconds
    ports = tuple(
        Port(
            host_port=host_port,
            container_port=port.container_port or host_port,
            protocol=port.protocol,
            name=port.name,
        )
        for port, host_port in zip(app.ports, instance.ports, strict=True)
    )
    return TaskPayload(
        task_id=instance.task_id,
        instance_id=instance.instance_id,
        app_id=app.id,
        app_version=app.version,
        resources=app.resources,
        image=app.image,
        args=app.command_args,
        env={
            **_enforced(enforced),
            **_requested_ports(app, ports),
            **_container_ports(app, ports),
            **_ordinal(app, instance),
            **app.env,
        },
        labels=app.labels,
        network=app.network,
        networks=app.docker_networks,
        tty=app.tty,
        mem_limit_mib=app.mem_limit_mib,
        accepts=accepts,
        requires=requirements.of_task(app, instance, apps),
        discovery=tuple(_discovered(app, ports)),
        ports=ports,
        volumes=tuple(_volume(app, volume, volumes) for volume in app.container.volumes if not volume.secret),
        keeps=tuple(
            KeptVolume(record.volume_id, record.container_path, record.slot, record.state is VolumeState.NEW)
            for record in volumes.values()
        ),
        of_drivers=tuple(_driver_volumes(app)),
        secret_env=app.secret_env,
        secret_files=tuple(SecretFile(v.target, app.secrets[v.secret].source) for v in app.container.volumes if v.secret),
        health_checks=tuple(_health_checks(app, ports)),
        readiness_checks=tuple(_readiness_check(check, ports) for check in app.readiness_checks),
        services=tuple(_service(app, index, instance, framework_id) for index in range(len(ports))),
        check=_check(app.check, ports),
        fetch=tuple(Fetch(file.uri, file.path, file.extract, file.executable) for file in app.fetch),
        user=app.user or "",
        privileged=docker is not None and docker.privileged,
        parameters=tuple((parameter.key, parameter.value) for parameter in docker.parameters) if docker else (),
        force_pull=docker is not None and docker.force_pull_image,
        cpus_limit_m=app.cpus_limit_m,
        kill_grace_s=DEFAULT_KILL_GRACE_S if grace_s is None else grace_s,
        drain_s=app.drain_s,
        pull_secret=app.secrets[docker.pull_config.secret].source if docker is not None and docker.pull_config else "",
        containers=tuple(pod_payload.containers(app, ports)) if isinstance(app, Pod) else (),
    )


def _volume(app: App, volume: app_parts.Volume, kept: Mapping[str, VolumeRecord]) -> Volume:
    """Return a mount. A folder of the sandbox that is a persistent volume is that volume (Marathon's persistent-volumes.md)."""
    persistent = volume if volume.persistent is not None else None
    if volume.in_sandbox:
        persistent = next((found for found in app.persistent_volumes if found.target == volume.place), None)
    if persistent is not None:
        source = kept[persistent.container_path].volume_id
        return Volume(container_path=volume.target, source=source, read_only=volume.read_only, named=True)
    return Volume(container_path=volume.target, source=volume.source, read_only=volume.read_only, named=volume.named)


def _driver_volumes(app: App) -> Iterator[DriverVolume]:
    """Yield the volumes that Docker could not make by itself where one is mounted: it would take the driver local for them."""
    found = {volume.external.name: volume.external for volume in app.container.volumes if volume.external is not None}
    for name, external in found.items():
        if external.local and not external.driver_options:
            continue  # and executors of the version before know no others
        options = external.driver_options
        plain = {key: value for key, value in options.items() if isinstance(value, str)}
        secret = {key: app.secrets[value.secret].source for key, value in options.items() if not isinstance(value, str)}
        yield DriverVolume(name, external.driver, plain, secret, name in app.exclusive_volumes)


def _health_checks(app: App, ports: tuple[Port, ...]) -> Iterator[HealthCheck]:
    if isinstance(app, Pod):
        for check, (container, _) in zip(app.health_checks, pod.checks(app.spec), strict=True):
            yield replace(_health_check(check, ports), container=container.name if check.command is not None else "")
    else:
        yield from (_health_check(check, ports) for check in app.health_checks)


def _requested_ports(app: App, ports: tuple[Port, ...]) -> dict[str, str]:
    """Return ``PORT_<requested port>`` with host networking, as Marathon has it (EnvironmentHelper.scala).

    Among the app's own variables, because executors that run already read payloads with the fields that they know only.
    """
    if app.network != "host":
        return {}  # the executor knows what was asked for: the container's port
    pairs = zip(app.port_definitions or (), ports, strict=False)
    return {f"PORT_{asked.port}": str(port.host_port) for asked, port in pairs if asked.port}


def _enforced(enforced: bool) -> dict[str, str]:
    """Return what says so to the task (TaskBuilder.scala); executors say of all others that it is not so."""
    return {"MARATHON_APP_ENFORCE_GROUP_ROLE": "TRUE"} if enforced else {}


def _ordinal(app: App, instance: Instance) -> dict[str, str]:
    """Return the variables that tell an instance which one it is."""
    if instance.ordinal is None:
        return {}
    name = names.stable_name(app.id, instance.ordinal)
    return {names.ORDINAL_VARIABLE: str(instance.ordinal), names.NAME_VARIABLE: name}


def _container_ports(app: App, ports: tuple[Port, ...]) -> dict[str, str]:
    """Return the variables of ports that Marathon would not publish: there they name the container's port itself."""
    variables: dict[str, str] = {}
    for index, (mapping, port) in enumerate(zip(app.container.port_mappings or (), ports, strict=False)):
        if app.docker_networks and mapping.host_port is None:
            number = str(port.container_port)
            variables |= {f"PORT{index}": number, f"PORT_{number}": number}
            variables |= {"PORT": number} if index == 0 else {}
            variables |= {f"PORT_{port.name.upper()}": number} if port.name else {}
    return variables


def _discovered(app: App, ports: tuple[Port, ...]) -> Iterator[DiscoveryPort]:
    """Yield the ports of Mesos' DiscoveryInfo with their labels, and the scope of each, as Marathon does (PortDiscovery)."""
    mappings = app.container.port_mappings or () if app.network != "host" else ()
    for index, (asked, port) in enumerate(zip(app.ports, ports, strict=True)):
        mapping = mappings[index] if mappings else None
        for protocol in port.protocol.split(","):
            if mapping is not None and mapping.host_port is None and app.docker_networks:
                for name in mapping.network_names or app.docker_networks:
                    labels = {**asked.labels, "network-scope": "container", "network-name": name}
                    yield DiscoveryPort(port.container_port, port.name, protocol, labels)
            else:
                labels = {**asked.labels, **({"network-scope": "host"} if mapping is not None else {})}
                yield DiscoveryPort(port.host_port, port.name, protocol, labels)


def _health_check(check: checks.HealthCheck, ports: tuple[Port, ...]) -> HealthCheck:
    port = check.port or (ports[check.port_index or 0].host_port if ports else 0)
    return HealthCheck(
        protocol=check.protocol,
        path=check.path or "/",
        port=port,
        command=check.command.value if check.command else "",
        grace_s=check.grace_period_seconds,
        interval_s=check.interval_seconds,
        timeout_s=check.timeout_seconds,
        max_failures=check.max_consecutive_failures,
        delay_s=check.delay_s,
        ipv6=check.ip_protocol == "IPv6",
        ignore_1xx=check.ignore_http1xx,
    )


def _check(check: checks.Check | None, ports: tuple[Port, ...]) -> HealthCheck | None:
    if check is None:
        return None
    asked = check.asked
    port = 0 if asked is None else asked.port or ports[asked.port_index or 0].host_port
    return HealthCheck(
        protocol=check.kind,
        path=check.http.path if check.http is not None else "/",
        port=port,
        command=check.command,
        interval_s=check.interval_seconds,
        timeout_s=check.timeout_seconds,
        max_failures=0,
        delay_s=check.delay_seconds,
    )


def _readiness_check(check: checks.ReadinessCheck, ports: tuple[Port, ...]) -> ReadinessCheck:
    return ReadinessCheck(
        name=check.name,
        protocol=check.protocol.lower(),
        path=check.path,
        port=next(port.host_port for port in ports if port.name == check.port_name),
        interval_s=check.interval_seconds,
        timeout_s=check.timeout_seconds,
        statuses=check.http_status_codes_for_ready,
        keep_response=check.preserve_last_response,
    )


def _service(app: App, index: int, instance: Instance, framework_id: str) -> Service:
    meta = {
        names.META_FRAMEWORK: framework_id,
        names.META_AGENT: instance.agent_id,
        names.META_APP: app.id,
        names.META_INSTANCE: instance.instance_id,
        names.META_TASK: instance.task_id,
        names.META_VERSION: app.version,
        names.META_PORT: app.ports[index].name,
        names.META_ZONE: instance.agent.spread_zone,
    }
    tags: tuple[str, ...] = ()
    if instance.ordinal is not None:
        meta[names.META_ORDINAL] = str(instance.ordinal)
        meta[names.META_NAME] = names.stable_name(app.id, instance.ordinal)
        tags = (names.ordinal_tag(instance.ordinal),)
    shown = {**app.service_attributes[index], **{key: value for key, value in meta.items() if value}}
    # Of stored apps, and of agents' zones, which anything may be: one pair that Consul refuses would cost the service.
    shown = {key: value for key, value in shown.items() if not service_meta.fault(key, value)}
    return Service(
        service_id=names.service_id(instance.task_id, index),
        name=app.service_names[index],
        port=instance.ports[index],
        tags=(names.SERVICE_TAG, *tags, *app.service_tags[index]),
        meta={**shown, **app.routing_meta[index]},
    )
