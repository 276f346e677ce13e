"""The process itself: that it lives, what it is, who leads, its settings and how much it logs. Answered where asked."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from eratos.scheduler.access.roles import Role

from . import log_levels
from .accept import JSON, TEXT, preferred
from .caller import ANYONE, VIEWERS, VIEWERS_OF_ALL, Operator, RoleRoute, Viewer
from .context import Body, Context, read_json
from .errors import ApiError, invalid

HTML = "text/html"


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(tags=["system"], route_class=RoleRoute)
    levels = log_levels.LogLevels()

    # Async, so that it answers from the event loop even while every thread waits for the store.
    @routes.get("/ping", dependencies=[ANYONE])
    async def ping(request: Request) -> Response:
        kind = preferred(request.headers.get("accept"), (TEXT, HTML, JSON))
        if kind is None:
            return Response(status_code=204)
        return JSONResponse("pong") if kind == JSON else Response("pong", media_type=kind)

    @routes.get("/v2/info", dependencies=[VIEWERS])
    def info() -> JSONResponse:
        return JSONResponse(ctx.controller.info())

    @routes.get("/v2/leader", dependencies=[VIEWERS])
    def leader() -> JSONResponse:
        url = ctx.controller.leader()
        if url is None:
            raise ApiError(404, "There is no leader")
        return JSONResponse({"leader": urlsplit(url).netloc or url})

    @routes.delete("/v2/leader")
    def abdicate(caller: Operator, backup: str = "", restore: str = "") -> JSONResponse:
        caller.require(Role.OPERATE, ("/",))
        for name, given in (("backup", backup), ("restore", restore)):
            if given:
                raise invalid(f"/{name}", f"is refused: eratos-scheduler {name} FILE does it, with this scheduler's settings")
        ctx.controller.abdicate()
        return JSONResponse({"message": "Leadership abdicated"})

    @routes.get("/v2/whoami")
    async def who_am_i(caller: Viewer) -> JSONResponse:
        identity = caller.identity
        return JSONResponse({"name": identity.name, "roles": [str(grant) for grant in identity.grants]})

    @routes.get("/v2/plugins", dependencies=[VIEWERS])
    async def list_plugins() -> JSONResponse:
        return JSONResponse({"plugins": []})

    @routes.get("/config", dependencies=[VIEWERS_OF_ALL])
    def show_config() -> JSONResponse:
        return JSONResponse(ctx.controller.settings())

    @routes.get("/logging", dependencies=[VIEWERS_OF_ALL])
    def show_loggers() -> JSONResponse:
        return JSONResponse(log_levels.shown())

    @routes.post("/logging")
    def change_logger(caller: Operator, body: Body) -> JSONResponse:
        caller.require(Role.OPERATE, ("/",))
        return JSONResponse(levels.change(read_json(body)))

    return routes
