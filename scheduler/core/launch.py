"""The task payload of an instance: the app's definition plus where it was placed."""

from __future__ import annotations

from eratos.common import names
from eratos.common.payload import Fetch, HealthCheck, Port, ReadinessCheck, Service, TaskPayload, Volume
from eratos.marathon import parts as marathon
from eratos.marathon.app import App

from .state import Instance

#: From SIGTERM to SIGKILL where the app says nothing; Mesos' own default is as long (mesos.proto, KillPolicy).
DEFAULT_KILL_GRACE_S = 3.0


def payload(app: App, instance: Instance, framework_id: str) -> TaskPayload:
    """Return the whole instruction for the executor; ``instance`` has its agent and ports already."""
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
        env=_requested_ports(app, ports) | dict(app.env),
        labels=app.labels,
        network=app.network,
        ports=ports,
        volumes=tuple(
            Volume(container_path=v.target, source=v.source, read_only=v.read_only, named=v.named) for v in app.container.volumes
        ),
        health_checks=tuple(_health_check(check, ports) for check in app.health_checks),
        readiness_checks=tuple(_readiness_check(check, ports) for check in app.readiness_checks),
        services=tuple(_service(app, index, instance, framework_id) for index in range(len(ports))),
        fetch=tuple(Fetch(file.uri, file.path, file.extract, file.executable) for file in app.fetch),
        user=app.user or "",
        privileged=docker is not None and docker.privileged,
        parameters=tuple((parameter.key, parameter.value) for parameter in docker.parameters) if docker else (),
        force_pull=docker is not None and docker.force_pull_image,
        cpus_limit_m=app.cpus_limit_m,
        kill_grace_s=DEFAULT_KILL_GRACE_S if grace_s is None else grace_s,
        drain_s=app.drain_s,
    )


def _requested_ports(app: App, ports: tuple[Port, ...]) -> dict[str, str]:
    """Return ``PORT_<requested port>`` with host networking, as Marathon has it (EnvironmentHelper.scala).

    Among the app's own variables, because executors that run already read payloads with the fields that they know only.
    """
    if app.network != "host":
        return {}  # the executor knows what was asked for: the container's port
    pairs = zip(app.port_definitions or (), ports, strict=False)
    return {f"PORT_{asked.port}": str(port.host_port) for asked, port in pairs if asked.port}


def _health_check(check: marathon.HealthCheck, ports: tuple[Port, ...]) -> HealthCheck:
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
    )


def _readiness_check(check: marathon.ReadinessCheck, ports: tuple[Port, ...]) -> ReadinessCheck:
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
    }
    return Service(
        service_id=names.service_id(instance.task_id, index),
        name=app.service_names[index],
        port=instance.ports[index],
        tags=(names.SERVICE_TAG, *app.consul_tags),
        meta={**meta, **app.routing_meta[index]},
    )
