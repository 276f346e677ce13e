"""A follower's part of a tunnel: one WebSocket to the leader for each of a client's, and every message handed on as it is."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from eratos.common import tunnel

#: To connect, and to have the leader's answer, which may wait for an executor.
ANSWER_S: Final = 15.0
_GONE: Final = 1001


class NoAnswer(Exception):
    """The leader cannot be reached; the text says why."""


async def hand_on(
    scope: Scope, receive: Receive, send: Send, leader: str, headers: Mapping[str, str], tls: ssl.SSLContext | None
) -> None:
    """Carry a client's WebSocket to the leader, and answer what the leader answers. Raises NoAnswer before it is accepted."""
    query = scope["query_string"].decode("latin-1")
    url = urlsplit(leader)
    path = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
    uri = f"{'wss' if url.scheme == 'https' else 'ws'}://{url.netloc}{path}"
    asked = connect(
        uri, additional_headers=dict(headers), ssl=tls, proxy=None, compression=None, max_size=tunnel.MESSAGE_MAX,
        open_timeout=ANSWER_S, user_agent_header=None,
    )  # fmt: skip
    try:
        connection = await asked
    except InvalidStatus as refused:
        found = refused.response
        kept = {
            name: found.headers[name] for name in ("content-type", "www-authenticate", "retry-after") if name in found.headers
        }
        await Response(bytes(found.body), found.status_code, kept)(scope, receive, send)
        return
    except (OSError, InvalidHandshake, ValueError) as failure:
        raise NoAnswer(str(failure) or type(failure).__name__) from failure
    websocket = WebSocket(scope, receive, send)
    try:
        answered = connection.response.headers if connection.response is not None else {}
        named = [(name.encode(), answered[name].encode()) for name in (tunnel.TASK, tunnel.HOST) if name in answered]
        await websocket.receive()  # that it wants to connect
        await websocket.accept(headers=named)
        there = asyncio.create_task(_to_leader(websocket, connection))
        back = asyncio.create_task(_to_client(websocket, connection))
        try:
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await tunnel.stopped(there, back)
        code = connection.close_code
        with suppress(WebSocketDisconnect, RuntimeError):
            await websocket.close(_GONE if code in (None, 1005, 1006) else code)
    finally:
        await connection.close()


async def _to_leader(websocket: WebSocket, connection: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        while (found := await websocket.receive())["type"] != "websocket.disconnect":
            # What is no data is no message of a tunnel's; the leader says so.
            await connection.send(found.get("bytes") or found.get("text") or b"")


async def _to_client(websocket: WebSocket, connection: ClientConnection) -> None:
    with suppress(ConnectionClosed, WebSocketDisconnect):
        while True:
            await websocket.send_bytes(await connection.recv(decode=False))
