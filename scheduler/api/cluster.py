"""What there is besides apps, tasks and deployments: the launch queue, the brake; and what eratos has not."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from eratos.scheduler.access.roles import Role
from eratos.scheduler.core.events import ReleaseBrake, ResetDelay

from . import queue, render
from .answers import Json
from .caller import VIEWERS, VIEWERS_OF_ALL, Deployer, Operator, RoleRoute, Viewer
from .context import Context, path_id
from .errors import ApiError

#: Parts of Marathon's API that eratos has not, each with the reason. Not found, never a 5xx: clients take that for a dead host.
_REFUSED = {
    "/v2/artifacts": "eratos stores no artifacts: put files into the image",
    "/v2/eventSubscriptions": "eratos calls nobody back, as Marathon since 1.5: follow /v2/events",
}


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(tags=["cluster"], route_class=RoleRoute)

    @routes.get("/v2/queue")
    def show_queue(caller: Viewer, embed: Annotated[list[str], Query()] = []) -> JSONResponse:  # noqa: B006
        offers, view = "lastUnusedOffers" in embed, ctx.view()
        seen = [found for found in ctx.controller.read(lambda s: queue.look(s, offers=offers)) if caller.sees(found.app.id)]
        hide = ctx.discretion.of(caller)
        return Json({"queue": [queue.item(found, view, hide.but(found.app), offers=offers) for found in seen]})

    @routes.delete("/v2/queue/{app_id:path}/delay")
    @ctx.change
    def reset_delay(caller: Deployer, app_id: str) -> Response:
        name = path_id(app_id)
        caller.require(Role.DEPLOY, (name,))
        if not ctx.controller.read(lambda s: name in s.apps and name in s.in_need):
            raise ApiError(404, f"Application {name} not found in tasks queue.")
        ctx.submit(caller, (name,), ResetDelay(name))
        return Response(status_code=204)

    @routes.get("/v2/brake", dependencies=[VIEWERS_OF_ALL])
    def show_brake() -> JSONResponse:
        return JSONResponse(ctx.controller.read(lambda state: render.brake(state, ctx.clock())))

    @routes.delete("/v2/brake")
    @ctx.change
    def release_brake(caller: Operator) -> JSONResponse:
        ctx.submit(caller, ("/",), ReleaseBrake(), Role.OPERATE)
        return JSONResponse(ctx.controller.read(lambda state: render.brake(state, ctx.clock())))

    for path, reason in _REFUSED.items():
        for address in (path, path + "/{rest:path}"):
            routes.add_api_route(
                address,
                _refusal(reason),
                methods=["GET", "POST", "PUT", "DELETE"],
                dependencies=[VIEWERS],
                include_in_schema=False,
            )
    return routes


def _refusal(reason: str):  # type: ignore[no-untyped-def]
    async def refuse() -> JSONResponse:
        raise ApiError(404, reason)

    return refuse
