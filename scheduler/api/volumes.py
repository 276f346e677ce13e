"""``/v2/volumes``: the persistent volumes that there are, whoever uses them. Not Marathon's, which shows those of tasks only."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from eratos.common.times import timestamp
from eratos.scheduler.access.roles import Role
from eratos.scheduler.core import move_status, volumes
from eratos.scheduler.core.events import DeleteVolume
from eratos.scheduler.core.records import VolumeRecord, VolumeState
from eratos.scheduler.core.state import State

from .answers import Json
from .caller import Caller, Deployer, RoleRoute, Viewer
from .context import Context
from .errors import ApiError


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(prefix="/v2/volumes", tags=["volumes"], route_class=RoleRoute)

    @routes.get("")
    def list_volumes(caller: Viewer) -> JSONResponse:
        def look(state: State) -> list[dict[str, Any]]:
            seen = (record for record in state.volumes.values() if caller.sees(record.app_id))
            return [shown(state, record) for record in sorted(seen, key=lambda r: (r.app_id, r.slot, r.container_path))]

        return Json({"volumes": ctx.controller.read(look)})

    @routes.get("/{volume_id}")
    def show_volume(caller: Viewer, volume_id: str) -> JSONResponse:
        return Json(_one(ctx, caller, Role.VIEW, volume_id))

    @routes.delete("/{volume_id}")
    @ctx.change
    def delete_volume(caller: Deployer, volume_id: str, force: bool = False) -> JSONResponse:
        found = _one(ctx, caller, Role.DEPLOY, volume_id)
        ctx.submit(caller, (found["appId"],), DeleteVolume(volume_id, force))
        return Json(ctx.controller.read(lambda state: _still(state, volume_id)) or {**found, "use": "destroyed"})

    return routes


def _one(ctx: Context, caller: Caller, role: Role, volume_id: str) -> dict[str, Any]:
    """Return what is shown of a volume. Raises ApiError where it is not there, or the caller lacks the role for its app."""
    found = ctx.controller.read(lambda state: _still(state, volume_id))
    if found is None:
        raise ApiError(404, f"Volume '{volume_id}' does not exist")
    caller.require(role, (found["appId"],))
    return found


def _still(state: State, volume_id: str) -> dict[str, Any] | None:
    record = state.volumes.get(volume_id)
    return shown(state, record) if record is not None else None


def shown(state: State, record: VolumeRecord) -> dict[str, Any]:
    """Return a volume for people and programs."""
    instance = volumes.holder(state, record)
    use, message = _use(state, record), record.message
    away = volumes.away(state, record.hostname)
    if use == "deleting" and record.task_id:
        message = f"destroyed once its last task has ended for certain: {record.task_id}"
    elif record.state is VolumeState.COPYING:
        message = f"it becomes a copy of {record.copy_of}, and counts once that is whole"
    elif record.move_since:
        message = move_status.message(state, record.slot)
    elif use == "deleting" and not message:
        message = "its host is away: destroyed once it is back" if away else "destroyed once an executor of its host says so"
    return {
        "id": record.volume_id,
        "appId": record.app_id,
        "containerPath": record.container_path,
        "size": record.size_mib,
        "host": record.hostname,
        "agentId": record.agent_id,
        "away": away,
        "use": use,
        "instanceId": instance.instance_id if instance is not None else None,
        "taskId": record.task_id or None,
        "createdAt": timestamp(record.created_at),
        "unusedSince": timestamp(record.released_at) if record.released_at else None,
        "copyOf": record.copy_of or None,
        "message": message,
    }


def _use(state: State, record: VolumeRecord) -> str:
    """Return ``used``, ``waiting`` where its instance has no task, ``unused``, ``left``, ``copying`` or ``deleting``."""
    if record.state in (VolumeState.DELETING, VolumeState.LEFT, VolumeState.COPYING):
        return str(record.state.value)
    instance = volumes.holder(state, record)
    if instance is None:
        return "unused"
    return "waiting" if instance.waiting else "used" if record.task_id else "unused"
