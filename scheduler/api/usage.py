"""``GET /v2/usage``: what instances take of CPU and memory, as their executors have measured it.

Not Marathon's. Executors measure by themselves and are asked when somebody wants to know, at most once in :data:`FRESH_S`
however many want to. What is not known is null, never 0, and ``missing`` says why. ``app``, once or several times, gives the
instances of those apps alone. A stream (``Accept: text/event-stream``) has an answer of the same form each :data:`PERIOD_S`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from typing import Annotated, Any, Final, NamedTuple

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from eratos.scheduler.core.state import State

from . import executors
from .accept import JSON, preferred
from .answers import Json
from .caller import Caller, RoleRoute, Viewer
from .context import Context, path_id
from .errors import invalid
from .event_stream import EVENT_STREAM
from .executors import Answer

#: An answer is shown for so long.
FRESH_S: Final = 1.0
#: Of a stream; executors measure as often.
PERIOD_S: Final = 5.0
#: Apps that one request may ask for.
APPS_MOST: Final = 500
_UNKNOWN: Final = {"ageSeconds": None, "cpus": None, "cpusLimit": None, "memBytes": None, "memLimitBytes": None}
NOT_YET: Final = "nothing was measured of it of late: it has just begun, has ended, or its runtime says nothing"


class Place(NamedTuple):
    """An instance with a task, and where that is."""

    app_id: str
    task_id: str
    agent_id: str
    host: str


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(tags=["cluster"], route_class=RoleRoute)
    asked = _Asked(ctx)

    @routes.get("/v2/usage")
    async def show_usage(caller: Viewer, request: Request, app: Annotated[list[str], Query()] = []) -> Response:  # noqa: B006
        if len(app) > APPS_MOST:
            raise invalid("/app", f"is given {len(app)} times: {APPS_MOST} are the most, and none gives all")
        app_ids = [path_id(item) for item in app]
        if preferred(request.headers.get("accept"), (JSON, EVENT_STREAM)) == EVENT_STREAM:
            return StreamingResponse(_stream(ctx, asked, caller, app_ids), media_type=EVENT_STREAM)
        return Json(await _found(ctx, asked, caller, app_ids))

    return routes


async def _stream(ctx: Context, asked: _Asked, caller: Caller, app_ids: Collection[str]) -> AsyncGenerator[bytes, None]:
    while not ctx.controller.events.closed:
        document = JSONResponse(await _found(ctx, asked, caller, app_ids)).body
        yield b"event: usage\ndata: " + bytes(document) + b"\n\n"
        await asyncio.sleep(PERIOD_S)


async def _found(ctx: Context, asked: _Asked, caller: Caller, app_ids: Collection[str]) -> dict[str, Any]:
    places = await run_in_threadpool(ctx.controller.read, lambda state: _places(state, app_ids, caller.sees))
    answers = await asked.now({place.agent_id: place.host for place in places})
    return {"tasks": [_shown(place, *answers[place.agent_id]) for place in places]}


def _places(state: State, app_ids: Collection[str], sees: Callable[[str], bool]) -> list[Place]:
    """Return the instances of apps, none: of all. Runs of jobs are none of an app."""
    found = dict.fromkeys(app_ids) or [app_id for app_id in state.fleets if app_id not in state.runs]
    return [
        Place(app_id, instance.task_id, instance.agent_id, instance.hostname)
        for app_id in found
        if sees(app_id)
        for instance in state.instances_of(app_id)
        if not instance.waiting
    ]


def _shown(place: Place, answer: Answer, since_s: float) -> dict[str, Any]:
    """Return what is known of an instance. ``since_s``: how long ago the executor said it."""
    shown: dict[str, Any] = {"id": place.task_id, "app": place.app_id}
    if isinstance(answer, str):
        return shown | _UNKNOWN | {"missing": answer}
    usage = answer.get(place.task_id)
    if usage is None:
        return shown | _UNKNOWN | {"missing": NOT_YET}
    return shown | {
        "ageSeconds": round(usage.age_s + since_s, 3),
        "cpus": usage.cpus,
        "cpusLimit": usage.cpus_limit,
        "memBytes": usage.mem_bytes,
        "memLimitBytes": usage.mem_limit_bytes,
        "missing": "its CPU was read once only" if usage.cpus is None else "",
    }


class _Asked:
    """The last answers of executors, shared by all requests of about the same time."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._lock: asyncio.Lock | None = None
        self._found: dict[str, tuple[float, Answer]] = {}

    async def now(self, hosts: Mapping[str, str]) -> dict[str, tuple[Answer, float]]:
        """Return the answer of each executor and how long ago it came, by the agents' ids. ``hosts``: of the agents."""
        lock = self._lock = self._lock or asyncio.Lock()
        async with lock:
            since = time.monotonic() - FRESH_S
            self._found = {agent_id: found for agent_id, found in self._found.items() if found[0] > since}
            missing = {agent_id: host for agent_id, host in hosts.items() if agent_id not in self._found}
            answers = await executors.ask_all(missing, self._ctx.executor_port, self._ctx.headers)
            at = time.monotonic()
            self._found |= {agent_id: (at, answer) for agent_id, answer in answers.items()}
            return {agent_id: (self._found[agent_id][1], at - self._found[agent_id][0]) for agent_id in hosts}
