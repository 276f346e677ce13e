"""Tasks: ``/v2/tasks`` and ``/v2/apps/{id}/tasks``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from eratos.common import names
from eratos.marathon.app import App
from eratos.marathon.ids import within
from eratos.marathon.pod import Pod
from eratos.marathon.strict_json import shortened
from eratos.scheduler.access.roles import Role
from eratos.scheduler.core.events import KillInstances
from eratos.scheduler.core.instances import Instance
from eratos.scheduler.core.mesos_types import TaskState
from eratos.scheduler.core.state import State

from . import render
from .accept import JSON, TEXT, preferred
from .answers import Json
from .caller import Caller, Deployer, RoleRoute, Viewer
from .context import Body, Context, deployed, group_of, path_id, read_json
from .errors import ApiError, invalid

#: An instance's id, alone or as the beginning of its task's.
_ID = re.compile(r"[^/\s]+\.instance-[0-9A-Za-z-]+(\._app\.[0-9]{1,18})?")

_STATUS = {"running": (TaskState.RUNNING,), "staging": (TaskState.STAGING, TaskState.STARTING)}


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(prefix="/v2", tags=["tasks"], route_class=RoleRoute)

    @routes.get("/tasks")
    def list_tasks(
        caller: Viewer,
        request: Request,
        status: Annotated[list[str], Query()] = [],  # noqa: B006
        statuses: Annotated[list[str], Query(alias="status[]")] = [],  # noqa: B006
    ) -> Response:
        if preferred(request.headers.get("accept"), (JSON, TEXT)) == TEXT:
            everything = ctx.controller.read(lambda s: render.look(s, _seen(s, caller), frozenset({"tasks"})))
            return PlainTextResponse(render.endpoints(sorted(everything, key=lambda seen: seen.app.id)))
        asked = {state for word in (*status, *statuses) for state in _STATUS.get(word.lower(), ())}
        wanted = asked or set(TaskState)
        found = ctx.controller.read(lambda s: render.rows(s.instances.values()))
        shown = (row for row in found if row.state in wanted and caller.sees(row.app_id))
        return _listed(ctx, _of_apps(ctx, shown))

    @routes.post("/tasks/delete")
    @ctx.change
    def kill_tasks(caller: Deployer, body: Body, scale: bool = False, force: bool = False, wipe: bool = False) -> JSONResponse:
        _check_kill(scale, wipe)
        document = read_json(body)
        ids = document.get("ids") if isinstance(document, dict) else None
        if not isinstance(ids, list) or not all(isinstance(item, str) for item in ids):
            raise invalid("/ids", 'must be a list of task ids: {"ids": ["..."]}')
        wanted = {_checked_id(item) for item in ids}
        return _kill(
            ctx, caller, lambda s: [i for i in _all(s, wipe) if i.instance_id in wanted], scale=scale, force=force, wipe=wipe
        )

    @routes.get("/apps/{app_id:path}/tasks")
    def list_app_tasks(caller: Viewer, app_id: str) -> JSONResponse:
        if (group := group_of(app_id)) is not None:
            ctx.require_group(caller, group)
            found = ctx.controller.read(lambda s: render.rows(s.instances.values()))
            inside = (row for row in found if within(row.app_id, group) and caller.sees(row.app_id))
            return _listed(ctx, _of_apps(ctx, inside))
        name = ctx.owner(caller, app_id, "tasks")
        return _listed(ctx, ctx.controller.read(lambda s: render.rows(s.instances_of(name))))

    @routes.delete("/apps/{app_id:path}/tasks")
    @ctx.change
    def kill_app_tasks(
        caller: Deployer, app_id: str, host: str = "", scale: bool = False, force: bool = False, wipe: bool = False
    ) -> JSONResponse:
        _check_kill(scale, wipe)
        name = ctx.owner(caller, app_id, "tasks", change=True)
        found = lambda s: [i for i in _of(s, name, wipe) if host in ("", "*", i.place)]  # noqa: E731
        return _kill(ctx, caller, found, scale=scale, force=force, wipe=wipe)

    @routes.delete("/apps/{app_id:path}/tasks/{task_id:task_id}")
    @ctx.change
    def kill_app_task(
        caller: Deployer, app_id: str, task_id: str, scale: bool = False, force: bool = False, wipe: bool = False
    ) -> JSONResponse:
        _check_kill(scale, wipe)
        name, wanted = path_id(app_id), _instance_id(task_id)
        caller.require(Role.DEPLOY, (name,))
        ctx.app(name)
        if not ctx.controller.read(lambda s: any(i.instance_id == wanted for i in _of(s, name, wipe))):
            raise ApiError(404, f"Task '{task_id}' does not exist")
        found = lambda s: [i for i in _of(s, name, wipe) if i.instance_id == wanted]  # noqa: E731
        return _kill(ctx, caller, found, scale=scale, force=force, wipe=wipe, single=True)

    return routes


def _of_apps(ctx: Context, rows: Iterable[render.Row]) -> Iterable[render.Row]:
    """Leave out what belongs to pods and jobs, whose instances are no tasks to Marathon's clients."""
    apps, runs = ctx.apps(), ctx.controller.read(lambda state: frozenset(state.runs))
    return (row for row in rows if row.app_id not in runs and not isinstance(apps.get(row.app_id), Pod))


