"""``GET /v2/overview``: agents, apps and their instances in short, at one moment of the event stream; for who draws pictures.

Not Marathon's. A page shows all of it, then follows ``/v2/events`` from ``position`` on, and asks anew for the apps that these
name: ``app``, once or several times, gives those alone, with the agents that they are on. So what is shown is what there
is, whichever events report it.

``tasks=false`` counts instances by their condition instead of listing them, and leaves out the agents that they are on. Of a
large cluster these are nearly all of the answer, and a list of apps needs none of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, NamedTuple

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from eratos.common.times import timestamp
from eratos.marathon.app import App
from eratos.marathon.pod import Pod
from eratos.scheduler.core import hosts, per_host, rollout, sweeps
from eratos.scheduler.core.instances import Instance
from eratos.scheduler.core.jobs import is_run
from eratos.scheduler.core.launches import Failure, Launches
from eratos.scheduler.core.mesos_types import Agent, TaskState
from eratos.scheduler.core.records import DrainRecord, SweepRecord
from eratos.scheduler.core.state import Room, State

from . import queue, render
from .answers import Json
from .caller import RoleRoute, Viewer
from .context import Context, path_id
from .errors import invalid

#: Apps that one request may ask for.
APPS_MOST: Final = 500
#: Of events that happened before, so many may be read from ``earlier`` on.
EARLIER: Final = 500


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(tags=["cluster"], route_class=RoleRoute)

    @routes.get("/v2/overview")
    def show_overview(
        caller: Viewer,
        app: Annotated[list[str], Query()] = [],  # noqa: B006
        tasks: bool = True,
    ) -> JSONResponse:
        if len(app) > APPS_MOST:
            raise invalid("/app", f"is given {len(app)} times: {APPS_MOST} are the most, and none gives all")
        asked = [item if is_run(item) else path_id(item) for item in app] if app else None
        now = ctx.clock()
        everything = caller.sees("/")
        if everything and asked is None:
            ctx.controller.look_around()
        # Before the state: what happens in between is sent twice, rather than not at all.
        position, earlier = ctx.controller.events.recent(EARLIER)
        seen = ctx.controller.read(lambda state: look(state, asked, caller.sees, now, everything=everything, tasks=tasks))
        left_out = ctx.controller.left_out()
        hide = ctx.discretion.of(caller, services=True)
        shown: dict[str, Any] = {
            "position": position,
            "earlier": earlier,
            "scheduler": seen.scheduler,
            "agents": [_agent(found, everything=everything) for found in seen.agents],
            "apps": [_app(found, left_out, hide.but(found.app)) for found in seen.apps],
        }
        if everything:
            shown["brake"] = seen.brake
            shown["consul"] = {"trouble": ctx.controller.consul_trouble()}
        return Json(shown)

    return routes


class Place(NamedTuple):
    """What is shown of an agent, at one moment."""

    agent: Agent
    room: Room | None
    left_alone: tuple[float, Sequence[str]] | None  #: until when, and whose starts failed there
    maintenance: tuple[float, float] | None
    sweep: tuple[SweepRecord, str] | None  #: a dead executor may have left something; what its removal waits for
    used_cpus_m: int
    used_mem_mib: int
    used_ports: int
    drain: DrainRecord | None


class Counts(NamedTuple):
    """How many instances of an app have a task, at one moment."""

    conditions: Mapping[str, int]  #: by what :func:`condition` says
    old: int  #: of an earlier version, and not being stopped


class Row(NamedTuple):
    """What is shown of an instance that has a task, at one moment."""

    task_id: str
    agent_id: str
    version: str
    condition: str
    since: float
    ports: tuple[int, ...]
    note: str


class Look(NamedTuple):
    """What is shown of an app, at one moment."""

    app_id: str
    app: App | None  #: None: it was deleted, and what it has is being stopped
    rows: list[Row] | Counts
    waiting: int
    why: str
    failed: str
    failing: bool  #: nothing that was launched after its last failure has run yet
    failure: Failure | None
    deployment: str
    at_rest: bool
    wanted: int


class Overview(NamedTuple):
    """What is shown of everything that was asked for."""

    scheduler: dict[str, Any]
    brake: dict[str, Any]
    agents: list[Place]
    apps: list[Look]


def look(
    state: State,
    asked: Collection[str] | None,
    sees: Callable[[str], bool],
    now: float,
    *,
    everything: bool,
    tasks: bool = True,
) -> Overview:
    """Copy what is shown of the apps asked for, None: of all, while the state stands still.

    ``everything``: the caller may view all there is. ``tasks``: each instance with its agent, or else how many there are.
    """
    ids = asked if asked is not None else [*state.apps, *(app_id for app_id in state.fleets if app_id not in state.apps)]
    apps = [found for app_id in ids if sees(app_id) and (found := _look(state, app_id, now, tasks)) is not None]
    if not tasks:
        agents = {}
    elif everything and asked is None:
        agents = state.agents
    else:
        there = {row.agent_id for found in apps if not isinstance(found.rows, Counts) for row in found.rows}
        agents = {agent_id: state.agents[agent_id] for agent_id in there if agent_id in state.agents}
    alone = {host: (trouble.until, trouble.against) for host, trouble in hosts.left_alone(state, now)}
    scheduler = {
        "frameworkId": state.framework_id or None,
        "master": state.master or None,
        "connected": state.connected,
        "reason": "" if state.connected else state.not_subscribed,
    }
    places = [_place(state, agent, alone, now) for agent in agents.values()]
    return Overview(scheduler, render.brake(state, now) if everything else {}, places, apps)


def _look(state: State, app_id: str, now: float, tasks: bool) -> Look | None:
    app, fleet = state.apps.get(app_id), state.fleet(app_id)
    if app is None and (not fleet.instances or app_id in state.runs):
        return None  # a run of a job has an instance and is no app
    launches = state.launches.get(app_id)
    change = state.changes.get(app_id)
    waits = app_id in state.in_need
    instances, checked = fleet.instances.values(), app is not None and app.checked
    return Look(
        app_id,
        app,
        _rows(instances, checked) if tasks else _counts(instances, checked, app.version if app is not None else ""),
        len(fleet.waiting) + (launches.unmade if launches is not None else 0),
        queue.why(launches or Launches(), queue.halt(state), now) if waits else "",
        state.failed.get(app_id, ""),
        launches is not None and launches.failing,
        launches.last_failure if launches is not None else None,
        change.deployment_id if change is not None else "",
        app is not None and rollout.at_rest(app, fleet),
        per_host.wanted(state, app) if app is not None else 0,
    )


def _rows(instances: Iterable[Instance], checked: bool) -> list[Row]:
    return [
        Row(
            found.task_id,
            found.agent.agent_id,
            found.version,
            condition(found, checked),
            found.started_at or found.launched_at,
            found.ports,
            found.note,
        )
        for found in instances
        if found.state is not None
    ]


def _counts(instances: Iterable[Instance], checked: bool, version: str) -> Counts:
    found = [each for each in instances if each.state is not None]
    old = sum(each.version != version and not each.stopping for each in found)
    return Counts(dict(Counter(condition(each, checked) for each in found)), old)


def condition(instance: Instance, checked: bool) -> str:
    """Return in a word how an instance with a task is: ``launching``, ``unready``, ``ready``, ``unhealthy``, ``stopping``,
    ``unreachable``."""
    if instance.stopping:
        return "stopping"
    if instance.launching:
        return "launching"
    if instance.inactive or instance.state is not TaskState.RUNNING:
        return "unreachable"
    if checked and instance.healthy is False:
        return "unhealthy"
    return "ready" if instance.ready(checked) else "unready"


def _place(state: State, agent: Agent, alone: Mapping[str, tuple[float, Sequence[str]]], now: float) -> Place:
    cpus_m = mem_mib = ports = 0
    for instance in state.on_agent.get(agent.agent_id, {}).values():
        ports += len(instance.ports)
        app = state.definition(instance)
        if app is not None:
            cpus_m += app.resources.cpus_m
            mem_mib += app.resources.mem_mib
    window = state.scheduled.get(agent.agent_id)
    return Place(
        agent,
        state.room.get(agent.agent_id),
        alone.get(agent.hostname),
        (window.begin, window.end) if window is not None else None,
        (sweep, sweeps.why(state, sweep, now)) if (sweep := state.sweeps.get(agent.hostname)) is not None else None,
        cpus_m,
        mem_mib,
        ports,
        state.drains.get(agent.hostname),
    )


def _agent(found: Place, *, everything: bool) -> dict[str, Any]:
    agent = found.agent
    shown: dict[str, Any] = {"id": agent.agent_id, "host": agent.hostname, "region": agent.region, "zone": agent.spread_zone}
    if not everything:
        return shown  # what else runs there is not theirs to know
    shown |= {
        "attributes": dict(agent.attributes),
        "used": {"cpus": found.used_cpus_m / 1000, "mem": found.used_mem_mib, "ports": found.used_ports},
        "free": {"cpus": found.room.cpus_m / 1000, "mem": found.room.mem_mib, "ports": found.room.ports} if found.room else None,
    }
    if found.left_alone is not None:
        until, against = found.left_alone
        shown["leftAlone"] = {"until": timestamp(until), "startsFailedOf": list(against)}
    if found.drain is not None:
        drain = found.drain
        ends = {"deadline": timestamp(drain.deadline)} if drain.deadline else {}
        shown["drain"] = {"since": timestamp(drain.since), "by": drain.by, **ends}
    if found.maintenance is not None:
        shown["maintenance"] = {"begin": timestamp(found.maintenance[0])}
    if found.sweep is not None:
        sweep, why = found.sweep
        shown["sweep"] = {"since": timestamp(sweep.since), "launches": sweep.attempt, "message": why}
    return shown


def _app(found: Look, left_out: Mapping[str, Sequence[str]], hide: Callable[[str], str] = str) -> dict[str, Any]:
    app = found.app
    shown: dict[str, Any] = {
        "id": found.app_id,
        "version": app.version if app is not None else "",
        "instances": found.wanted,
        "cpus": app.resources.cpus_m / 1000 if app is not None else 0,
        "mem": app.resources.mem_mib if app is not None else 0,
        "labels": dict(app.labels) if app is not None else {},
        "waiting": found.waiting,
        "atRest": found.at_rest,
    }
    if isinstance(found.rows, Counts):
        shown["conditions"], shown["old"] = found.rows
    else:
        shown["tasks"] = [_task(row) for row in found.rows]
    services = app.service_names if app is not None else ()
    notes = [f"service {name} is left out by {'; '.join(left_out[name])}" for name in services if name in left_out]
    optional = {
        "deployment": found.deployment,
        "why": found.why,
        "deploymentFailed": found.failed,
        "notBalanced": "; ".join(notes),
    }
    shown |= {name: hide(text) for name, text in optional.items() if text}
    if found.failing:
        shown["failing"] = True
    if app is None:
        shown["deleted"] = True
    elif isinstance(app, Pod):
        shown["pod"] = True
    elif app.per_host:
        shown["perHost"] = True
    if found.failure is not None:
        failure = found.failure
        shown["lastFailure"] = {
            "taskId": failure.task_id,
            "state": failure.state.value,
            "message": failure.message,
            "host": failure.hostname,
            "at": timestamp(failure.at),
        }
    return shown


def _task(row: Row) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": row.task_id,
        "agent": row.agent_id,
        "version": row.version,
        "condition": row.condition,
        "since": timestamp(row.since),
        "ports": row.ports,
    }
    if row.note:
        shown["note"] = row.note
    return shown
