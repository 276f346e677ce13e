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
from eratos.scheduler.core.events import DeleteDrain, PutDrain
from eratos.scheduler.core.records import DrainRecord
from eratos.scheduler.core.state import Instance, State

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
        return Json({"drains": ctx.controller.read(lambda state: [shown(state, host) for host in sorted(state.drains)])})

    @routes.get("/{host}", dependencies=[VIEWERS_OF_ALL])
    def show_drain(host: str) -> JSONResponse:
        return Json(_shown(ctx, host))

    @routes.put("/{host}")
    @ctx.change
    def put_drain(caller: Operator, host: str, body: Body) -> JSONResponse:
        now, deadline_s = ctx.clock(), parse(read_json(body))
        drain = DrainRecord(host, now, now + deadline_s if deadline_s else 0.0, caller.identity.name)
        ctx.submit(caller, ("/",), PutDrain(drain), Role.OPERATE)
        return Json(_shown(ctx, host))

    @routes.delete("/{host}")
    @ctx.change
    def delete_drain(caller: Operator, host: str) -> JSONResponse:
        found = _shown(ctx, host)
        ctx.submit(caller, ("/",), DeleteDrain(host), Role.OPERATE)
        return Json(found)

    return routes


def parse(body: Any) -> int:
    """Return the seconds after which what is left is stopped, 0 for never. Raises InvalidApp."""
    if not isinstance(body, Mapping):
        raise invalid("/", f'must be an object such as {{"{_DEADLINE}": 600}}, or {{}} for no deadline, not {kind(body)}')
    problems = [Problem(f"/{field}", f"is no field of a drain: use {_DEADLINE}") for field in body if field != _DEADLINE]
    deadline_s = body.get(_DEADLINE)
    whole = isinstance(deadline_s, int) and not isinstance(deadline_s, bool)
    if deadline_s is not None and not (whole and 1 <= deadline_s <= DEADLINE_MOST_S):
        problems.append(Problem(f"/{_DEADLINE}", f"must be a whole number from 1 to {DEADLINE_MOST_S}, or null for no deadline"))
    if problems:
        raise InvalidApp(problems)
    return deadline_s or 0


def shown(state: State, host: str) -> dict[str, Any]:
    """Return a drain with the tasks that are still there, and what becomes of each."""
    drain = state.drains[host]
    agents = [agent.agent_id for agent in state.agents.values() if agent.hostname == host]
    there = [instance for agent_id in agents for instance in state.on_agent.get(agent_id, {}).values() if not instance.waiting]
    found: dict[str, Any] = {"host": host, "since": timestamp(drain.since), "by": drain.by}
    if drain.deadline:
        found["deadline"] = timestamp(drain.deadline)
    left = [{"task": i.task_id, "app": i.app_id, "state": _fate(i)} for i in sorted(there, key=lambda i: i.task_id)]
    return {**found, "left": left, "empty": not left}


def _fate(instance: Instance) -> str:
    if instance.stopping:
        return "stopping"
    # A run ends by itself, and what has volumes there, or belongs to the host, has no other place.
    return "moving" if instance.moving else "staying"


def _shown(ctx: Context, host: str) -> dict[str, Any]:
    found = ctx.controller.read(lambda state: shown(state, host) if host in state.drains else None)
    if found is None:
        raise ApiError(404, f"Host '{host}' is not drained")
    return found
