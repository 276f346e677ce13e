"""``/v2/drains``: hosts that are drained, and what is still there. Not Marathon's.

A drain concerns every app, so whoever begins or ends one operates everything, and what is left is shown to those who may view
everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from eratos.common.times import timestamp
from eratos.marathon.errors import InvalidApp, Problem
from eratos.marathon.pydantic_errors import kind
from eratos.scheduler.access.roles import Role
from eratos.scheduler.core import drains, following, maintenance
from eratos.scheduler.core.events import DeleteDrain, PutDrain
from eratos.scheduler.core.instances import Instance
from eratos.scheduler.core.mesos_types import TaskState
from eratos.scheduler.core.state import State

from . import queue
from .answers import Json
from .caller import VIEWERS_OF_ALL, Operator, RoleRoute
from .context import Body, Context, read_json
from .errors import ApiError, invalid

_DEADLINE: Final = "deadlineSeconds"
#: A month: who wants more wants none.
DEADLINE_MOST_S: Final = 31 * 24 * 3600


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(prefix="/v2/drains", tags=["cluster"], route_class=RoleRoute)

    @routes.get("", dependencies=[VIEWERS_OF_ALL])
    def list_drains() -> JSONResponse:
        def look(state: State) -> list[dict[str, Any]]:
            return [shown(state, host, ctx.clock()) for host in sorted(state.drains)]

        return Json({"drains": ctx.controller.read(look)})

    @routes.get("/{host}", dependencies=[VIEWERS_OF_ALL])
    def show_drain(host: str) -> JSONResponse:
        return Json(_shown(ctx, host))

    @routes.put("/{host}")
    @ctx.change
    def put_drain(caller: Operator, host: str, body: Body) -> JSONResponse:
        command = PutDrain(host, parse(read_json(body)), caller.identity.name)
        ctx.submit(caller, ("/",), command, Role.OPERATE)
        return Json(_shown(ctx, host))

    @routes.delete("/{host}")
    @ctx.change
    def delete_drain(caller: Operator, host: str) -> JSONResponse:
        found = _shown(ctx, host)
        ctx.submit(caller, ("/",), DeleteDrain(host, caller.identity.name), Role.OPERATE)
        return Json(found)

    return routes


def parse(body: Any) -> float | None:
    """Return the seconds after which what is left is stopped: 0 for never, None where nothing is said. Raises InvalidApp."""
    if not isinstance(body, Mapping):
        raise invalid("/", f'must be an object such as {{"{_DEADLINE}": 600}}, or {{}} for no deadline, not {kind(body)}')
    problems = [Problem(f"/{field}", f"is no field of a drain: use {_DEADLINE}") for field in body if field != _DEADLINE]
    deadline_s = body.get(_DEADLINE)
    whole = isinstance(deadline_s, int) and not isinstance(deadline_s, bool)
    if deadline_s is not None and not (whole and 1 <= deadline_s <= DEADLINE_MOST_S):
        problems.append(Problem(f"/{_DEADLINE}", f"must be a whole number from 1 to {DEADLINE_MOST_S}, or null for no deadline"))
    if problems:
        raise InvalidApp(problems)
    return (deadline_s or 0) if _DEADLINE in body else None


def shown(state: State, host: str, now: float) -> dict[str, Any]:
    """Return a drain with the tasks that are still there, what becomes of each, and why what is to replace them waits."""
    drain = state.drains[host]
    ends = {"deadline": timestamp(drain.deadline)} if drain.deadline else {}
    there = sorted(drains.instances(state, host), key=lambda instance: instance.task_id)
    gone = drains.not_gone(state, host, now)
    left = [{"task": i.task_id, "app": i.app_id, "state": _fate(state, i)} for i in there]
    left += [{"task": i.task_id, "app": i.app_id, "state": "copying" if going else "waiting"} for i, going in gone]
    waits = [
        {"app": app_id, "message": queue.why(launches, queue.halt(state), now)}
        for app_id in sorted({instance.app_id for instance in there} & state.in_need.keys())
        if (launches := state.launches.get(app_id)) is not None
    ]
    staying = {i.app_id: why for i in there if not i.stopping and (why := maintenance.held(state, i))}
    waits += [{"app": app_id, "message": f"{why}; with a deadline it moves at once"} for app_id, why in sorted(staying.items())]
    with_volumes = [*(i for i in there if not i.stopping and not maintenance.held(state, i)), *(i for i, _ in gone)]
    told = dict.fromkeys((i.app_id, why) for i in with_volumes if (why := following.why_there(state, i)))
    waits += [{"app": app_id, "message": why} for app_id, why in sorted(told)]
    since = {"host": host, "since": timestamp(drain.since), "by": drain.by, **ends}
    return {**since, "left": left, "empty": not left, "waits": waits}


def _fate(state: State, instance: Instance) -> str:
    if instance.stopping:
        return "stopping"
    if instance.state is TaskState.UNREACHABLE:
        return "unreachable"
    # A run ends by itself, and what has volumes there that do not follow, or belongs to the host, has no other place.
    return "moving" if instance.moving or instance.slot in state.moves else "staying"


def _shown(ctx: Context, host: str) -> dict[str, Any]:
    found = ctx.controller.read(lambda state: shown(state, host, ctx.clock()) if host in state.drains else None)
    if found is None:
        raise ApiError(404, f"Host '{host}' is not drained")
    return found
