"""``GET /v2/balancers``: what each balancer serves, leaves out and counts, as its companion says; once, or as a stream.

Not Marathon's. Which balancers there are stands in Consul. Their companions are asked when somebody wants to know, at most once
in :data:`PERIOD_S` however many want to. A stream (``Accept: text/event-stream``) has an answer of the same form each
:data:`PERIOD_S`: HAProxy's figures change all the time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from . import companions
from .accept import JSON, preferred
from .answers import Json
from .caller import Caller, RoleRoute, Viewer
from .companions import Document
from .context import Context
from .controller import Balancer
from .event_stream import EVENT_STREAM

PERIOD_S: Final = 2.0


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(tags=["cluster"], route_class=RoleRoute)
    asked = _Asked(ctx)

    @routes.get("/v2/balancers")
    async def show_balancers(caller: Viewer, request: Request) -> Response:
        if preferred(request.headers.get("accept"), (JSON, EVENT_STREAM)) == EVENT_STREAM:
            return StreamingResponse(_stream(ctx, asked, caller), media_type=EVENT_STREAM)
        return Json(await _shown(ctx, asked, caller))

    return routes


async def _stream(ctx: Context, asked: _Asked, caller: Caller) -> AsyncGenerator[bytes, None]:
    while not ctx.controller.events.closed:
        document = JSONResponse(await _shown(ctx, asked, caller)).body
        yield b"event: balancers\ndata: " + bytes(document) + b"\n\n"
        await asyncio.sleep(PERIOD_S)


async def _shown(ctx: Context, asked: _Asked, caller: Caller) -> Document:
    found = await asked.now()
    apps = await run_in_threadpool(ctx.apps)
    owners = {service: app.id for app in apps.values() for service in app.service_names}
    everything = caller.sees("/")
    may = lambda service: everything or (service in owners and caller.sees(owners[service]))  # noqa: E731
    return {"balancers": [_balancer(balancer, status, owners, may) for balancer, status in found]}


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
    """The last answers of all companions, shared by whoever asks at about the same time."""

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
