"""The environment of a task, as Marathon sets it (marathon docs/task-environment-vars.md, EnvironmentHelper.scala)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from eratos.common.payload import Port, TaskPayload

#: Marathon leaves out labels whose variable would get longer than this, name and value each.
_VARIABLE_MAX = 512
_LABEL_PREFIX = "MARATHON_APP_LABEL_"


def environment(payload: TaskPayload, hostname: str) -> dict[str, str]:
    """Return a task's variables; those of the app win over Marathon's of the same name."""
    resources = payload.resources
    return {
        "MESOS_TASK_ID": payload.task_id,
        "MARATHON_APP_ID": payload.app_id,
        "MARATHON_APP_VERSION": payload.app_version,
        **({"MARATHON_APP_DOCKER_IMAGE": payload.image} if payload.image else {}),
        "MARATHON_APP_ENFORCE_GROUP_ROLE": "FALSE",
        "MARATHON_APP_RESOURCE_CPUS": str(resources.cpus_m / 1000),
        "MARATHON_APP_RESOURCE_MEM": str(float(resources.mem_mib)),
        "MARATHON_APP_RESOURCE_DISK": str(float(resources.disk_mib)),
        "MARATHON_APP_RESOURCE_GPUS": str(resources.gpus),
        **_labels(payload.labels),
        **_ports(payload.ports),
        "HOST": hostname,
        **payload.env,
    }


def _ports(ports: tuple[Port, ...]) -> dict[str, str]:
    """PORT0.. by index, PORT_<requested port> and PORT_<NAME>, PORT for the first, PORTS for all; host ports throughout."""
    if not ports:
        return {}
    variables = {f"PORT{index}": str(port.host_port) for index, port in enumerate(ports)}
    variables |= {f"PORT_{port.container_port or port.host_port}": str(port.host_port) for port in ports}
    variables |= {f"PORT_{port.name.upper()}": str(port.host_port) for port in ports if port.name}
    return variables | {"PORT": str(ports[0].host_port), "PORTS": ",".join(str(port.host_port) for port in ports)}


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    kept = {
        re.sub(r"[^a-zA-Z0-9_]+", "_", key).upper(): value
        for key, value in labels.items()
        if len(key) < _VARIABLE_MAX - len(_LABEL_PREFIX) and len(value) < _VARIABLE_MAX
    }
    return {"MARATHON_APP_LABELS": " ".join(kept)} | {_LABEL_PREFIX + key: value for key, value in kept.items()}
