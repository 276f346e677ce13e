"""From the state to Marathon's JSON. Pure, and in two steps: what can change is copied while the state stands still
(:func:`look`, :func:`rows`), and made into JSON afterwards, when the loop goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

from eratos.common import names
from eratos.common.check_results import CheckResult
from eratos.common.times import timestamp
from eratos.marathon import ids
from eratos.marathon.app import App
from eratos.marathon.pod import Pod
from eratos.scheduler.core import hosts, per_host
from eratos.scheduler.core.groups import around
from eratos.scheduler.core.instances import Instance, Kind
from eratos.scheduler.core.launches import Failure
from eratos.scheduler.core.mesos_types import Agent, TaskState
from eratos.scheduler.core.records import GroupRecord, VersionRecord
from eratos.scheduler.core.state import State

Json = dict[str, Any]

#: What ``embed=`` may add to an app, and what is always there as in Marathon's AppsResource.
LIST_EMBEDS = frozenset({"counts", "deployments"})
SHOW_EMBEDS = frozenset({"counts", "deployments", "tasks", "lastTaskFailure"})

#: What ``embed=`` may ask of a group; all of them where it asks for nothing (GroupsResource.scala).
GROUP_PARTS = frozenset({"group.groups", "group.apps", "group.pods"})

#: The version of a root group in which nothing ever was.
NEVER = "1970-01-01T00:00:00.000Z"

#: What is shown of each task.
_OF_TASKS = frozenset({"tasks", "taskStats"})

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


class View(NamedTuple):
    """What an answer needs beside the state."""

    role: str  #: the framework's
    now: float  #: seconds since the epoch
    definition: Callable[[App], Mapping[str, Any]]  #: an app's JSON, not to be changed


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
    check: Mapping[str, Any] | None
    checks: tuple[CheckResult, ...]
    checked_at: float
    ordinal: int | None
    volumes: tuple[tuple[str, str], ...]
    role: str


_row = attrgetter(*Row._fields)


def rows(instances: Iterable[Instance]) -> list[Row]:
    """Copy what is shown of instances; those that wait for an offer have no task. While the state stands still."""
    return [Row._make(_row(instance)) for instance in instances if instance.state is not None]


class Look(NamedTuple):
    """What is shown of an app, at one moment."""

    app: App
    tally: Mapping[Kind, int]
    deployment: str  #: that it is in; empty: in none
    tasks: list[Row]
    failure: Failure | None
    kept: VersionRecord | None  #: of its version
    wanted: int = 0  #: instances of an app with one on each host


def look(state: State, definitions: Iterable[App], embed: frozenset[str]) -> list[Look]:
    """Copy what is shown of apps; ``embed`` is a result of :func:`embeds`. While the state stands still."""
    found = []
    for definition in definitions:
        fleet, launches = state.fleet(definition.id), state.launches.get(definition.id)
        found.append(
            Look(
                definition,
                dict(fleet.tally),
                state.changes[definition.id].deployment_id if definition.id in state.changes else "",
                rows(fleet.instances.values()) if not embed.isdisjoint(_OF_TASKS) else [],
                launches.last_failure if launches is not None else None,
                state.versions.get(definition.id, {}).get(definition.version),
                per_host.wanted(state, definition),
            )
        )
    return found


def app(seen: Look, embed: frozenset[str], view: View) -> Json:
    """Return one app; ``embed`` is what it was looked at with."""
    shown = dict(view.definition(seen.app))
    if seen.kept is not None:
        shown |= version_info(seen.kept)
    if "counts" in embed:
        shown |= counts(seen.tally)
        if seen.app.per_host:
            shown["tasksWanted"] = seen.wanted
    if "deployments" in embed:
        shown["deployments"] = [{"id": seen.deployment}] if seen.deployment else []
    if "tasks" in embed:
        shown["tasks"] = [task(row, seen.app, view) for row in seen.tasks]
    if "taskStats" in embed:
        scaled = version_info(seen.kept)["versionInfo"]["lastScalingAt"] if seen.kept is not None else ""
        shown["taskStats"] = task_stats(seen.app, seen.tasks, scaled, view.now)
    if "lastTaskFailure" in embed and seen.failure is not None:
        shown["lastTaskFailure"] = _failure(seen.app, seen.failure)
    return shown


def version_info(record: VersionRecord) -> Json:
    """Return when an app was last scaled or otherwise changed, and when it came to its version, as Marathon shows it."""
    last = record.last_change
    return {"versionInfo": {"lastScalingAt": max(last, record.scaled_at), "lastConfigChangeAt": last}}


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
        "slaveId": failure.agent_id,
        "message": failure.message,
        "state": failure.state.value,
        "taskId": failure.task_id,
        "timestamp": timestamp(failure.at),
        "version": failure.version,
    }


def task(row: Row, definition: App | None, view: View) -> Json:
    """Return one task; the app's present definition is None once it was deleted."""
    shown: Json = {
        "id": row.task_id,
        "appId": row.app_id,
        "host": row.agent.hostname,
        "slaveId": row.agent.agent_id,
        "ports": list(row.ports),
        "ipAddresses": [{"ipAddress": a, "protocol": "IPv6" if ":" in a else "IPv4"} for a in row.addresses],
        "servicePorts": [port.service_port for port in definition.ports] if definition is not None else [],
        "checkResult": row.check,
        "localVolumes": [
            {"runSpecId": row.app_id, "containerPath": path, "persistenceId": volume_id} for path, volume_id in row.volumes
        ],
        "healthCheckResults": [],
        "state": (TaskState.KILLING if row.stopping else row.state).value,
        "stagedAt": timestamp(row.launched_at),
        "version": row.version,
        "role": row.role or (definition.role if definition is not None else None) or view.role,
        "region": row.agent.region or None,
        "zone": row.agent.zone or None,
    }
    if row.started_at:
        shown["startedAt"] = timestamp(row.started_at)
    if row.ordinal is not None:
        shown["eratos"] = {"ordinal": row.ordinal, "name": names.stable_name(row.app_id, row.ordinal)}
    if row.healthy is not None and (definition is None or definition.health_checks):
        shown["healthCheckResults"] = [_result(row, found) for found in row.checks] or [_healthy(row)]
    return {key: value for key, value in shown.items() if value is not None}


