"""Followers hand requests on to the leader, reads too: what a follower knows is as old as its last term.

Some paths speak of the process itself and are answered where they arrive.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, aclosing
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eratos.common import async_http
from eratos.common.log import fields

from . import addresses, context, dashboard
from .caller import SCOPE, Caller
from .controller import Controller
from .errors import ApiError, error, unavailable
from .gate import FOR, HANDED_ON, TOKEN
from .tunnel_proxy import NoAnswer, hand_on

log = logging.getLogger(__name__)

LOCAL: Final = frozenset(
    {"/ping", "/metrics", "/metrics/prometheus", "/v2/info", "/v2/leader", "/v2/plugins", "/config", "/logging", "/openapi.json"}
    | dashboard.ADDRESSES
)

#: Marathon's own names (LeaderProxyFilter.scala).
VIA: Final = "X-Marathon-Via"
LEADER: Final = "X-Marathon-Leader"

#: To connect; a leader that is there takes milliseconds.
CONNECT_S: Final = 5.0
#: A change may wait for its turn and for the store; the leader answers with a reason before this is over.
CHANGE_S: Final = 60.0
#: For the answer to a reading, which waits for nobody but a log's executor (:data:`.logs.ANSWER_S`).
READ_S: Final = 15.0
#: Between two pieces of an answer's body. Of a log that is followed they may come as they like, while the leader stays the same.
PIECE_S: Final = 15.0

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

#: These belong to one connection and are not handed on, nor is what a Connection header names (RFC 9110, 7.6.1). The body is
#: here before it is handed on, so nobody waits for a 100 (Continue).
_HOP_BY_HOP: Final = frozenset(
    {"connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"}
    | {"transfer-encoding", "upgrade"}
)
#: This process's own server sets these on every answer.
_OWN: Final = frozenset({"date", "server", LEADER.lower()})


class LeaderProxy:
    """ASGI middleware around the API of one process."""

    def __init__(self, app: ASGIApp, controller: Controller, token: str, tls: Callable[[], ssl.SSLContext]) -> None:
        """``token``: by which schedulers know each other, empty where they do not. ``tls``: for https."""
        self._app = app
        self._controller = controller
        self._token = token
        self._tls = tls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or self._controller.is_leader or _local(scope):
            await self._app(scope, receive, self._named(send))
            return
        scope[HANDED_ON] = True
        if scope["type"] == "websocket":
            await self._tunnel(scope, receive, send)
            return
        async with AsyncExitStack() as stack:
            try:
                response = await self._forward(Request(scope, receive), stack)
            except ApiError as failure:
                response = error(failure.status, str(failure))
            await response(scope, receive, send)

    def _named(self, send: Send) -> Send:
        """Have the answer name the leader, as Marathon's do."""

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start" and (leader := self._controller.leader()):
                MutableHeaders(scope=message).setdefault(LEADER, leader)
            await send(message)

        return send_named

    async def _tunnel(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = HTTPConnection(scope)
        leader = self._to_whom(request)
        if isinstance(leader, Response):
            await leader(scope, receive, send)
            return
        headers = {name: value for name, value in self._headers(request).items() if not name.startswith("sec-websocket-")}
        tls = self._tls() if leader.startswith("https:") else None
        try:
            await hand_on(scope, receive, send, leader, headers, tls)
        except NoAnswer as failure:
            await _silent(leader, str(failure))(scope, receive, send)

    def _to_whom(self, request: HTTPConnection) -> str | Response:
        """Return the leader's URL, or the answer where a request cannot be handed on."""
        if VIA.lower() in request.headers:
            return unavailable("the leader just changed and this scheduler is not it: try again")
        return self._controller.leader() or unavailable("there is no leader yet, an election is under way: try again")

    def _headers(self, request: HTTPConnection) -> dict[str, str]:
        """Return the headers of a request as the leader gets them."""
        # Origin was this gate's to judge: the leader goes by another name.
        # As proxies in front of schedulers say it, whose word counts where there is one.
        asked = {"x-forwarded-host": request.headers.get("host", ""), "x-forwarded-proto": request.url.scheme}
        headers = asked | _handed_on(request.headers.items(), frozenset({"host", "content-length", "origin", FOR, TOKEN}))
        caller: Caller = request.scope[SCOPE]
        if self._token:
            headers |= {FOR: caller.address, TOKEN: self._token}
        return headers | {VIA: "1.1 eratos"}

    async def _forward(self, request: Request, stack: AsyncExitStack) -> Response:
        """Return the leader's answer, which ``stack`` keeps connected."""
        leader = self._to_whom(request)
        if isinstance(leader, Response):
            return leader
        body = await context.raw_body(request)
        query = request.scope["query_string"].decode("latin-1")
        target = request.scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
        url = urlsplit(leader)
        tls = self._tls() if url.scheme == "https" else None
        answered = asyncio.timeout(CONNECT_S)
        try:
            async with answered:
                answer = await stack.enter_async_context(
                    async_http.ask(
                        url.hostname or "",
                        url.port or (443 if tls else 80),
                        target,
                        method=request.method,
                        headers=self._headers(request),
                        body=body or None,
                        tls=tls,
                        connected=lambda: answered.reschedule(
                            asyncio.get_running_loop().time() + (READ_S if request.method in _READS else CHANGE_S)
                        ),
                    )
                )
        except async_http.Failure as failure:
            return _silent(leader, str(failure) or type(failure).__name__)
        kept = _handed_on(answer.headers, _OWN)
        follows = addresses.path(request.scope).endswith("/logs")
        pieces = self._pieces(answer, leader, follows)
        first = b""
        if answer.header("content-length"):
            # It says how much comes, so something comes at once; and what has not begun here can still become another answer.
            try:
                first = await anext(pieces, b"")
            except async_http.Failure as failure:
                reason = str(failure) or type(failure).__name__
                log.warning("the leader ended in the midst of its answer %s", fields(leader=leader, error=reason))
                return unavailable(f"the leader {leader} ended in the midst of its answer ({reason}): look what became of it")
        return StreamingResponse(_after(first, pieces), answer.status, {**kept, LEADER: leader})

    async def _pieces(self, answer: async_http.Answer, leader: str, follows: bool) -> AsyncGenerator[bytes, None]:
        """Yield an answer's body; one that stops coming is cut short, which its reader sees by its missing end."""
        async with aclosing(answer.pieces()) as pieces:
            while True:
                piece = asyncio.ensure_future(anext(pieces, None))
                try:
                    while not (await asyncio.wait({piece}, timeout=PIECE_S))[0]:
                        if not follows or self._controller.leader() != leader:
                            log.warning("the leader's answer stopped coming and is cut short %s", fields(leader=leader))
                            raise TimeoutError(f"the leader {leader} sent nothing more")
                finally:
                    piece.cancel()
                    await asyncio.wait({piece})
                if (found := await piece) is None:
                    return
                yield found


async def _after(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


def _silent(leader: str, reason: str) -> Response:
    """Report that the leader does not answer, and return what says so to the client."""
    log.warning("leader does not answer %s", fields(leader=leader, error=reason))
    return unavailable(f"the leader {leader} does not answer ({reason}): try again, another may be elected soon")


def _local(scope: Scope) -> bool:
    """Return whether a request is about the process that got it. Only the leader can give way to another."""
    path = addresses.path(scope)
    return path in LOCAL and (path != "/v2/leader" or scope.get("method") in _READS)


def _handed_on(headers: Iterable[tuple[str, str]], without: frozenset[str]) -> dict[str, str]:
    """Return headers by their names in small letters, less those that belong to one connection."""
    found = [(name.lower(), value) for name, value in headers]
    named = {word.strip().lower() for name, value in found if name == "connection" for word in value.split(",")}
    return {name: value for name, value in found if name not in _HOP_BY_HOP | named | without}
