"""What every handler needs, and how handlers read requests and send commands."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import JSONResponse

from eratos.marathon import ids
from eratos.marathon.app import App
from eratos.scheduler.core.actions import Reply
from eratos.scheduler.core.events import Command, PutApps

from . import update
from .controller import Controller, Unavailable
from .errors import ApiError

#: A request's body may be this long. Marathon's own limit, ZooKeeper's node size, is near.
BODY_BYTES_MAX = 4 * 1024 * 1024

#: Header with what a user should know of a change that was made: what the app gets from the balancers.
NOTICE = "Eratos-Notice"
NOTICE_CHARACTERS = 4000

#: How long a change waits for the changes before it.
TURN_S = 20.0


@dataclass(frozen=True)
class Context:
    """The process behind the API."""

    controller: Controller
    clock: Callable[[], float]  #: seconds since the epoch
    executor_port: int  #: where executors serve logs, the same on each agent's host
    _turn: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold off other changes, from reading what is there to having stored what follows: no update gets lost."""
        if not self._turn.acquire(timeout=TURN_S):
            raise Unavailable(f"other changes took {TURN_S:.0f} s already: try again, the store may be slow")
        try:
            yield
        finally:
            self._turn.release()

    def apps(self) -> dict[str, App]:
        return self.controller.read(lambda state: dict(state.apps))

    def app(self, app_id: str) -> App:
        found = self.controller.read(lambda state: state.apps.get(app_id))
        if found is None:
            raise unknown_app(app_id)
        return found

    def put(self, apps: dict[str, App], wanted: tuple[App, ...], *, force: bool, create_only: bool = False) -> Reply:
        """Check apps against those there are, and have them stored."""
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


def path_id(value: str, what: str = "App") -> str:
    """Read an app's or a group's id from an address, with or without the leading slash."""
    try:
        return ids.absolute("/" + value.strip("/"))
    except ValueError:
        raise ApiError(404, f"{what} '{value}' does not exist") from None


async def raw_body(request: Request) -> bytes:
    """Read a body of bounded length. Raises ApiError."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise ApiError(413, f"the request is longer than {BODY_BYTES_MAX} bytes: send fewer apps at a time")
    return bytes(body)


async def json_body(request: Request) -> Any:
    try:
        return json.loads(await raw_body(request))
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is no valid JSON: {error}") from None


Body = Annotated[Any, Depends(json_body)]
