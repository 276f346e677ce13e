"""Tasks: ``/v2/tasks`` and ``/v2/apps/{id}/tasks``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from eratos.common import names
from eratos.scheduler.core.events import KillInstances
from eratos.scheduler.core.mesos import TaskState
from eratos.scheduler.core.state import Instance, State

from . import render
from .context import Body, Context, deployed, path_id, read_json, unknown_app
from .errors import ApiError, invalid

_STATUS = {"running": (TaskState.RUNNING,), "staging": (TaskState.STAGING, TaskState.STARTING)}


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(prefix="/v2", tags=["tasks"])

    @routes.get("/tasks")
    def list_tasks(
        request: Request,
        status: Annotated[list[str], Query()] = [],  # noqa: B006
        statuses: Annotated[list[str], Query(alias="status[]")] = [],  # noqa: B006
    ) -> Response:
        if "text/plain" in request.headers.get("accept", ""):
            everything = ctx.controller.read(lambda s: render.look(s, s.apps.values(), frozenset({"tasks"})))
            return PlainTextResponse(render.endpoints(sorted(everything, key=lambda seen: seen.app.id)))
        asked = {state for word in (*status, *statuses) for state in _STATUS.get(word, ())}
        wanted = asked or set(TaskState)
        found = ctx.controller.read(lambda s: render.rows(s.instances.values()))
        return JSONResponse({"tasks": [render.task(row) for row in found if row.state in wanted]})

    @routes.post("/tasks/delete")
    @ctx.change
    def kill_tasks(body: Body, scale: bool = False) -> JSONResponse:
        document = read_json(body)
        ids = document.get("ids") if isinstance(document, dict) else None
        if not isinstance(ids, list) or not all(isinstance(item, str) for item in ids):
            raise invalid("/ids", 'must be a list of task ids: {"ids": ["..."]}')
        wanted = {_instance_id(item) for item in ids}
        return _kill(ctx, lambda s: [i for i in _all(s) if i.instance_id in wanted], scale=scale)

    @routes.get("/apps/{app_id:path}/tasks")
    def list_app_tasks(app_id: str) -> JSONResponse:
        name = ctx.owner(app_id, "tasks")
        found = ctx.controller.read(lambda s: render.rows(s.instances_of(name)))
        return JSONResponse({"tasks": [render.task(row) for row in found]})

    @routes.delete("/apps/{app_id:path}/tasks")
    @ctx.change
    def kill_app_tasks(app_id: str, host: str = "", scale: bool = False) -> JSONResponse:
        name = ctx.owner(app_id, "tasks", change=True)
        return _kill(ctx, lambda s: [i for i in _of(s, name) if not host or i.hostname == host], scale=scale)

    @routes.delete("/apps/{app_id:path}/tasks/{task_id:task_id}")
    @ctx.change
    def kill_app_task(app_id: str, task_id: str, scale: bool = False) -> JSONResponse:
        name, wanted = path_id(app_id), _instance_id(task_id)
        if not ctx.controller.read(lambda s: name in s.apps):
            raise unknown_app(name)
        if not ctx.controller.read(lambda s: any(i.instance_id == wanted for i in _of(s, name))):
            raise ApiError(404, f"Task '{task_id}' does not exist")
        return _kill(ctx, lambda s: [i for i in _of(s, name) if i.instance_id == wanted], scale=scale, single=True)

    return routes


def _all(state: State) -> Iterable[Instance]:
    return (instance for instance in state.instances.values() if not instance.waiting)


def _of(state: State, app_id: str) -> Iterable[Instance]:
    return (instance for instance in state.instances_of(app_id) if not instance.waiting)


def _instance_id(task_id: str) -> str:
    """Return the instance of a task id; an instance's own id stands for itself."""
    parsed = names.parse_task_id(task_id)
    return parsed[0] if parsed else task_id


def _kill(ctx: Context, select: Any, *, scale: bool, single: bool = False) -> JSONResponse:
    """Kill what ``select`` finds. Marathon answers with the tasks, or with a deployment where it scales down as well."""
    found = ctx.controller.read(lambda s: render.rows(select(s)))
    if not found and not scale:
        return JSONResponse({"tasks": []})
    reply = ctx.submit(lambda token: KillInstances(token, tuple(row.instance_id for row in found), scale))
    if scale:
        return deployed(reply)
    killed = [render.task(row) for row in found]
    return deployed(reply, body={"task": killed[0]} if single else {"tasks": killed})
