"""What every handler needs, and how handlers read requests and send commands."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, ParamSpec, TypeVar

from fastapi import Depends, Request
from fastapi.responses import JSONResponse

from eratos.marathon import documents, ids
from eratos.marathon.app import App
from eratos.scheduler.core.actions import Reply
from eratos.scheduler.core.events import Command, PutApps

from . import update
from .addresses import SLASH
from .controller import Controller
from .errors import ApiError
from .turns import Turns

P = ParamSpec("P")
T = TypeVar("T")

#: A request's body may be this long. Marathon's own limit, ZooKeeper's node size, is near.
BODY_BYTES_MAX = 4 * 1024 * 1024

#: Instances of all apps together, unless a setting says otherwise: what one core was seen to carry with ease.
INSTANCES_MOST = 100_000

#: A body has to be here within this time.
BODY_S = 60.0

#: Header with what a user should know of a change that was made: what the app gets from the balancers.
NOTICE = "Eratos-Notice"
NOTICE_CHARACTERS = 4000


@dataclass(frozen=True)
class Context:
    """The process behind the API."""

    controller: Controller
    clock: Callable[[], float]  #: seconds since the epoch
    executor_port: int  #: where executors serve logs, the same on each agent's host
    instances_most: int = INSTANCES_MOST  #: of all apps together
    _turns: Turns = field(default_factory=Turns)

    def change(self, handler: Callable[P, T]) -> Callable[P, Awaitable[T]]:
        """Have a handler run when its turn among the changes comes. Decorates the handler of every change."""

        @functools.wraps(handler)
        async def in_turn(*args: P.args, **kwargs: P.kwargs) -> T:
            return await self._turns.take(functools.partial(handler, *args, **kwargs))

        return in_turn

    def apps(self) -> dict[str, App]:
        return self.controller.read(lambda state: dict(state.apps))

    def app(self, app_id: str) -> App:
        found = self.controller.read(lambda state: state.apps.get(app_id))
        if found is None:
            raise unknown_app(app_id)
        return found

    def owner(self, address: str, last: str, *, change: bool = False) -> str:
        """Return the app whose ``last`` (tasks, versions, restart) an address asks for. Raises ApiError.

        Apps made before such last names were refused may have one. Then the address with it means what it means in Marathon,
        or nothing where that would be a guess about a change; ``%2F`` in an id leaves no doubt.
        """
        name = path_id(address)
        whole = f"{name}/{last}"
        known, rival = self.controller.read(lambda state: (name in state.apps, whole in state.apps))
        if rival and not known:
            raise ApiError(404, f"App '{name}' does not exist; the app '{whole}' is at /v2/apps/{encoded(whole)}")
        if rival and change and SLASH not in address:
            raise ApiError(
                409,
                f"this may mean the {last} of '{name}' or the app '{whole}': write /v2/apps/{encoded(name)}/{last} "
                f"or /v2/apps/{encoded(whole)}",
            )
        if not known:
            raise unknown_app(name)
        return name

    def put(self, apps: dict[str, App], wanted: tuple[App, ...], *, force: bool, create_only: bool = False) -> Reply:
        """Check apps against those there are, and have them stored."""
        update.check_instances(apps, wanted, self.instances_most)
        wanted = update.keeping(apps, wanted)
        update.check(apps, wanted, self.controller.info().get("marathon_config", {}).get("mesos_role"))
        return self.submit(lambda token: PutApps(token, wanted, create_only=create_only, force=force))

    def submit(self, make_command: Callable[[int], Command]) -> Reply:
        return self.controller.submit(make_command)


def deployed(
    reply: Reply, status: int = 200, body: dict[str, Any] | None = None, location: str = "", notices: Iterable[str] = ()
) -> JSONResponse:
    """Answer a command that was carried out. ``notices`` are for the user, and no reason to refuse anything.

    They go into a header: clients of Marathon do not take further fields in a body.
    """
    headers = {"Marathon-Deployment-Id": reply.deployment_id}
    if said := _within(notices, NOTICE_CHARACTERS):
        headers[NOTICE] = said
    if location:
        headers["Location"] = location
    content = {"version": reply.version, "deploymentId": reply.deployment_id} if body is None else body
    return JSONResponse(content, status, headers)


def _within(notices: Iterable[str], most: int) -> str:
    """Join notices as far as there is room in a header."""
    said = ""
    for notice in notices:
        if len(said) + len(notice) + 2 > most:
            return f"{said}; ..." if said else ""
        said = f"{said}; {notice}" if said else notice
    return said


def unknown_app(app_id: str) -> ApiError:
    return ApiError(404, f"App '{app_id}' does not exist")


def encoded(app_id: str) -> str:
    """Return an id as one part of an address."""
    return app_id.replace("/", SLASH)


def path_id(value: str, what: str = "App") -> str:
    """Read an app's or a group's id from an address, with or without the leading slash."""
    try:
        return ids.absolute("/" + value.replace(SLASH, "/").strip("/"))
    except ValueError:
        raise ApiError(404, f"{what} '{value}' does not exist") from None


async def raw_body(request: Request) -> bytes:
    """Read a body of bounded length, in bounded time. Raises ApiError."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise ApiError(413, f"the request is longer than {BODY_BYTES_MAX} bytes: send fewer apps at a time")
    except TimeoutError:
        raise ApiError(408, f"the request's body was not here within {BODY_S:.0f} s: send it faster, or in parts") from None
    return bytes(body)


def read_json(body: bytes) -> Any:
    """Read a request's body. Raises ApiError and InvalidApp."""
    try:
        return documents.read(body)
    except documents.NoJson as error:
        raise ApiError(400, f"the body is no valid JSON: {error}") from None


#: Read when the change's turn comes: a change that waits costs no more than its size.
Body = Annotated[bytes, Depends(raw_body)]
