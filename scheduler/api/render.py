"""From the state to Marathon's JSON. Pure, and in two steps: what can change is copied while the state stands still
(:func:`look`, :func:`rows`), and made into JSON afterwards, when the loop goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, NamedTuple

from eratos.common import names
from eratos.marathon.app import App
from eratos.scheduler.core.mesos import Agent, TaskState
from eratos.scheduler.core.state import Deployment, Failure, Instance, Kind, State

Json = dict[str, Any]

#: What ``embed=`` may add to an app, and what is always there as in Marathon's AppsResource.
LIST_EMBEDS = frozenset({"counts", "deployments"})
SHOW_EMBEDS = frozenset({"counts", "deployments", "tasks", "lastTaskFailure"})

_STAGED = (TaskState.STAGING, TaskState.STARTING)
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


class Row(NamedTuple):
    """What is shown of an instance's task, at one moment."""

    instance_id: str
    task_id: str
    app_id: str
    version: str
    state: TaskState
    agent: Agent
    ports: tuple[int, ...]
    addresses: tuple[str, ...]
    launched_at: float
    started_at: float
    healthy: bool | None
    stopping: bool


_row = attrgetter(*Row._fields)


def rows(instances: Iterable[Instance]) -> list[Row]:
    """Copy what is shown of instances; those that wait for an offer have no task. While the state stands still."""
    return [Row._make(_row(instance)) for instance in instances if instance.state is not None]


class Look(NamedTuple):
    """What is shown of an app, at one moment."""

    app: App
    tally: Mapping[Kind, int]
    deployments: tuple[str, ...]
    tasks: list[Row]
    failure: Failure | None


def look(state: State, definitions: Iterable[App], embed: frozenset[str]) -> list[Look]:
    """Copy what is shown of apps; ``embed`` is a result of :func:`embeds`. While the state stands still."""
    of_app: dict[str, list[str]] = {}
    for change in state.deployments.values():
        for app_id in change.app_ids:
            of_app.setdefault(app_id, []).append(change.deployment_id)
    found = []
    for definition in definitions:
        fleet, launches = state.fleet(definition.id), state.launches.get(definition.id)
        found.append(
            Look(
                definition,
                dict(fleet.tally),
                tuple(of_app.get(definition.id, ())),
                rows(fleet.instances.values()) if "tasks" in embed else [],
                launches.last_failure if launches is not None else None,
            )
        )
    return found


def app(seen: Look, embed: frozenset[str]) -> Json:
    """Return one app; ``embed`` is what it was looked at with."""
    shown = seen.app.to_json()
    if seen.app.version:
        shown["versionInfo"] = {"lastScalingAt": seen.app.version, "lastConfigChangeAt": seen.app.version}
    if "counts" in embed:
        shown |= counts(seen.tally)
    if "deployments" in embed:
        shown["deployments"] = [{"id": deployment_id} for deployment_id in seen.deployments]
    if "tasks" in embed:
        shown["tasks"] = [task(row) for row in seen.tasks]
    if "lastTaskFailure" in embed and seen.failure is not None:
        shown["lastTaskFailure"] = _failure(seen.app, seen.failure)
    return shown


def counts(tally: Mapping[Kind, int]) -> Json:
    found = dict.fromkeys(("tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy"), 0)
    for kind, count in tally.items():
        if kind.state in _STAGED:
            found["tasksStaged"] += count
        elif kind.state in _RUNNING:
            found["tasksRunning"] += count
            found["tasksHealthy"] += count if kind.healthy is True else 0
            found["tasksUnhealthy"] += count if kind.healthy is False else 0
    return found


def _failure(definition: App, failure: Failure) -> Json:
    return {
        "appId": definition.id,
        "host": failure.hostname,
        "message": failure.message,
        "state": failure.state.value,
        "taskId": failure.task_id,
        "timestamp": timestamp(failure.at),
        "version": definition.version,
    }


def task(row: Row) -> Json:
    """Return one task."""
    shown: Json = {
        "id": row.task_id,
        "appId": row.app_id,
        "host": row.agent.hostname,
        "slaveId": row.agent.agent_id,
        "ports": list(row.ports),
        "ipAddresses": [{"ipAddress": a, "protocol": "IPv6" if ":" in a else "IPv4"} for a in row.addresses],
        "servicePorts": [],
        "localVolumes": [],
        "healthCheckResults": [],
        "state": (TaskState.KILLING if row.stopping else row.state).value,
        "stagedAt": timestamp(row.launched_at),
        "version": row.version,
        "region": row.agent.region or None,
        "zone": row.agent.zone or None,
    }
    if row.started_at:
        shown["startedAt"] = timestamp(row.started_at)
    if row.healthy is not None:
        shown["healthCheckResults"] = [{"alive": row.healthy, "instanceId": row.instance_id}]
    return {key: value for key, value in shown.items() if value is not None}


def endpoints(seen: Iterable[Look]) -> str:
    """Return the running tasks as the tab-separated lines that load balancer scripts read (EndpointsHelper.scala)."""
    lines = []
    for definition, _, _, tasks, _ in seen:
        running = [row for row in tasks if row.state is TaskState.RUNNING and not row.stopping]
        name = names.safe_app_id(definition.id)
        if not definition.ports:
            lines.append("\t".join([name, " ", *(row.agent.hostname for row in running)]))
        for index, _ in enumerate(definition.ports):
            hosts = (f"{row.agent.hostname}:{row.ports[index]}" for row in running if index < len(row.ports))
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


def group(seen: Iterable[Look], group_id: str, embed: frozenset[str]) -> Json:
    """Return the tree of groups below an id, built from the ids of the apps in it: eratos keeps apps, not groups."""
    root = _group(group_id)
    nodes = {group_id: root}
    prefix = group_id.rstrip("/")
    for item in seen:
        node, place = root, prefix
        node["version"] = max(node["version"], item.app.version)
        for name in item.app.id.removeprefix(prefix).split("/")[1:-1]:
            place += f"/{name}"
            below = nodes.get(place)
            if below is None:
                below = nodes[place] = _group(place)
                node["groups"].append(below)
            node = below
            node["version"] = max(node["version"], item.app.version)
        node["apps"].append(app(item, embed))
    return root


def _group(group_id: str) -> Json:
    return {
        "id": group_id,
        "apps": [],
        "groups": [],
        "pods": [],
        "dependencies": [],
        "version": "",
        "enforceRole": False,
    }
