"""The executor's HTTP endpoint, for the scheduler's API: what its tasks write, and how ready they are.

``GET /tasks/<task id>/logs``: 200 with the lines as they were written. Parameters are ``stream`` (``stdout``, the default, or
``stderr``), ``tail`` (how many of the last lines, at most 10,000; default 100) and ``follow`` (``true``: go on with what is
written from now on, until the task ends). Reading is as slow as the reader: nothing piles up here, and a reader that takes
nothing for ``WRITE_S`` is cut off.

``GET /tasks/<task id>/readiness``: 200 with ``{"results": [...]}``, what its readiness checks were last answered.

404 where the task has no log here, 422 for a wrong parameter, 503 where Docker does not answer or ``READERS_MAX`` readers are
there already, each with ``{"message": ...}``. Everything runs on the io thread; a log is only ever a few pieces of it in memory.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import urllib.parse
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any

from eratos.common import async_http
from eratos.common.errors import TemporaryError
from eratos.common.log import fields

from .io_thread import IoThread
from .logs import LogRequest, LogSource, NoLog
from .readiness import ReadinessResults

log = logging.getLogger(__name__)

READERS_MAX = 16
WRITE_S = 60.0
_HEAD_S = 10.0
_BIND_AGAIN_S = 5.0
_HEADERS_MAX = 50
_PATH = re.compile(r"^/tasks/(?P<task>[^/]{1,600})/(?P<what>logs|readiness)$")


class Endpoint:
    """Listens and answers. Another executor of this host may have its port: then it is tried for until that one has left."""

    def __init__(self, io: IoThread, sources: Sequence[LogSource], readiness: ReadinessResults, host: str, port: int) -> None:
        """``sources`` are asked in turn for each log; ``port`` 0 is any free port, see :attr:`port`."""
        self._io = io
        self._sources = sources
        self._readiness = readiness
        self._host = host
        self._wanted_port = port
        self._readers = 0
        self.port = 0  #: 0: not listening

    def start(self) -> None:
        self._io.submit(self._listen())

    async def _listen(self) -> None:
        told = False
        while True:
            try:
                server = await asyncio.start_server(self._serve, self._host, self._wanted_port)
                break
            except OSError as error:
                if not told:
                    where = f"{self._host}:{self._wanted_port}"
                    log.warning("cannot listen, trying again; no logs meanwhile %s", fields(address=where, error=error))
                told = True
            await asyncio.sleep(_BIND_AGAIN_S)
        self.port = server.sockets[0].getsockname()[1]
        log.info("listening %s", fields(address=f"{self._host}:{self.port}"))
        async with server:
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async_http.keep_alive(writer)
            async with asyncio.timeout(_HEAD_S):
                target = await _target(reader)
            if self._readers < READERS_MAX:
                self._readers += 1
                try:
                    await self._answer(target, reader, writer)
                finally:
                    self._readers -= 1
            else:
                _answer(writer, 503, {"message": f"{READERS_MAX} readers are on this host already: try again later"})
            writer.close()
            async with asyncio.timeout(WRITE_S):
                await writer.wait_closed()
        except async_http.Failure as error:
            log.debug("a reader is gone %s", fields(error=error))
        except Exception:  # HTTP edge: other readers go on
            log.exception("an answer broke, please report this as a bug")
        finally:
            writer.transport.abort()

    async def _answer(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path, _, query = target.partition("?")
        found = _PATH.match(path)
        if found is None:
            _answer(writer, 404, {"message": f"there is no {path}: ask for /tasks/<task id>/logs"})
            return
        task_id = urllib.parse.unquote(found["task"])
        if found["what"] == "readiness":
            _answer(writer, 200, {"results": self._readiness.shown(task_id)})
            return
        try:
            request = LogRequest.parse(task_id, dict(urllib.parse.parse_qsl(query, keep_blank_values=True)))
        except ValueError as error:
            _answer(writer, 422, {"message": str(error)})
            return
        async with AsyncExitStack() as stack:
            try:
                pieces = await self._open(request, stack)
            except NoLog as error:
                _answer(writer, 404, {"message": str(error)})
            except (*async_http.Failure, TemporaryError) as error:
                _answer(writer, 503, {"message": f"the log cannot be read: {error}"})
            else:
                await _unless_gone(reader, _copy(pieces, writer))

    async def _open(self, request: LogRequest, stack: AsyncExitStack) -> AsyncGenerator[bytes, None]:
        """Return the log from the first source that has it. Raises as :meth:`LogSource.read`."""
        missing = NoLog("this executor has no runtime")
        for source in self._sources:
            try:
                return await stack.enter_async_context(source.read(request))
            except NoLog as error:
                missing = error
        raise missing


async def _target(reader: asyncio.StreamReader) -> str:
    """Return what a GET request asks for. Raises one of async_http.Failure."""
    words = (await reader.readline()).decode("latin-1").split()
    for _ in range(_HEADERS_MAX):
        if not (await reader.readline()).strip():
            break
    if len(words) != 3 or words[0] != "GET":
        raise ValueError("not a GET request")
    return words[1]


async def _copy(pieces: AsyncGenerator[bytes, None], writer: asyncio.StreamWriter) -> None:
    """Send a log. Its end is marked, so that a reader can tell it from a connection that was lost."""
    writer.write(_head(200, "Content-Type: text/plain; charset=utf-8", "Transfer-Encoding: chunked"))
    async for piece in pieces:
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        async with asyncio.timeout(WRITE_S):
            await writer.drain()
    writer.write(b"0\r\n\r\n")


async def _unless_gone(reader: asyncio.StreamReader, work: Coroutine[Any, Any, None]) -> None:
    """Work until it is done or the client hangs up: a log without new lines would not tell otherwise."""
    working, gone = asyncio.create_task(work), asyncio.create_task(reader.read(1))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ConnectionResetError("the reader hung up")
        await working
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


def _answer(writer: asyncio.StreamWriter, status: int, content: dict[str, Any]) -> None:
    body = json.dumps(content).encode()
    writer.write(_head(status, "Content-Type: application/json", f"Content-Length: {len(body)}") + body)


def _head(status: int, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Connection: close", *headers, "", ""]).encode()