def _result(row: Row, found: CheckResult) -> Json:
    def at(ago_s: float | None) -> str | None:
        return None if ago_s is None else timestamp(row.checked_at - ago_s)

    shown = {
        "alive": found.alive,
        "consecutiveFailures": found.failures,
        "firstSuccess": at(found.first_success_s),
        "lastSuccess": at(found.last_success_s),
        "lastFailure": at(found.last_failure_s),
        "lastFailureCause": found.cause or None,
        "instanceId": row.instance_id,
    }
    return {key: value for key, value in shown.items() if value is not None}


def _healthy(row: Row) -> Json:
    """Return whether all checks pass: more is not known of a task whose executor has reported nothing since this leader leads."""
    return {"alive": row.healthy, "instanceId": row.instance_id}


def endpoints(seen: Iterable[Look]) -> str:
    """Return the running tasks as the tab-separated lines that load balancer scripts read (EndpointsHelper.scala)."""
    lines = []
    for definition, _, _, tasks, *_ in seen:
        running = [row for row in tasks if row.state is TaskState.RUNNING and not row.stopping]
        name = names.safe_app_id(definition.id)
        if not definition.ports:
            lines.append("\t".join([name, " ", *(row.agent.hostname for row in running)]))
        for index, port in enumerate(definition.ports):
            hosts = (f"{row.agent.hostname}:{row.ports[index]}" for row in running if index < len(row.ports))
            lines.append("\t".join([name, str(port.service_port), *hosts]))
    return "".join(line + "\n" for line in lines)


def task_stats(definition: App, tasks: Iterable[Row], scaled: str, now: float) -> Json:
    """Return counts and ages of an app's tasks, together and by version; what has no task is left out.

    ``scaled``: when the app was last scaled or changed.
    """
    tasks = list(tasks)
    parts = {
        "startedAfterLastScaling": [row for row in tasks if timestamp(row.launched_at) >= scaled],
        "withLatestConfig": [row for row in tasks if row.version == definition.version],
        "withOutdatedConfig": [row for row in tasks if row.version != definition.version],
        "totalSummary": tasks,
    }
    return {name: {"stats": _stats(part, now)} for name, part in parts.items() if part}


def _stats(tasks: list[Row], now: float) -> Json:
    running = [row for row in tasks if row.state in _RUNNING]
    shown: Json = {
        "counts": {
            "staged": sum(row.state in _STAGED for row in tasks),
            "running": len(running),
            "healthy": sum(row.healthy is True for row in running),
            "unhealthy": sum(row.healthy is False for row in running),
        }
    }
    ages_s = sorted(max(0.0, now - row.started_at) for row in tasks if row.started_at)
    if ages_s:
        shown["lifeTime"] = {"averageSeconds": sum(ages_s) / len(ages_s), "medianSeconds": ages_s[len(ages_s) // 2]}
    return shown


def brake(state: State, now: float) -> Json:
    """Return the disaster brake, whether it is engaged, why, and what is missed of late; and the hosts that are left alone."""
    found = state.brake
    lost = [{"host": host, "since": timestamp(since), "tasks": tasks} for host, (since, tasks) in found.lost.items()]
    return {
        "engaged": found.engaged,
        "since": timestamp(found.engaged_at) if found.engaged else None,
        "reason": found.reason,
        "lost": lost,
        "unknownTasks": sorted(state.unknown),
        "leftAlone": [
            {"host": host, "until": timestamp(trouble.until), "startsFailedOf": list(trouble.against)}
            for host, trouble in hosts.left_alone(state, now)
        ],
    }


def group(
    seen: Iterable[Look], groups: Iterable[GroupRecord], group_id: str, embed: frozenset[str], parts: frozenset[str], view: View
) -> Json:
    """Return the tree of groups below an id. ``groups``: that one first, and each after the one that holds it.

    ``parts`` says what of it is shown: :data:`GROUP_PARTS` or some of them. An app that came with another group since these
    were looked at is left out.
    """
    nodes: dict[str, Json] = {}
    for found in groups:
        node = nodes[found.group_id] = _group(found)
        for place in (found.group_id, *around(found.group_id)):
            if place in nodes:
                nodes[place]["version"] = max(nodes[place]["version"], found.changed)
        if found.group_id != group_id and "group.groups" in parts:
            nodes[ids.parent(found.group_id)]["groups"].append(node)
    for item in seen:
        if ids.parent(item.app.id) not in nodes:
            continue
        node = nodes[ids.parent(item.app.id)]
        for place in around(item.app.id):
            if place in nodes:
                nodes[place]["version"] = max(nodes[place]["version"], item.app.version)
        if isinstance(item.app, Pod):
            if "group.pods" in parts:
                node["pods"].append(view.definition(item.app))
        elif "group.apps" in parts:
            node["apps"].append(app(item, embed, view))
    return nodes[group_id]


def _group(found: GroupRecord) -> Json:
    return {
        "id": found.group_id,
        "apps": [],
        "groups": [],
        "pods": [],
        "dependencies": list(found.dependencies),
        "version": found.changed or NEVER,
        "enforceRole": found.enforces,
    }
