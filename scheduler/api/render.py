"""From the state to Marathon's JSON. Pure functions, run while the state stands still; they keep nothing that can change."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from eratos.common import names
from eratos.marathon import ids
from eratos.marathon.app import App
from eratos.scheduler.core.mesos import TaskState
from eratos.scheduler.core.state import Deployment, Instance, Launches, State

Json = dict[str, Any]

#: What ``embed=`` may add to an app, and what is always there as in Marathon's AppsResource.
LIST_EMBEDS = frozenset({"counts", "deployments"})
SHOW_EMBEDS = frozenset({"counts", "deployments", "tasks", "lastTaskFailure"})

_RUNNING = (TaskState.RUNNING, TaskState.KILLING)


def embeds(asked: Iterable[str], always: frozenset[str]) -> frozenset[str]:
    """Resolve ``embed=`` parameters: prefixes do not matter, unknown ones are ignored (InfoEmbedResolver.scala)."""
    wanted = set(always)
    for item in asked:
        name = item.rsplit(".", 1)[-1]
        wanted.add(name)
        if name in ("tasks", "failures"):
            wanted |= {"tasks", "deployments"}
        if name == "failures":
            wanted.add("lastTaskFailure")
    return frozenset(wanted)


def timestamp(at: float) -> str:
    """Return seconds since the epoch in Marathon's form."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def app(state: State, definition: App, embed: frozenset[str]) -> Json:
    """Return one app; ``embed`` is a result of :func:`embeds`."""
    shown = definition.to_json()
    if definition.version:
        shown["versionInfo"] = {"lastScalingAt": definition.version, "lastConfigChangeAt": definition.version}
    if "counts" in embed:
        shown |= counts(state, definition.id)
    if "deployments" in embed:
        found = (d.deployment_id for d in state.deployments.values() if definition.id in d.app_ids)
        shown["deployments"] = [{"id": deployment_id} for deployment_id in found]
    if "tasks" in embed:
        shown["tasks"] = tasks(state, definition.id)
    launches = state.launches.get(definition.id)
    if "lastTaskFailure" in embed and launches is not None and launches.last_failure is not None:
        shown["lastTaskFailure"] = _failure(definition, launches)
    return shown


def counts(state: State, app_id: str) -> Json:
    with_task = [i for i in state.instances_of(app_id) if not i.waiting]
    running = [i for i in with_task if i.state in _RUNNING]
    return {
        "tasksStaged": sum(i.launching for i in with_task),
        "tasksRunning": len(running),
        "tasksHealthy": sum(i.healthy is True for i in running),
        "tasksUnhealthy": sum(i.healthy is False for i in running),
    }


def _failure(definition: App, launches: Launches) -> Json:
    failure = launches.last_failure
    assert failure is not None
    return {
        "appId": definition.id,
        "host": failure.hostname,
        "message": failure.message,
        "state": failure.state.value,
        "taskId": failure.task_id,
        "timestamp": timestamp(failure.at),
        "version": definition.version,
    }


def tasks(state: State, app_id: str) -> list[Json]:
    return [task(instance) for instance in state.instances_of(app_id) if not instance.waiting]


def task(instance: Instance) -> Json:
    """Return one task. An instance that waits for an offer has none."""
    assert instance.state is not None
    shown: Json = {
        "id": instance.task_id,
        "appId": instance.app_id,
        "host": instance.hostname,
        "slaveId": instance.agent_id,
        "ports": list(instance.ports),
        "ipAddresses": [{"ipAddress": a, "protocol": "IPv6" if ":" in a else "IPv4"} for a in instance.addresses],
        "servicePorts": [],
        "localVolumes": [],
        "healthCheckResults": [],
        "state": (TaskState.KILLING if instance.stopping else instance.state).value,
        "stagedAt": timestamp(instance.launched_at),
        "version": instance.version,
        "region": instance.agent.region or None,
        "zone": instance.agent.zone or None,
    }
    if instance.started_at:
        shown["startedAt"] = timestamp(instance.started_at)
    if instance.healthy is not None:
        shown["healthCheckResults"] = [{"alive": instance.healthy, "instanceId": instance.instance_id}]
    return {key: value for key, value in shown.items() if value is not None}


def endpoints(state: State) -> str:
    """Return the running tasks as the tab-separated lines that load balancer scripts read (EndpointsHelper.scala)."""
    lines = []
    for definition in sorted(state.apps.values(), key=lambda app: app.id):
        running = [i for i in state.instances_of(definition.id) if i.state is TaskState.RUNNING and not i.stopping]
        name = names.safe_app_id(definition.id)
        if not definition.ports:
            lines.append("\t".join([name, " ", *(i.hostname for i in running)]))
        for index, _ in enumerate(definition.ports):
            hosts = (f"{i.hostname}:{i.ports[index]}" for i in running if index < len(i.ports))
            lines.append("\t".join([name, str(_service_port(definition, index)), *hosts]))
    return "".join(line + "\n" for line in lines)


def _service_port(definition: App, index: int) -> int:
    if definition.network == "host":
        return definition.port_definitions[index].port
    return (definition.container.port_mappings or ())[index].service_port


def deployment(change: Deployment) -> Json:
    """Return a deployment. eratos has no plan in steps: every pass takes the next safe step for each app."""
    affected = sorted(change.app_ids)
    actions: list[Json] = [
        {"action": "ScaleApplication", "app": app_id, "pod": None, "readinessCheckResults": []} for app_id in affected
    ]
    return {
        "id": change.deployment_id,
        "version": change.version,
        "affectedApps": affected,
        "affectedPods": [],
        "steps": [{"actions": [{"action": "ScaleApplication", "app": app_id} for app_id in affected]}],
        "currentActions": actions,
        "currentStep": 1,
        "totalSteps": 1,
    }


def brake(state: State) -> Json:
    """Return the disaster brake: whether it is engaged, why, and what is missed of late."""
    found = state.brake
    lost = [{"host": host, "since": timestamp(since), "tasks": tasks} for host, (since, tasks) in found.lost.items()]
    return {
        "engaged": found.engaged,
        "since": timestamp(found.engaged_at) if found.engaged else None,
        "reason": found.reason,
        "lost": lost,
        "unknownTasks": sorted(state.unknown),
    }


def group(state: State, group_id: str, embed: frozenset[str]) -> Json:
    """Return the tree of groups below an id, built from the apps' ids: eratos keeps apps, not groups."""
    inside = sorted(app_id for app_id in state.apps if ids.within(app_id, group_id) and app_id != group_id)
    own = [app_id for app_id in inside if ids.parent(app_id) == group_id]
    prefix = "" if group_id == "/" else group_id
    below = dict.fromkeys(f"{prefix}/{i.removeprefix(prefix).split('/')[1]}" for i in inside if ids.parent(i) != group_id)
    return {
        "id": group_id,
        "apps": [app(state, state.apps[app_id], embed) for app_id in own],
        "groups": [group(state, name, embed) for name in below],
        "pods": [],
        "dependencies": [],
        "version": max((state.apps[app_id].version for app_id in inside), default=""),
        "enforceRole": False,
    }
