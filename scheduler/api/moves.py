"""``/v2/moves``: instances that are moved to another host with copies of their volumes. Not Marathon's.

Whoever may deploy an app may move its instances.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from eratos.common import names
from eratos.common.times import timestamp
from eratos.marathon.errors import InvalidApp, Problem
from eratos.marathon.pydantic_errors import kind
from eratos.scheduler.access.roles import Role
from eratos.scheduler.core import move_status
from eratos.scheduler.core.events import CancelMoves, MoveVolumes
from eratos.scheduler.core.state import State

from .answers import Json
from .caller import Caller, Deployer, RoleRoute, Viewer
from .context import Body, Context, path_id, read_json
from .errors import ApiError, invalid

_TEXTS: Final = ("app", "instance", "to")
_FIELDS: Final = (*_TEXTS, "wipe")
_EXAMPLE: Final = '{"app": "/db", "to": "agent2"}'


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(prefix="/v2/moves", tags=["volumes"], route_class=RoleRoute)

    @routes.get("")
    def list_moves(caller: Viewer) -> JSONResponse:
        return Json({"moves": ctx.controller.read(lambda state: _seen(state, caller))})

    @routes.post("")
    @ctx.change
    def begin_move(caller: Deployer, body: Body) -> JSONResponse:
        asked = parse(read_json(body))
        if "app" in asked:
            app_id, instance_id = path_id(asked["app"]), ""
        else:
            app_id, instance_id = _app_of(ctx, caller, asked["instance"])
        command = MoveVolumes(app_id, instance_id, asked.get("to", ""), asked.get("wipe", False))
        ctx.submit(caller, (app_id,), command)
        return Json({"moves": ctx.controller.read(lambda state: shown(state, app_id))})

    @routes.delete("/{app_id:path}")
    @ctx.change
    def cancel_moves(caller: Deployer, app_id: str) -> JSONResponse:
        name = path_id(app_id)
        caller.require(Role.DEPLOY, (name,))
        found = ctx.controller.read(lambda state: shown(state, name))
        ctx.submit(caller, (name,), CancelMoves(name))
        return Json({"moves": found})

    return routes


def parse(body: Any) -> dict[str, Any]:
    """Return what a request asks for. Raises InvalidApp."""
    if not isinstance(body, Mapping):
        raise invalid("/", f"must be an object such as {_EXAMPLE}, not {kind(body)}")
    problems = [
        Problem(f"/{field}", f"is no field of a move: use {', '.join(_FIELDS)}") for field in body if field not in _FIELDS
    ]
    given = {field: value for field, value in body.items() if value is not None}
    for field in _TEXTS:
        if field in given and not (isinstance(given[field], str) and given[field].strip()):
            problems.append(Problem(f"/{field}", f"must be a text that is not empty, not {kind(given[field])}"))
    if not isinstance(given.get("wipe", False), bool):
        problems.append(Problem("/wipe", f"must be true or false, not {kind(given['wipe'])}"))
    if ("app" in given) == ("instance" in given):
        problems.append(Problem("/app", f"say what is to move, by either app or instance: {_EXAMPLE}"))
    if problems:
        raise InvalidApp(problems)
    return {field: given[field] for field in _FIELDS if field in given}


def _app_of(ctx: Context, caller: Caller, asked: str) -> tuple[str, str]:
    """Return the app of an instance, named by its id or by its task's, and the instance's id. Raises ApiError."""
    parsed = names.parse_task_id(asked)
    instance_id = parsed[0] if parsed else asked
    found = ctx.controller.read(lambda state: state.instances.get(instance_id))
    if found is None or not caller.sees(found.app_id):
        raise ApiError(404, f"instance: '{asked}' does not exist: eratos task list names those that do")
    return found.app_id, instance_id


def _seen(state: State, caller: Caller) -> list[dict[str, Any]]:
    app_ids = sorted({move.app_id for move in state.moves.values()})
    return [item for app_id in app_ids if caller.sees(app_id) for item in shown(state, app_id)]


def shown(state: State, app_id: str) -> list[dict[str, Any]]:
    """Return the moves of an app."""
    out = []
    for slot, instances in move_status.of_app(state, app_id).items():
        records = move_status.records(state, slot)
        phase = move_status.phase(state, app_id, slot)
        out.append(
            {
                "app": app_id,
                "instance": instances[0].instance_id if instances else None,
                "from": records[0].hostname,
                "to": records[0].move_to or None,
                "wipe": records[0].move_wipe,
                "phase": phase.value,
                "cause": records[0].move_cause.value,
                "since": timestamp(records[0].move_since),
                "volumes": [record.volume_id for record in records],
                "message": move_status.message(state, slot),
            }
        )
    return out
