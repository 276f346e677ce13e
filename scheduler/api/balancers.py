"""``GET /v2/balancers``: what each balancer serves, leaves out and counts, as its companion says; once, or as a stream.

Not Marathon's. Which balancers there are stands in Consul. Their companions are asked when somebody wants to know, at most once
in :data:`PERIOD_S` however many want to. A stream (``Accept: text/event-stream``) has an answer of the same form each
:data:`PERIOD_S`: HAProxy's figures change all the time.

``app``, once or several times, gives the services of those apps alone, and what balancers do not serve of them yet
(:mod:`rotation`). How the error budgets of apps stand by what balancers count is shown where there are any, and how apps are
autoscaled by what is measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from eratos.scheduler.core.state import State

from . import autoscaling, budgets, companions, rotation
from .accept import JSON, preferred
from .answers import Json
from .caller import Caller, RoleRoute, Viewer
from .companions import Document
from .context import Context, path_id
from .controller import Balancer
from .errors import invalid
from .event_stream import EVENT_STREAM

PERIOD_S: Final = 2.0
#: Apps that one request may ask for.
APPS_MOST: Final = 500


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(tags=["cluster"], route_class=RoleRoute)
    asked = _Asked(ctx)

    @routes.get("/v2/balancers")
    async def show_balancers(caller: Viewer, request: Request, app: Annotated[list[str], Query()] = []) -> Response:  # noqa: B006
        if len(app) > APPS_MOST:
            raise invalid("/app", f"is given {len(app)} times: {APPS_MOST} are the most, and none gives all")
        app_ids = [path_id(item) for item in app]
        if preferred(request.headers.get("accept"), (JSON, EVENT_STREAM)) == EVENT_STREAM:
            return StreamingResponse(_stream(ctx, asked, caller, app_ids), media_type=EVENT_STREAM)
        return Json(await _shown(ctx, asked, caller, app_ids))

    return routes


async def _stream(ctx: Context, asked: _Asked, caller: Caller, app_ids: Sequence[str]) -> AsyncGenerator[bytes, None]:
    while not ctx.controller.events.closed:
        document = JSONResponse(await _shown(ctx, asked, caller, app_ids)).body
        yield b"event: balancers\ndata: " + bytes(document) + b"\n\n"
        await asyncio.sleep(PERIOD_S)


async def _shown(ctx: Context, asked: _Asked, caller: Caller, app_ids: Sequence[str]) -> Document:
    found = await asked.now()
    apps = await run_in_threadpool(ctx.apps)
    owners = {service: app.id for app in apps.values() for service in app.service_names}
    everything = caller.sees("/")

    def may(service: str) -> bool:
        owner = owners.get(service)
        return (everything or (owner is not None and caller.sees(owner))) and (not app_ids or owner in app_ids)

    shown: Document = {"balancers": [_balancer(balancer, status, owners, may) for balancer, status in found]}
    if everything:
        shown["consul"] = {"trouble": ctx.controller.consul_trouble()}
    now = ctx.clock()
    shown |= await run_in_threadpool(ctx.controller.read, lambda state: _measured(state, caller, app_ids, now))
    if app_ids:
        seen = [app_id for app_id in app_ids if caller.sees(app_id)]
        # After the balancers: what became ready meanwhile is said to be missing, rather than missing and not said.
        ports = await run_in_threadpool(ctx.controller.read, lambda state: rotation.wanted(state, seen))
        statuses = [(balancer.name, status) for balancer, status in found]
        places = {balancer.name: balancer.datacenter for balancer, _ in found}
        compared = rotation.compare(ports, statuses, ctx.controller.consul_trouble(), places)
        shown["rotation"] = [{"app": item.app_id, "message": item.message, "awaited": item.awaited} for item in compared]
    return shown


def _measured(state: State, caller: Caller, app_ids: Sequence[str], now: float) -> Document:
    """Return what follows of what is measured, by app; nothing of which no app has any."""
    asked = [app for app in state.apps.values() if app.error_budget is not None or app.autoscale is not None]
    apps = [app for app in asked if (not app_ids or app.id in app_ids) and caller.sees(app.id)]
    found = {
        "errorBudgets": {app.id: budgets.shown(state, app) for app in apps if app.error_budget is not None},
        "autoscaling": {app.id: autoscaling.shown(state, app, now) for app in apps if app.autoscale is not None},
    }
    return {name: of_apps for name, of_apps in found.items() if of_apps}


def _balancer(balancer: Balancer, status: Document | str, owners: Mapping[str, str], may: Callable[[str], bool]) -> Document:
    shown: Document = {"name": balancer.name, "trouble": balancer.trouble, "services": []}
    if isinstance(status, str):
        return shown | {"trouble": "; ".join(filter(None, (balancer.trouble, status)))}
    services: dict[str, Document] = {}
    for name, found in _dict(status.get("servers")).items():
        backend, _, server = name.partition("/")
        if may(backend):
            service = services.setdefault(backend, {"service": backend, "app": owners.get(backend), "servers": []})
            service["servers"].append({"id": server, **_dict(found)})
    for backend in _dict(status.get("backends")):
        if may(backend):
            services.setdefault(backend, {"service": backend, "app": owners.get(backend), "servers": []})
    left_out = [str(text) for text in status.get("left_out", ())]
    return shown | {
        "reloads": status.get("reloads"),
        "updates": status.get("updates"),
        "refusals": status.get("refusals"),
        "lastReason": status.get("last_reason") or "",
        "oldProcesses": status.get("old_processes"),
        "zone": status.get("zone") or "",
        "zonePolicy": status.get("zone_policy") or "ignore",
        "held": [str(text) for text in status.get("held", ())],
        "leftOut": [text for text in left_out if may(text.partition(": ")[0])],
        "services": sorted(services.values(), key=lambda service: str(service["service"])),
    }


def _dict(found: Any) -> Document:
    return found if isinstance(found, dict) else {}


class _Asked:
    """The last answers of all companions, shared by all requests of about the same time."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._at = float("-inf")
        self._lock: asyncio.Lock | None = None
        self._found: list[tuple[Balancer, Document | str]] = []

    async def now(self) -> list[tuple[Balancer, Document | str]]:
        """Return each balancer with its status, or with the reason why there is none."""
        lock = self._lock = self._lock or asyncio.Lock()
        async with lock:
            if time.monotonic() - self._at >= PERIOD_S / 2:
                balancers = self._ctx.controller.balancers()
                self._found = list(zip(balancers, await companions.ask_all(balancers, self._ctx.companion_headers), strict=True))
                self._at = time.monotonic()
            return self._found
