"""Asks an ASGI application on the caller's thread where it can, without sockets.

Starlette's own client starts a thread and an event loop for each request and changes between the two a dozen times: ten
times what most answers of the API cost.
"""

from __future__ import annotations

import asyncio
import atexit
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import unquote

import httpx2 as httpx
from starlette.types import ASGIApp, Message

EVENT_STREAM = b"text/event-stream"

#: Loops at rest. Each thread that asks takes one, so that several can ask at a time.
_loops: list[asyncio.AbstractEventLoop] = []


@dataclass
class Answer:
    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""


def ask(
    app: ASGIApp, method: str, url: httpx.URL, headers: list[tuple[bytes, bytes]], body: bytes, *, hang_up: bool = False
) -> Answer:
    """Return the whole answer, of status 500 and no body where the application raised before it began one.

    With ``hang_up`` the client goes when a stream of events begins, which else must end by itself.
    """
    asked = partial(_run, app, _scope(method, url, headers), body, hang_up)
    if not _has_loop():
        return asked()
    # A browser that is open in this process keeps a loop at work on the thread of the tests.
    with ThreadPoolExecutor(1) as another:
        return another.submit(asked).result()


def _has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run(app: ASGIApp, scope: dict[str, Any], body: bytes, hang_up: bool) -> Answer:
    loop = _loops.pop() if _loops else asyncio.new_event_loop()
    try:
        return loop.run_until_complete(_ask(app, scope, body, hang_up))
    finally:
        _loops.append(loop)


def _scope(method: str, url: httpx.URL, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": unquote(url.path),
        "raw_path": url.raw_path.partition(b"?")[0],
        "root_path": "",
        "scheme": url.scheme,
        "query_string": url.query,
        "headers": [(name.lower(), value) for name, value in headers],
        "client": ("testclient", 50000),
        "server": (url.host, url.port or 80),
    }


async def _ask(app: ASGIApp, scope: dict[str, Any], body: bytes, hang_up: bool) -> Answer:
    answer, pieces = Answer(), list[bytes]()
    asked, over = False, asyncio.Event()

    async def receive() -> Message:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": body}
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status, answer.headers = message["status"], list(message["headers"])
            if hang_up and any(name == b"content-type" and value.startswith(EVENT_STREAM) for name, value in answer.headers):
                over.set()
        elif message["type"] == "http.response.body":
            pieces.append(message.get("body", b""))
            if not message.get("more_body"):
                over.set()

    try:
        await app(scope, receive, send)
    except Exception:
        # The application has answered it with a 500, as on a server, and raises it for the server's log.
        pass
    finally:
        await _end_others()
    answer.body = b"" if scope["method"] == "HEAD" else b"".join(pieces)
    return answer


async def _end_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.gather(*others, return_exceptions=True)


class Transport(httpx.BaseTransport):
    """Lets a client of ``httpx`` ask an application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = ask(self._app, request.method, request.url, request.headers.raw, request.read())
        # As a stream: what is given as content counts as read, and could not be looked at raw.
        return httpx.Response(answer.status, headers=answer.headers, stream=httpx.ByteStream(answer.body), request=request)


@atexit.register
def _close() -> None:
    for loop in _loops:
        loop.close()
