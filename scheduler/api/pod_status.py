"""How a pod and its instances are, in Marathon's form (``podStatus.raml``, PodStatusConversion.scala). Pure.

As in :mod:`.render`: what can change is copied while the state stands still, and made into JSON afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from eratos.common.times import timestamp
from eratos.marathon.app_parts import DISABLED
from eratos.marathon.pod import Pod
from eratos.marathon.pod_parts import PodContainer
from eratos.scheduler.core import versions
from eratos.scheduler.core.launches import Failure
from eratos.scheduler.core.mesos_types import TaskState
from eratos.scheduler.core.state import State

from .render import Json, Row, View, rows

_STAGING: Final = (TaskState.STAGING, TaskState.STARTING)


class Waiting(NamedTuple):
    """An instance that has no task yet."""

    instance_id: str
    version: str
    since: float


class Look(NamedTuple):
    """What is shown of a pod, at one moment."""

    pod: Pod
    going: bool  #: a deployment deletes it
    tasks: list[Row]
    waiting: list[Waiting]
    failure: Failure | None
    former: dict[str, Pod]  #: versions that instances have, and the pod has no more


def look(state: State, pods: Iterable[Pod]) -> list[Look]:
    """Copy what is shown of pods. While the state stands still."""
    return [_look(state, pod) for pod in pods]


def going(state: State) -> list[Pod]:
    """Return the pods that are deleted, and have instances still."""
    gone = (found.app_id for found in state.changes.values() if found.pod and found.app_id not in state.apps)
    before = (versions.definition(state, app_id, state.changes[app_id].before) for app_id in gone)
    return [pod for pod in before if isinstance(pod, Pod)]


def _look(state: State, pod: Pod) -> Look:
    instances = list(state.instances_of(pod.id))
    others = {instance.version for instance in instances} - {pod.version}
    former = ((version, versions.definition(state, pod.id, version)) for version in others)
    launches = state.launches.get(pod.id)
    return Look(
        pod,
        pod.id not in state.apps,
        rows(instances),
        [Waiting(each.instance_id, each.version, each.waiting_since) for each in instances if each.waiting],
        launches.last_failure if launches is not None else None,
        {version: found for version, found in former if isinstance(found, Pod)},
    )


def status(seen: Look, view: View) -> Json:
    """Return a pod's status with those of its instances."""
    instances = [instance(row, seen.former.get(row.version, seen.pod), view) for row in seen.tasks]
    instances += [_waiting(each, seen.pod.role or view.role) for each in seen.waiting]
    stable = sum(each["status"] == "STABLE" for each in instances)
    name = "TERMINAL" if seen.going else "STABLE" if stable >= seen.pod.instances else "DEGRADED"
    since = max((each["statusSince"] for each in instances), default=seen.pod.version)
    shown = {
        "id": seen.pod.id,
        "spec": view.definition(seen.pod),
        "status": name,
        "statusSince": since,
        "instances": instances,
        "terminationHistory": [] if seen.failure is None else [_termination(seen.failure)],
        "lastUpdated": timestamp(view.now),
        "lastChanged": since,
    }
    if name == "DEGRADED":
        shown["message"] = f"{stable} of {seen.pod.instances} instances are stable"
    return shown


def instance(row: Row, pod: Pod, view: View) -> Json:
    """Return the status of an instance that has a task; ``pod`` as it was launched."""
    since = timestamp(row.started_at or row.launched_at)
    name, message = _condition(row)
    shown: Json = {
        "id": row.instance_id,
        "status": name,
        "statusSince": since,
        "agentHostname": row.agent.hostname,
        "agentId": row.agent.agent_id,
        "agentRegion": row.agent.region,
        "agentZone": row.agent.zone,
        "resources": {"cpus": pod.cpus, "mem": pod.mem, "disk": pod.disk, "gpus": pod.gpus},
        "networks": _networks(row, pod),
        "containers": list(_containers(row, pod, since)),
        "specReference": f"/v2/pods{pod.id}::versions/{row.version}",
        "localVolumes": [],
        "message": message,
        "lastUpdated": since,
        "lastChanged": since,
        "role": row.role or pod.role or view.role,
    }
    return {key: value for key, value in shown.items() if value not in ("", None)}


