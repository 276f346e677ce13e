"""Addresses as clients write them, and methods that every address has, before anything is routed.

A trailing slash is dropped, not redirected: a redirected PUT loses its body with many clients. An encoded slash (``%2F``)
belongs to an id and separates nothing, so ``/v2/apps/%2Fshop%2Ftasks`` is the app ``/shop/tasks``, whatever
``/v2/apps/shop/tasks`` means. HEAD is GET without its body, OPTIONS names the methods, and a method that an address does not
have is answered with all that it has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eratos.common import request_target

from .errors import error

#: How a slash that belongs to an id looks in a handler's parameter; ``context.path_id`` reads it.
SLASH: Final = "%2F"

PATH_CHARACTERS_MAX: Final = 8192


class _TaskId(Convertor[str]):
    """A task's or an instance's id, so that ``/v2/apps/shop/tasks/cart`` stays the app ``/shop/tasks/cart``."""

    regex = r"[^/]*\.instance-[^/]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _Version(_TaskId):
    """An app's version: no name in an id holds a capital letter."""

    regex = r"[0-9]{4}-[0-9T:.+-]{1,40}Z"


register_url_convertor("task_id", _TaskId())
register_url_convertor("version", _Version())


class Addresses:
    """ASGI middleware around the API. ``routes`` in the order in which they are tried."""

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._methods: dict[re.Pattern[str], set[str]] = {}
        for route in routes:
            pattern = getattr(route, "path_regex", None)
            if pattern is not None:
                self._methods.setdefault(pattern, set()).update(getattr(route, "methods", None) or ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = {**scope, "path": path(scope)}
        if len(scope["path"]) > PATH_CHARACTERS_MAX:
            await error(414, f"the path is longer than {PATH_CHARACTERS_MAX} characters: ids are short")(scope, receive, send)
            return
        handled, asked = self._handled(scope["path"]), scope["method"]
        if not handled or asked in handled:
            await self._app(scope, receive, send)
        elif asked == "HEAD" and "GET" in handled:
            await self._app({**scope, "method": "GET"}, receive, _head_alone(send))
        else:
            allow = ", ".join(sorted({*handled, "OPTIONS"} | ({"HEAD"} if "GET" in handled else set())))
            if asked == "OPTIONS":
                await Response(status_code=204, headers={"Allow": allow})(scope, receive, send)
            else:
                message = f"{asked} {scope['path']}: Method Not Allowed, use one of {allow}"
                await error(405, message, {"Allow": allow})(scope, receive, send)

    def _handled(self, path: str) -> set[str]:
        """Return the methods that an address has a handler for, none where there is nothing."""
        return next((methods for pattern, methods in self._methods.items() if pattern.match(path)), set())


def path(scope: Scope) -> str:
    """Return a request's path decoded, but for slashes in ids, and without slashes at its end."""
    raw = scope.get("raw_path")
    found = scope["path"] if raw is None else unquote(re.sub("%2[fF]", "%252F", raw.decode("latin-1")))
    return str(found).rstrip("/") or "/"


def origin_form(scope: Scope) -> Scope:
    """Return a request that names its whole address as one that names the path alone, with the address's host as its ``Host``.

    Raises request_target.BadTarget.
    """
    raw = (scope.get("raw_path") or b"/").decode("latin-1")
    target, host = request_target.parted(raw, tls=scope.get("scheme") in ("https", "wss"))
    if host is None:
        return scope
    headers = [(b"host", host.encode("latin-1")), *((name, value) for name, value in scope["headers"] if name != b"host")]
    return {**scope, "path": unquote(target), "raw_path": target.encode("latin-1"), "headers": headers}


def _head_alone(send: Send) -> Send:
    """Send an answer's head, and end it there, though its body may be a log that is followed for hours."""
    ended = False

    async def send_head(message: Message) -> None:
        nonlocal ended
        if message["type"] == "http.response.start":
            await send(message)
        elif not ended:
            ended = True
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return send_head
