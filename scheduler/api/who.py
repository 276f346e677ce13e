"""``GET /v2/requests/{id}``: which instance on which agent served a request, and when, as the balancers' logs have it.

Not Marathon's. Balancers are found by their mark in Consul, and asked at the same time. Where none knows the request, the answer
says why that may be and what would have it known next time. What a client wrote in its request is not handed on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from fastapi import APIRouter
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from eratos.common import names, request_ids
from eratos.common.times import timestamp
from eratos.scheduler.core.state import State

from . import companions
from .answers import Json
from .caller import RoleRoute, Viewer
from .companions import Document
from .context import Context
from .controller import Balancer
from .errors import invalid

#: Apps that are named with what they state of logging.
_APPS_NAMED = 20
_TIMES = ("queue_ms", "connect_ms", "answer_ms", "total_ms")

Said = tuple[Balancer, Document | str]


class Place(NamedTuple):
    """What is known of an instance, or of a service where no instance got the request."""

    app: str | None
    task: str | None = None
    host: str | None = None
    agent: str | None = None


def router(ctx: Context) -> APIRouter:
    routes = APIRouter(tags=["cluster"], route_class=RoleRoute)

    @routes.get("/v2/requests/{request_id}")
    async def show_request(caller: Viewer, request_id: str) -> Response:
        if not request_ids.good(request_id):
            raise invalid("/request_id", f"no request has such an id: it has {request_ids.FORM}")
        balancers = ctx.controller.balancers()
        path = f"/requests/{request_id}"
        said = list(zip(balancers, await companions.ask_all(balancers, ctx.companion_headers, path), strict=True))
        return Json(await run_in_threadpool(_shown, ctx, caller.sees, request_id, said))

    return routes


def _shown(ctx: Context, sees: Callable[[str], bool], request_id: str, said: Sequence[Said]) -> Document:
    everything = sees("/")
    requests = [
        (balancer.name, request)
        for balancer, found in said
        if isinstance(found, dict)
        for request in found.get("requests") or ()
        if isinstance(request, dict)
    ]
    servers = {(_text(request, "backend"), _text(request, "server")) for _, request in requests}
    places = ctx.controller.read(lambda state: {key: place_of(state, *key) for key in servers})
    # Those that have ended are in the events for a while.
    places = {key: place if place.host else _as_it_was(ctx, place) for key, place in places.items()}
    rows = []
    for balancer, request in requests:
        place = places[_text(request, "backend"), _text(request, "server")]
        if everything or (place.app is not None and sees(place.app)):
            rows.append(_row(balancer, request, place))
    rows.sort(key=lambda row: row["at"], reverse=True)
    stated = {} if rows else ctx.controller.read(lambda state: _stated(state, sees))
    return {
        "id": request_id,
        "madeAt": None if (made := request_ids.made_at(request_id)) is None else _timestamp(made),
        "requests": rows,
        "balancers": [_balancer(balancer, found) for balancer, found in said],
        "reasons": [*_silent(said, ctx.controller.consul_trouble()), *_gone(rows)]
        + ([] if rows else [*_unknown(made, said, stated), *([] if everything else [_HIDDEN])]),
    }


def place_of(state: State, service: str, server: str) -> Place:
    """Return what is known of a server of HAProxy, or of the service whose requests came to none (``server`` is empty)."""
    task = names.task_of_service(server)
    parsed = names.parse_task_id(task) if task else None
    instance = state.instances.get(parsed[0]) if parsed else None
    if instance is not None and instance.task_id == task:
        return Place(instance.app_id, task, instance.hostname or None, instance.agent_id or None)
    app = instance.app_id if instance is not None else None
    owner = app or next((each.id for each in state.apps.values() if service in each.service_names), None)
    return Place(owner, task)


def _as_it_was(ctx: Context, place: Place) -> Place:
    """Return where a task was that is no more, as far as events say."""
    document = ctx.controller.events.last("status_update_event", place.task.encode()) if place.task else None
    event = msgspec.json.decode(document) if document else {}
    if event.get("taskId") != place.task or not place.task:
        return place
    return Place(place.app or event.get("appId"), place.task, event.get("host") or None, event.get("slaveId") or None)


def _row(balancer: str, request: Mapping[str, Any], place: Place) -> Document:
    shown: Document = {"at": _text(request, "at"), "balancer": balancer, "service": _text(request, "backend")}
    shown |= place._asdict()
    shown |= {"address": _text(request, "address") or None, "status": _number(request, "status")}
    shown |= {name.replace("_ms", "Ms"): _number(request, name) for name in _TIMES}
    return shown | {"retries": _number(request, "retries") or 0, "ending": _text(request, "ending")}


def _balancer(balancer: Balancer, found: Document | str) -> Document:
    if isinstance(found, str):
        return {"name": balancer.name, "trouble": "; ".join(filter(None, (balancer.trouble, found)))}
    oldest, ids, logs = (_text(found, name) or None for name in ("oldest", "request_id", "log_requests"))
    return {"name": balancer.name, "trouble": balancer.trouble, "oldest": oldest, "requestId": ids, "logRequests": logs}


def _silent(said: Sequence[Said], trouble: str) -> Iterator[str]:
    """Say who could not be asked."""
    if not said:
        yield f"no balancer is known that could be asked: {trouble or 'none is registered in Consul'}"
    for balancer, found in said:
        if isinstance(found, str):
            before = " (it is of a version that knows no ids)" if "answers 404" in found else ""
            yield f"what {balancer.name} knows cannot be said: {found}{before}"


def _gone(rows: Iterable[Document]) -> Iterator[str]:
    for task in dict.fromkeys(row["task"] for row in rows if row["task"] and not row["host"]):
        yield f"{task} is gone, and on which agent it was is not known any more"


def _unknown(made: float | None, said: Sequence[Said], stated: Mapping[str, str]) -> Iterator[str]:
    """Say why balancers that answered may not know a request."""
    for balancer, found in said:
        if not isinstance(found, dict):
            continue
        oldest, logs = _text(found, "oldest"), _text(found, "log_requests")
        if found.get("request_id") == "off":
            yield f"{balancer.name} gives requests no ids: its setting ERATOS_REQUEST_ID is off"
        elif made is not None and oldest and _timestamp(made) < oldest:
            yield (
                f"the id is of {_timestamp(made)}, and the oldest request in the log of {balancer.name} of {oldest}: "
                "its settings ERATOS_LOG_FILES and ERATOS_LOG_FILE_BYTES say how much it keeps"
            )
        elif logs == "all":
            since = f"since {oldest}" if oldest else "and no other either"
            yield f"{balancer.name} logs every request, where an app states nothing else, and got none with this id {since}"
        else:
            which = f"{logs} of the requests, and those that failed" if logs.endswith("%") else "requests that failed alone"
            yield f"{balancer.name} logs {which}, where an app states nothing else"
    if any(isinstance(found, dict) for _, found in said):
        named = sorted(stated.items())[:_APPS_NAMED]
        apps = f"; now {', '.join(f'{app} states {value}' for app, value in named)}" if named else ""
        yield (
            "the label ERATOS_0_LOG_REQUESTS=all of an app (0: its first port; or a share such as 5%) has its requests logged "
            f"from then on, ERATOS_LOG_REQUESTS of a balancer those of every app{apps}"
        )


_HIDDEN = "a request to an app that you may not view is not shown"


def _stated(state: State, sees: Callable[[str], bool]) -> dict[str, str]:
    """Return what apps state of the logging of their requests, by what is in the balancers' settings."""
    return {
        app.id: ", ".join(dict.fromkeys(said))
        for app in state.apps.values()
        if (said := [routing.log_requests for routing in app.routings if routing.log_requests]) and sees(app.id)
    }


def _timestamp(at: float) -> str:
    """Return a moment as text; an id may claim any."""
    try:
        return timestamp(at)
    except (ValueError, OverflowError, OSError):
        return "9999-12-31T23:59:59.999Z"


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    return value if isinstance(value, str) else ""


def _number(found: Mapping[str, Any], name: str) -> int | None:
    value = found.get(name)
    return value if isinstance(value, int) else None