def _waiting(seen: Waiting, role: str) -> Json:
    since = timestamp(seen.since)
    return {
        **{"id": seen.instance_id, "status": "PENDING", "statusSince": since, "lastUpdated": since, "lastChanged": since},
        **{"containers": [], "networks": [], "localVolumes": [], "role": role},
    }


def _condition(row: Row) -> tuple[str, str]:
    if row.stopping or row.state is TaskState.KILLING or row.state.terminal:
        return "TERMINAL", ""
    if row.state in _STAGING:
        return "STAGING", ""
    if row.state is TaskState.UNREACHABLE:
        return "DEGRADED", "pod instance has become unreachable"
    return ("DEGRADED", "at least one container is not healthy") if row.healthy is False else ("STABLE", "")


def _networks(row: Row, pod: Pod) -> list[Json]:
    if not row.addresses:
        return []
    names = pod.docker_networks[:1]
    return [{**({"name": names[0]} if names else {}), "addresses": list(row.addresses)}]


def _containers(row: Row, pod: Pod, since: str) -> Iterator[Json]:
    """Yield the containers of an instance. They have one life, so each is as the instance is."""
    ports = dict(zip((endpoint.name for endpoint in pod.spec.endpoints), row.ports, strict=False))
    for container in pod.spec.containers:
        conditions = [] if container.health_check is None or row.state in _STAGING else [_healthy(row, since)]
        yield {
            "name": container.name,
            "status": (TaskState.KILLING if row.stopping else row.state).value,
            "statusSince": since,
            "containerId": f"{row.task_id}.{container.name}",
            "endpoints": list(_endpoints(container, ports, row.healthy)),
            "conditions": conditions,
            "resources": container.resources.model_dump(mode="json", by_alias=True),
            "lastUpdated": since,
            "lastChanged": since,
        }


def _endpoints(container: PodContainer, ports: dict[str, int], healthy: bool | None) -> Iterator[Json]:
    asked = container.health_check.endpoint if container.health_check is not None else ""
    for endpoint in container.endpoints:
        shown: Json = {"name": endpoint.name}
        if endpoint.name in ports:
            shown["allocatedHostPort"] = ports[endpoint.name]
        if endpoint.name == asked and healthy is not None:
            shown["healthy"] = healthy
        yield shown


def _healthy(row: Row, since: str) -> Json:
    reported = "health-unreported-by-mesos" if row.healthy is None else "health-reported-by-mesos"
    return {
        **{"name": "healthy", "lastChanged": since, "lastUpdated": since},
        **{"value": "true" if row.healthy else "false", "reason": reported},
    }


def _termination(failure: Failure) -> Json:
    return {
        "instanceID": failure.task_id.partition("._app.")[0],
        "startedAt": timestamp(failure.started_at or failure.at),
        "terminatedAt": timestamp(failure.at),
        "message": failure.message,
        "containers": [{"containerId": failure.task_id, "lastKnownState": failure.state.value}],
    }


def killed(row: Row, pod: Pod) -> Json:
    """Return an instance as Marathon answers a kill with it (``instance.raml``)."""
    strategy = pod.unreachable_strategy
    state: Json = {"condition": "Killing", "since": timestamp(row.started_at or row.launched_at), "goal": "Stopped"}
    agent: Json = {"host": row.agent.hostname, "agentId": row.agent.agent_id, "attributes": []}
    agent |= {key: value for key, value in (("region", row.agent.region), ("zone", row.agent.zone)) if value}
    return {
        "instanceId": {"idString": row.instance_id},
        "state": state | ({"healthy": row.healthy} if row.healthy is not None else {}),
        "agentInfo": agent,
        "runSpecVersion": row.version,
        "unreachableStrategy": DISABLED if strategy is None else strategy.model_dump(mode="json", by_alias=True),
    }
