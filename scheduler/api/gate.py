"""What stands in front of everything that the API answers: who may ask at all, who asks, how often, and a line in the log
for each change.

In this order: pages of strangers (:mod:`eratos.common.browser_guard`), the request's size, how often an address asks, who asks.
What each caller may do is for the routes (:mod:`caller`). A follower lets its requests through its own gate and hands them on
as they are, so the leader asks again; only the address where a request came from it takes from the follower's word, which the
framework's token vouches for.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eratos.common import keys
from eratos.common.browser_guard import READING, BrowserGuard
from eratos.common.log import fields
from eratos.common.request_target import BadTarget
from eratos.marathon.strict_json import shortened
from eratos.scheduler.access.authenticator import Authenticator, TooManyGuesses, WrongCredentials
from eratos.scheduler.access.roles import ANYBODY, STRANGER, Identity
from eratos.scheduler.access.throttle import Bucket

from . import addresses, dashboard
from .caller import SCOPE, Caller
from .context import BODY_BYTES_MAX
from .errors import error

#: One line for each change, whether it was made or not.
audit = logging.getLogger("eratos.scheduler.audit")

#: Answered to everybody: that a process lives, which balancers ask, and the dashboard's files, which hold nothing.
OPEN: Final = frozenset({"/ping"}) | dashboard.ADDRESSES
#: Set in a request's scope by the part that hands it on to the leader, which then writes the line.
HANDED_ON: Final = "eratos.handed_on"
#: From a follower: where a request came from, and the token that vouches for it.
FOR: Final = "eratos-for"
TOKEN: Final = "eratos-scheduler-token"

#: A reader of a stream is asked again who it is with the first news after so long, in seconds.
AGAIN_S: Final = 10.0
_ADDRESSES_MOST = 10_000
#: Apps that a line of the log names.
_NAMED_MOST = 20
_CORS_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
_CORS_SHOWN = "Eratos-Notice, Location, Marathon-Deployment-Id, Retry-After, X-Marathon-Leader"


@dataclass(frozen=True)
class Access:
    """Whom an API lets in. By default everybody who is no stranger's page, as on a developer's own machine."""

    guard: BrowserGuard = field(default_factory=BrowserGuard)
    authenticator: Authenticator | None = None  #: None: nobody is asked who they are
    requests_per_s: float = 0.0  #: of one address in the long run, ten times that at once; 0: no bound
    token: str = field(default="", repr=False)  #: by which schedulers know each other; empty: they do not


class Gate:
    """ASGI middleware in front of all others."""

    def __init__(self, app: ASGIApp, access: Access, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._access = access
        self._clock = clock
        self._rates: OrderedDict[str, Bucket] = OrderedDict()
        # To try a password takes a core for a while: neither the loop's thread nor one that readings are answered from.
        self._slow = ThreadPoolExecutor(2, "passwords")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            scope = addresses.origin_form(scope)
        except BadTarget as failure:
            await error(failure.status, str(failure))(scope, receive, send)
            return
        headers = Headers(scope=scope)
        caller = Caller(STRANGER, self._address(scope, headers), _path(scope))
        scope = {**scope, SCOPE: caller}
        send = self._shared(headers, send)
        refusal = await self._refusal(scope, headers, caller)
        if refusal is not None:
            # A WebSocket is no reading: it leads into an instance.
            if (_changes(scope) or _is_websocket(scope)) and refusal.status_code != 429:
                _log_change(scope, caller, refusal.status_code)
            await refusal(scope, receive, send)
            return
        if not _changes(scope):  # a tunnel writes its own lines
            await self._app(scope, receive, self._while_known(headers, caller, send))
            return
        status, deployment = 500, None

        async def noted(message: Message) -> None:
            nonlocal status, deployment
            if message["type"] == "http.response.start":
                status = message["status"]
                deployment = Headers(raw=message["headers"]).get("marathon-deployment-id")
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            if not scope.get(HANDED_ON):
                _log_change(scope, caller, status, deployment)

    async def _refusal(self, scope: Scope, headers: Headers, caller: Caller) -> Response | None:
        """Return the answer to a request that goes no further. Notes in ``caller`` who sends it."""
        length = headers.get("content-length", "0")
        has_body = length != "0" or "transfer-encoding" in headers
        refused = self._access.guard.refusal(
            _method(scope), headers.get("host"), headers.get("origin"), headers.get("content-type"), has_body
        )
        if refused is not None:
            return error(refused.status, refused.reason)
        coding = headers.get("content-encoding", "").strip().lower()
        if has_body and coding not in ("", "identity"):
            message = f"a body must come as it is, not compressed as {shortened(coding)!r}: send it without Content-Encoding"
            return error(415, message, {"Accept-Encoding": "identity"})
        if self._access.guard.allowed_origin(headers.get("origin")) and _is_preflight(scope, headers):
            return Response(status_code=204)
        if length.isdigit() and int(length) > BODY_BYTES_MAX:
            return error(413, f"the request is longer than {BODY_BYTES_MAX} bytes: send fewer apps at a time")
        if wait_s := self._too_often(caller.address):
            return _wait("this address sends too many requests", wait_s)
        if self._access.authenticator is None:
            caller.identity = ANYBODY
            return None
        if addresses.path(scope) in OPEN:
            return None
        try:
            caller.identity = await self._identify(self._access.authenticator, headers.get("authorization"), caller.address)
        except WrongCredentials as failure:
            return error(401, str(failure), {"WWW-Authenticate": 'Basic realm="eratos", charset="UTF-8"'})
        except TooManyGuesses as failure:
            return _wait(str(failure), failure.wait_s)
        return None

    def _while_known(self, headers: Headers, caller: Caller, send: Send) -> Send:
        """Have a stream end once who reads it is known no more, as with a token that was withdrawn, or has other roles."""
        authenticator, asked, over = self._access.authenticator, self._clock(), False
        if authenticator is None or caller.identity is STRANGER:
            return send

        async def send_while_known(message: Message) -> None:
            nonlocal asked, over
            if over:
                return  # nobody hears it; the server tells the route so
            if message.get("more_body") and self._clock() - asked >= AGAIN_S:
                asked = self._clock()
                try:
                    over = await self._identify(authenticator, headers.get("authorization"), caller.address) != caller.identity
                except WrongCredentials:
                    over = True
                except TooManyGuesses:
                    pass  # somebody else's at this address: that is no reason
                if over:
                    message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        return send_while_known

    async def _identify(self, authenticator: Authenticator, header: str | None, address: str) -> Identity:
        known = authenticator.known(header)
        if known is not None:
            return known
        return await asyncio.get_running_loop().run_in_executor(self._slow, authenticator.identify, header, address)

    def _address(self, scope: Scope, headers: Headers) -> str:
        client = scope.get("client")
        said, token = headers.get(FOR), headers.get(TOKEN)
        if said and token and keys.same(token, self._access.token):
            try:
                return str(ipaddress.ip_address(said))
            except ValueError:
                pass
        return str(client[0]) if client else ""

    def _too_often(self, address: str) -> float:
        per_s = self._access.requests_per_s
        if not per_s:
            return 0.0
        now = self._clock()
        bucket = self._rates.pop(address, None) or Bucket(10 * per_s, per_s, 10 * per_s, now)
        self._rates[address] = bucket
        if len(self._rates) > _ADDRESSES_MOST:
            self._rates.popitem(last=False)
        return bucket.take(now)

    def _shared(self, headers: Headers, send: Send) -> Send:
        """Have the answer say to a browser that a page of an allowed origin may read it."""
        origin = self._access.guard.allowed_origin(headers.get("origin"))
        if origin is None:
            return send

        async def send_shared(message: Message) -> None:
            if message["type"] == "http.response.start":
                shown = MutableHeaders(scope=message)
                shown["Access-Control-Allow-Origin"] = origin
                shown["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
                shown["Access-Control-Allow-Methods"] = _CORS_METHODS
                shown["Access-Control-Expose-Headers"] = _CORS_SHOWN
                shown.add_vary_header("Origin")
            await send(message)

        return send_shared


def _changes(scope: Scope) -> bool:
    return _method(scope) not in READING


def _is_websocket(scope: Scope) -> bool:
    return bool(scope["type"] == "websocket")


def _method(scope: Scope) -> str:
    """Return a request's method. A WebSocket's is GET (RFC 6455, 4.1)."""
    return str(scope.get("method", "GET"))


def _path(scope: Scope) -> str:
    return (scope.get("raw_path") or b"").decode("latin-1")


def _is_preflight(scope: Scope, headers: Headers) -> bool:
    return _method(scope) == "OPTIONS" and "access-control-request-method" in headers


def _wait(message: str, wait_s: float) -> Response:
    return error(429, f"{message}: wait, then try again", {"Retry-After": str(math.ceil(wait_s))})


def _log_change(scope: Scope, caller: Caller, status: int, deployment: str | None = None) -> None:
    named = ",".join(caller.touched[:_NAMED_MOST])
    if len(caller.touched) > _NAMED_MOST:
        named += f",and {len(caller.touched) - _NAMED_MOST} more"
    audit.info(
        "%s",
        fields(
            who=caller.identity.name,
            address=caller.address,
            method="WEBSOCKET" if _is_websocket(scope) else scope["method"],
            # As it came: decoded it could hold the end of a line.
            path=_path(scope)[:500],
            apps=named or None,
            status=status,
            deployment=deployment,
        ),
    )
