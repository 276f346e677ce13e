"""What there is besides apps and tasks: deployments, the launch queue, the leader, liveness; and what eratos has not."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from eratos.scheduler.core.events import ReleaseBrake, ResetDelay

from . import queue, render
from .context import Context, path_id
from .errors import ApiError

#: Parts of Marathon's API that eratos has not, each with the reason. Not found, never a 5xx: clients take that for a dead host.
_REFUSED = {
    "/v2/pods": "eratos runs apps only: write each container of a pod as an app of its own",
    "/v2/events": "eratos sends no event stream: poll /v2/deployments and /v2/tasks",
    "/v2/artifacts": "eratos stores no artifacts: put files into the image",
    "/v2/eventSubscriptions": "eratos sends no events: poll /v2/deployments and /v2/tasks",
}


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(tags=["cluster"])

    # Async, so that it answers from the event loop even while every thread waits for the store.
    @routes.get("/ping")
    async def ping() -> PlainTextResponse:
        return PlainTextResponse("pong")

    @routes.get("/v2/info")
    def info() -> JSONResponse:
        return JSONResponse(ctx.controller.info())

    @routes.get("/v2/leader")
    def leader() -> JSONResponse:
        url = ctx.controller.leader()
        if url is None:
            raise ApiError(404, "There is no leader")
        return JSONResponse({"leader": urlsplit(url).netloc or url})

    @routes.get("/v2/deployments")
    def list_deployments() -> JSONResponse:
        found = ctx.controller.read(lambda s: list(s.deployments.values()))
        return JSONResponse([render.deployment(change) for change in found])

    @routes.delete("/v2/deployments/{deployment_id}")
    def cancel_deployment(deployment_id: str) -> JSONResponse:
        if not ctx.controller.read(lambda s: deployment_id in s.deployments):
            raise ApiError(404, f"Deployment '{deployment_id}' does not exist")
        raise ApiError(422, "eratos keeps no former definitions to roll back to: apply the former definition of the app instead")

    @routes.get("/v2/queue")
    def show_queue(embed: Annotated[list[str], Query()] = []) -> JSONResponse:  # noqa: B006
        now, offers = ctx.clock(), "lastUnusedOffers" in embed
        items = ctx.controller.read(lambda s: queue.queue(s, now, offers=offers))
        return JSONResponse({"queue": [{**item, "app": item["app"].to_json()} for item in items]})

    @routes.delete("/v2/queue/{app_id:path}/delay")
    @ctx.change
    def reset_delay(app_id: str) -> Response:
        name = path_id(app_id)
        ctx.submit(lambda token: ResetDelay(token, name))
        return Response(status_code=204)

    @routes.get("/v2/brake")
    def show_brake() -> JSONResponse:
        return JSONResponse(ctx.controller.read(render.brake))

    @routes.delete("/v2/brake")
    @ctx.change
    def release_brake() -> JSONResponse:
        ctx.submit(ReleaseBrake)
        return JSONResponse(ctx.controller.read(render.brake))

    @routes.get("/v2/plugins")
    async def list_plugins() -> JSONResponse:
        return JSONResponse({"plugins": []})

    for path, reason in _REFUSED.items():
        for address in (path, path + "/{rest:path}"):
            routes.add_api_route(address, _refusal(reason), methods=["GET", "POST", "PUT", "DELETE"], include_in_schema=False)
    return routes


def _refusal(reason: str):  # type: ignore[no-untyped-def]
    async def refuse() -> JSONResponse:
        raise ApiError(404, reason)

    return refuse