def _listed(ctx: Context, rows: Iterable[render.Row]) -> JSONResponse:
    apps, view = ctx.apps(), ctx.view()
    return Json({"tasks": [render.task(row, apps.get(row.app_id), view) for row in rows]})


def _check_kill(scale: bool, wipe: bool) -> None:
    """Refuse what contradicts itself."""
    if scale and wipe:
        raise ApiError(400, "You cannot use scale and wipe at the same time.")


def _seen(state: State, caller: Caller) -> Iterable[App]:
    return (app for app in state.apps.values() if caller.sees(app.id) and not isinstance(app, Pod))


def _all(state: State, wipe: bool) -> Iterable[Instance]:
    """Return what can be killed: what has a task, and where volumes are to be destroyed, what waits for its own."""
    return (instance for instance in state.instances.values() if not instance.waiting or (wipe and instance.slot))


def _of(state: State, app_id: str, wipe: bool) -> Iterable[Instance]:
    return (instance for instance in state.instances_of(app_id) if not instance.waiting or (wipe and instance.slot))


def _instance_id(task_id: str) -> str:
    """Return the instance of a task id; an instance's own id stands for itself."""
    parsed = names.parse_task_id(task_id)
    return parsed[0] if parsed else task_id


def _checked_id(task_id: str) -> str:
    """Return the instance of a task id or of an instance's own. Raises ApiError for what is neither."""
    if not _ID.fullmatch(task_id):
        raise ApiError(400, f"Invalid task id '{shortened(task_id)}'. [it is no id that a list of tasks shows]")
    return _instance_id(task_id)


def _kill(
    ctx: Context, caller: Caller, select: Any, *, scale: bool, force: bool, wipe: bool, single: bool = False
) -> JSONResponse:
    """Kill what ``select`` finds. Marathon answers with the tasks, or with a deployment where it scales down as well."""

    def look(state: State) -> tuple[list[render.Row], dict[str, str]]:
        chosen = list(select(state))
        return render.rows(chosen), {instance.instance_id: instance.app_id for instance in chosen}

    found, victims = ctx.controller.read(look)
    if not victims and not scale:
        return JSONResponse({"tasks": []})
    reply = ctx.submit(caller, sorted(set(victims.values())), KillInstances(tuple(victims), scale, force, wipe))
    if scale:
        return deployed(reply)
    apps, view = ctx.apps(), ctx.view()
    killed = [render.task(row, apps.get(row.app_id), view) for row in found]
    return deployed(reply, body={"task": killed[0]} if single and killed else {"tasks": killed})
