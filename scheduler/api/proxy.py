"""Followers hand requests on to the leader, reads too: what a follower knows is as old as its last term.

Some paths speak of the process itself and are answered where they arrive.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import AsyncExitStack
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eratos.common import async_http
from eratos.common.log import fields

from . import context
from .controller import Controller
from .errors import ApiError, error, unavailable

log = logging.getLogger(__name__)

LOCAL: Final = frozenset({"/ping", "/metrics", "/v2/info", "/v2/leader", "/openapi.json"})

#: Marathon's own names (LeaderProxyFilter.scala).
VIA: Final = "X-Marathon-Via"
LEADER: Final = "X-Marathon-Leader"

#: A change may wait for its turn and for the store; the leader answers with a reason before this is over. The answer's body
#: may take longer: it may be a log that is followed.
TIMEOUT_S: Final = 60.0

#: These belong to one connection and are not handed on (RFC 9110, 7.6.1).
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)


class LeaderProxy:
    """ASGI middleware around the API of one process."""

    def __init__(self, app: ASGIApp, controller: Controller) -> None:
        self._app = app
        self._controller = controller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in LOCAL or self._controller.is_leader:
            await self._app(scope, receive, self._named(send))
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

    async def _forward(self, request: Request, stack: AsyncExitStack) -> Response:
        """Return the leader's answer, which ``stack`` keeps connected."""
        if VIA.lower() in request.headers:
            return unavailable("the leader just changed and this scheduler is not it: try again")
        leader = self._controller.leader()
        if leader is None:
            return unavailable("there is no leader yet, an election is under way: try again")
        body = await context.raw_body(request)
        headers = {key: value for key, value in request.headers.items() if key not in _HOP_BY_HOP | {"host", "content-length"}}
        query = request.scope["query_string"].decode("latin-1")
        target = request.scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
        url = urlsplit(leader)
        tls = ssl.create_default_context() if url.scheme == "https" else None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                answer = await stack.enter_async_context(
                    async_http.ask(
                        url.hostname or "",
                        url.port or (443 if tls else 80),
                        target,
                        method=request.method,
                        headers=headers | {VIA: "1.1 eratos"},
                        body=body or None,
                        tls=tls,
                    )
                )
        except async_http.Failure as failure:
            reason = str(failure) or type(failure).__name__
            log.warning("leader does not answer %s", fields(leader=leader, error=reason))
            return unavailable(f"the leader {leader} does not answer ({reason}): try again, another may be elected soon")
        kept = {key.lower(): value for key, value in answer.headers if key.lower() not in _HOP_BY_HOP}
        return StreamingResponse(answer.pieces(), answer.status, {**kept, LEADER: leader})
