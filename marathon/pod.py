"""A pod as everybody works with it: an app whose instances are several containers with one life, one network and one agent.

What the scheduler decides of apps it decides of pods by the same fields: an endpoint is a port, a container's health check is
one of the app's, resources are the sum. Only who writes the definition down and who starts the containers looks at
:attr:`Pod.spec`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Self

from .app import App
from .app_parts import DISABLED, AppPort, Container, PortDefinition, PortMapping, SecretVariable
from .checks import Command, HealthCheck
from .pod_parts import PodContainer, PodHealthCheck, PodSpec, Scaling

#: What Marathon leaves out of a pod's JSON while it is empty, and what of its containers'.
_OMITTED = ("labels", "environment", "secrets", "volumes")
_OMITTED_OF_CONTAINERS = ("labels", "environment", "endpoints", "volumeMounts", "artifacts", "tty")
_PROTOCOLS: Mapping[str, str] = {"http": "MESOS_HTTP", "https": "MESOS_HTTPS", "tcp": "MESOS_TCP", "command": "COMMAND"}


class Pod(App):
    """A pod. ``spec`` holds no number of instances: that is the app's."""

    spec: PodSpec

    @classmethod
    def of(cls, spec: PodSpec) -> Self:
        """Return the pod that a document describes. Raises ValidationError where its sums are beyond an app's bounds."""
        scheduling, resources = spec.scheduling, [container.resources for container in spec.containers]
        graces = [c.lifecycle.kill_grace_period_seconds for c in spec.containers if c.lifecycle is not None]
        grace_s = max((grace for grace in graces if grace is not None), default=None)
        host = spec.networks[0].mode == "host"
        return cls.model_validate(
            {
                "id": spec.id,
                "spec": spec.model_copy(update={"scaling": Scaling(instances=0)}),
                "env": spec.environment,
                "secrets": spec.secrets,
                "instances": spec.scaling.instances,
                "cpus": sum(each.cpus for each in resources),
                "mem": sum(each.mem for each in resources),
                "disk": sum(each.disk for each in resources),
                "gpus": sum(each.gpus for each in resources),
                "constraints": tuple(each.constraint for each in scheduling.placement.constraints),
                "acceptedResourceRoles": scheduling.placement.accepted_resource_roles,
                "role": spec.role,
                "portDefinitions": tuple(_definitions(spec)) if host else (),
                "requirePorts": host and any(endpoint.host_port for endpoint in spec.endpoints),
                "networks": spec.networks,
                "container": Container.model_validate({"portMappings": None if host else tuple(_mappings(spec))}),
                "backoffSeconds": int(scheduling.backoff.backoff),
                "backoffFactor": scheduling.backoff.backoff_factor,
                "maxLaunchDelaySeconds": int(scheduling.backoff.max_launch_delay),
                "healthChecks": tuple(_health_check(spec, check) for _, check in checks(spec)),
                "upgradeStrategy": scheduling.upgrade,
                "labels": spec.labels,
                "taskKillGracePeriodSeconds": None if grace_s is None else round(grace_s),
                "killSelection": scheduling.kill_selection,
                "unreachableStrategy": DISABLED if scheduling.unreachable_strategy is None else scheduling.unreachable_strategy,
                "executorResources": spec.executor_resources,
            }
        )

    def with_role(self, role: str | None) -> Self:
        return self.model_copy(update={"role": role, "spec": self.spec.model_copy(update={"role": role})})

    def to_json(self) -> dict[str, Any]:
        """Return Marathon's JSON of the pod in canonical form: parsing it gives an equal pod."""
        spec = self.spec.model_copy(update={"scaling": Scaling(instances=self.instances)})
        data = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        data["scheduling"].setdefault("unreachableStrategy", DISABLED)
        if self.version:
            data["version"] = self.version
        for holder, keys in ((data, _OMITTED), *((each, _OMITTED_OF_CONTAINERS) for each in data["containers"])):
            for key in keys:
                if not holder[key]:
                    del holder[key]
        placement = data["scheduling"]["placement"]
        for key in [key for key, value in placement.items() if not value]:
            del placement[key]
        for container in data["containers"]:
            if not container["image"]["labels"]:
                del container["image"]["labels"]
            for endpoint in container.get("endpoints", ()):
                for key in ("labels", "networkNames"):
                    if not endpoint[key]:
                        del endpoint[key]
        return data

    @cached_property
    def ports(self) -> tuple[AppPort, ...]:
        """The endpoints of all containers. Marathon's pods have no service ports."""
        definitions = self.port_definitions if self.network == "host" else self.container.port_mappings or ()
        return tuple(
            AppPort(
                (each.port if isinstance(each, PortDefinition) else each.host_port) or 0,
                0 if isinstance(each, PortDefinition) else each.container_port,
                each.protocol,
                each.name or "",
                each.labels,
                0,
            )
            for each in definitions
        )

    def secret_env_of(self, container: PodContainer) -> Mapping[str, str]:
        """Return the variables of a container that hold secrets, with the sources of these."""
        held = {**self.spec.environment, **container.environment}.items()
        return {name: self.secrets[value.secret].source for name, value in held if isinstance(value, SecretVariable)}


def checks(spec: PodSpec) -> Iterator[tuple[PodContainer, PodHealthCheck]]:
    """Yield the health checks of a pod with their containers, in the order of the app's."""
    for container in spec.containers:
        if container.health_check is not None:
            yield container, container.health_check


def _definitions(spec: PodSpec) -> Iterator[PortDefinition]:
    for each in spec.endpoints:
        yield PortDefinition(port=each.host_port or 0, protocol=each.protocols, name=each.name, labels=each.labels)


def _mappings(spec: PodSpec) -> Iterator[PortMapping]:
    for each in spec.endpoints:
        host_port = 0 if each.host_port is None and spec.networks[0].mode == "container/bridge" else each.host_port
        yield PortMapping.model_validate(
            {
                "containerPort": each.container_port or 0,
                "hostPort": host_port,
                "protocol": each.protocols,
                "name": each.name,
                "labels": each.labels,
                "networkNames": each.network_names or None,
            }
        )


def _health_check(spec: PodSpec, check: PodHealthCheck) -> HealthCheck:
    index = next((i for i, endpoint in enumerate(spec.endpoints) if endpoint.name == check.endpoint), 0)
    return HealthCheck.model_validate(
        {
            "protocol": _PROTOCOLS[check.kind],
            "path": (check.http.path or "/") if check.http is not None else None,
            "portIndex": index if check.endpoint else None,
            "command": Command(value=check.command) if check.command else None,
            "gracePeriodSeconds": check.grace_period_seconds,
            "intervalSeconds": check.interval_seconds,
            "timeoutSeconds": check.timeout_seconds,
            "maxConsecutiveFailures": check.max_consecutive_failures,
            "delaySeconds": check.delay_seconds,
        }
    )
