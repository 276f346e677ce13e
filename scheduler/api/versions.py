"""``/v2/apps/{id}/versions``: what an app was, as far as that is kept."""

from __future__ import annotations

import json

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from eratos.marathon import stored
from eratos.scheduler.access.roles import Role
from eratos.scheduler.core import versions

from . import answers, render
from .caller import RoleRoute, Viewer
from .context import Context, path_id
from .errors import ApiError


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(prefix="/v2/apps", tags=["versions"], route_class=RoleRoute)

    @routes.get("/{app_id:path}/versions")
    def list_versions(caller: Viewer, app_id: str) -> JSONResponse:
        name = ctx.owner(caller, app_id, "versions")
        found = ctx.controller.read(lambda state: versions.newest_first(state.versions.get(name, {})))
        return JSONResponse({"versions": [record.version for record in found]})

    @routes.get("/{app_id:path}/versions/{version:version}")
    def show_version(caller: Viewer, app_id: str, version: str) -> JSONResponse:
        name = path_id(app_id)
        caller.require(Role.VIEW, (name,))
        ctx.app(name)
        record = ctx.controller.read(lambda state: state.versions.get(name, {}).get(version))
        if record is None:
            raise ApiError(404, f"App '{name}' does not exist in version {version}")
        # As it was taken then, whatever would be made of it today.
        return JSONResponse(answers.shown(stored.shown(json.loads(record.definition)), ctx.role) | render.version_info(record))

    return routes
