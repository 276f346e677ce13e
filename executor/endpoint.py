"""The executor's HTTP endpoint, for the scheduler's API: what its tasks write, and how ready they are.

``GET /tasks/<task id>/logs``: 200 with the lines as they were written. Parameters are ``stream`` (``stdout``, the default, or
``stderr``), ``tail`` (how many of the last lines, at most 10,000; default 100) and ``follow`` (``true``: go on with what is
written from now on, until the task ends). With ``positions=true``, which a header of the answer repeats, each line comes after
its position and a space; ``from`` begins with the line that had a position, or with the next one that is left, in place of
``tail``: so whoever lost the connection goes on where it broke. Reading is as slow as the reader: nothing piles up here, and a
reader that takes nothing for ``WRITE_S`` is cut off. At most ``FOLLOWERS_MAX`` logs are followed at a time. What comes to an end
by itself is always answered: where too many read, or have not said yet what they want, the oldest of them is cut off for the
newest.

``GET /tasks/<task id>/readiness``: 200 with ``{"results": [...]}``, what its readiness checks were last answered.

``GET /usage``: 200 with ``{"tasks": {<task id>: {...}}}``, what its tasks take of CPU and memory
(:class:`.core.usage.Usage`), for the scheduler. A task of which that is not known is not there; one figure that is not is null.

``GET /metrics``: 200 with what this executor counts, in Prometheus' text format.

``GET /servers/<service id>``, for other executors: 200 with ``{"used": ...}``, whether a task of this executor goes by an
instance that is being stopped.

``GET /volumes/<volume id>?app=<app id>``, for other executors: 200 with the volume and a proof that it is all of it
(:mod:`.volume_stream`). 404 where it is not here or is not the app's, 503 where it cannot be copied just now.

``GET /tasks/<task id>/exec`` and ``.../connect``: see :mod:`.tunnels`.

Whoever asks proves to have the key that the scheduler gave this executor when it started it, where it gave one (``keys.proof``),
executors the one that they share, and for a volume that volume's, which the scheduler gives to whoever is to copy it: 401 else,
and 503 until it is known. Pages of strangers are refused as everywhere (:mod:`eratos.common.browser_guard`).

404 where the task has no log here, 422 for a wrong parameter, 503 where Docker does not answer or ``FOLLOWERS_MAX`` logs are
followed already, each with ``{"message": ...}``. Everything runs on the io thread; a log is only ever a few
pieces of it in memory.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import time
import urllib.parse
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from eratos.common import async_http, exposition, keys, names, request_target
from eratos.common.browser_guard import BrowserGuard
from eratos.common.errors import TemporaryError
from eratos.common.log import fields

from .io_thread import IoThread
from .logs import LogRequest, LogSource, NoLog
from .readiness import ReadinessResults
from .tunnels import Refused, Tunnels, serve
from .volume_stream import NoVolume, VolumeSource, sent

log = logging.getLogger(__name__)

FOLLOWERS_MAX = 16
READERS_MAX = 16
#: Connections that have not said yet what they want.
STRANGERS_MAX = 64
WRITE_S = 60.0
_HEAD_S = 10.0
_BIND_AGAIN_S = 5.0
_HEADERS_MAX = 50
_LINE_MAX = 8 * 1024
#: What the kernel holds for one reader; by itself it takes megabytes.
_SEND_BYTES = 64 * 1024
_PATH = re.compile(r"^/tasks/(?P<task>[^/]{1,600})/(?P<what>logs|readiness|exec|connect)$")
_VOLUME = re.compile(r"^/volumes/(?P<volume>[^/?]{1,600})\?app=(?P<app>[^&]{1,2000})$")
_SERVER = re.compile(r"^/servers/(?P<server>[^/?]{1,600})$")


@dataclass(frozen=True, slots=True)
class Access:
    """Whom an endpoint answers."""

    names: tuple[str, ...] = ()  #: the host's, by which schedulers call it
    key: str = field(default="", repr=False)  #: what schedulers prove to have; empty: nothing
    peers: str = field(default="", repr=False)  #: what other executors do

    def refusal(
        self, target: str, headers: Mapping[str, str], now: float, *, peer: bool = False, of_volume: str = ""
    ) -> tuple[int, str] | None:
        """Return status and reason where a request is not answered. ``of_volume``: the key of the volume that it is for."""
        guard = BrowserGuard.of(self.names, setting="ERATOS_HTTP_HOSTS")
        refused = guard.refusal("GET", headers.get("host"), headers.get("origin"), None, False)
        if refused is not None:
            return refused.status, refused.reason
        key = of_volume or (self.peers if peer else self.key)
        if not key:
            return None
        why = keys.unproven(headers.get("authorization", ""), lambda who: key, "GET", target, b"", now)
        whom = "other executors of the framework" if peer else "the schedulers that started this executor"
        whom = "an executor that is to copy the volume" if of_volume else whom
        return (401, f"only {whom} may ask it, as which this request does not count: {why}") if why else None


class Places:
    """So many at a time. Whoever comes when all are taken is let in, and the oldest is cancelled."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: dict[asyncio.Task[Any], None] = {}

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take a place for the current task."""
        task = asyncio.current_task()
        assert task is not None
        while len(self._taken) >= self._most:
            oldest = next(iter(self._taken))
            del self._taken[oldest]
            oldest.cancel()
        self._taken[task] = None
        try:
            yield
        finally:
            self._taken.pop(task, None)


class Endpoint:
    """Listens and answers. Another executor of this host may have its port: then it is tried for until that one has left."""

    def __init__(
        self,
        io: IoThread,
        sources: Sequence[LogSource],
        readiness: ReadinessResults,
        host: str,
        port: int,
        access: Callable[[], Access | None] = Access,
        *,
        tunnels: Tunnels | None = None,
        used: Callable[[str], bool] = lambda server: False,
        metrics: Callable[[], bytes] = bytes,
        usage: Callable[[], Mapping[str, Any]] = dict,
        listening: Callable[[int], object] = lambda port: None,
        volumes: VolumeSource | None = None,
    ) -> None:
        """``sources`` are asked in turn for each log; ``port`` 0 is any free port, see :attr:`port`.

        ``access`` says whom to answer, None where that is not known yet; ``used`` whether a task here goes by a server;
        ``metrics`` returns the answer to a scrape, ``usage`` what tasks take, by their ids;
        ``listening`` is called with the port once there is one; ``volumes`` are those of this host, if it has any.
        """
        self._access = access
        self._used = used
        self._tunnels = tunnels if tunnels is not None else Tunnels()
        self._metrics = metrics
        self._usage = usage
        self._listening = listening
        self._volumes = volumes
        self._io = io
        self._sources = sources
        self._readiness = readiness
        self._host = host
        self._wanted_port = port
        self._followers = 0
        self._readers = Places(READERS_MAX)
        self._strangers = Places(STRANGERS_MAX)
        self.port = 0  #: 0: not listening

    def start(self) -> None:
        self._io.submit(self._listen())

    async def _listen(self) -> None:
        told = False
        while True:
            try:
                server = await asyncio.start_server(self._serve, self._host, self._wanted_port, limit=_LINE_MAX)
                break
            except OSError as error:
                if not told:
                    where = f"{self._host}:{self._wanted_port}"
                    log.warning("cannot listen, trying again; no logs meanwhile %s", fields(address=where, error=error))
                told = True
            await asyncio.sleep(_BIND_AGAIN_S)
        self.port = server.sockets[0].getsockname()[1]
        self._listening(self.port)
        log.info("listening %s", fields(address=f"{self._host}:{self.port}"))
        async with server:
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async_http.keep_alive(writer)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
            # Whoever has been written to has taken all but what the kernel holds.
            writer.transport.set_write_buffer_limits(0)
            with self._strangers.one():
                async with asyncio.timeout(_HEAD_S):
                    target, headers = await _asked(reader)
            access = self._access()
            server, volume = _SERVER.match(target), _VOLUME.match(target)
            volume_key = keys.volume_key(access.key, urllib.parse.unquote(volume["volume"])) if access and volume else ""
            refused = (
                (503, "this executor has just started: ask again")
                if access is None
                else access.refusal(target, headers, time.time(), peer=server is not None, of_volume=volume_key)
            )
            if refused is not None:
                _answer(writer, refused[0], {"message": refused[1]})
            elif server is not None:
                _answer(writer, 200, {"used": self._used(urllib.parse.unquote(server["server"]))})
            elif volume is not None:
                names = urllib.parse.unquote(volume["volume"]), urllib.parse.unquote(volume["app"])
                await self._send_volume(*names, volume_key, reader, writer)
            else:
                await self._answer(target, headers, access, reader, writer)
            writer.close()
            async with asyncio.timeout(WRITE_S):
                await writer.wait_closed()
        except asyncio.CancelledError:
            log.debug("a connection gave way to a newer one")  # or the executor is leaving
        except async_http.Failure as error:
            log.debug("a reader is gone %s", fields(error=error))
        except Exception:  # HTTP edge: other readers go on
            log.exception("an answer broke, please report this as a bug")
        finally:
            writer.transport.abort()

    async def _answer(
        self,
        target: str,
        headers: Mapping[str, str],
        access: Access | None,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        path, _, query = target.partition("?")
        if path == "/metrics":
            _write(writer, 200, exposition.CONTENT_TYPE, self._metrics())
            return
        if path == "/usage":
            _answer(writer, 200, {"tasks": self._usage()})
            return
        found = _PATH.match(path)
        if found is None:
            _answer(writer, 404, {"message": f"there is no {path}: ask for /tasks/<task id>/logs"})
            return
        task_id = urllib.parse.unquote(found["task"])
        if found["what"] == "readiness":
            _answer(writer, 200, {"results": self._readiness.shown(task_id)})
            return
        asked = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        if found["what"] in ("exec", "connect"):
            key = access.key if access is not None else ""
            try:
                if not key:
                    # Whoever reaches it may read logs of such an executor; that they run commands is another thing.
                    raise Refused(503, "this executor was started without a key, by an earlier version: it carries no tunnels")
                async with self._tunnels.admitted(found["what"], task_id, asked, headers) as end:
                    await serve(end, key, reader, writer)
            except Refused as refused:
                _answer(writer, refused.status, {"message": str(refused)})
            return
        try:
            request = LogRequest.parse(task_id, asked)
        except ValueError as error:
            _answer(writer, 422, {"message": str(error)})
            return
        if not request.follow:
            with self._readers.one():
                await self._send(request, reader, writer)
        elif self._followers < FOLLOWERS_MAX:
            self._followers += 1
            try:
                await self._send(request, reader, writer)
            finally:
                self._followers -= 1
        else:
            _answer(writer, 503, {"message": f"{FOLLOWERS_MAX} logs are followed on this host already: try again later"})

    async def _send(self, request: LogRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with AsyncExitStack() as stack:
            try:
                pieces = await self._open(request, stack)
            except NoLog as error:
                _answer(writer, 404, {"message": str(error)})
            except (*async_http.Failure, TemporaryError) as error:
                _answer(writer, 503, {"message": f"the log cannot be read: {error}"})
            else:
                more = [f"{names.LOG_POSITIONS}: true"] if request.positions else []
                await _unless_gone(reader, _copy(pieces, writer, more=more))

    async def _send_volume(
        self, volume_id: str, app_id: str, key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self._volumes is None or not key:
            why = "Docker is switched off here" if key else "this executor was started without a key, by an earlier version"
            _answer(writer, 503, {"message": f"volumes cannot be copied: {why}"})
            return
        async with AsyncExitStack() as stack:
            try:
                archive = await stack.enter_async_context(self._volumes.read(volume_id, app_id))
            except NoVolume as error:
                _answer(writer, 404, {"message": str(error)})
            except (*async_http.Failure, TemporaryError) as error:
                _answer(writer, 503, {"message": str(error)})
            else:
                try:
                    await _unless_gone(reader, _copy(sent(archive, key), writer, "application/x-tar"))
                except TemporaryError as error:
                    # The answer has begun: its end is missing, and so whoever reads it knows.
                    log.warning("a volume was not read to its end %s", fields(volume=volume_id, error=error))

    async def _open(self, request: LogRequest, stack: AsyncExitStack) -> AsyncGenerator[bytes, None]:
        """Return the log from the first source that has it. Raises as :meth:`LogSource.read`."""
        missing = NoLog("this executor has no runtime")
        for source in self._sources:
            try:
                return await stack.enter_async_context(source.read(request))
            except NoLog as error:
                missing = error
        raise missing


async def _asked(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    """Return what a GET request asks for, and its headers by their names in small letters. Raises one of async_http.Failure."""
    line = await reader.readline()
    while line in (b"\r\n", b"\n"):  # some clients begin so (RFC 9112, 2.2)
        line = await reader.readline()
    words = line.decode("latin-1").split()
    headers: dict[str, str] = {}
    for _ in range(_HEADERS_MAX):
        header = (await reader.readline()).decode("latin-1").strip()
        if not header:
            break
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    if len(words) != 3 or words[0] != "GET":
        raise ValueError("not a GET request")
    target, host = request_target.parted(words[1], tls=False)
    return target, headers if host is None else {**headers, "host": host}


async def _copy(
    pieces: AsyncIterator[bytes],
    writer: asyncio.StreamWriter,
    kind: str = "text/plain; charset=utf-8",
    more: Sequence[str] = (),
) -> None:
    """Send a log or a volume. Its end is marked, so that a reader can distinguish it from a connection that was lost."""
    writer.write(_head(200, f"Content-Type: {kind}", "Transfer-Encoding: chunked", *more))
    async for piece in pieces:
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        async with asyncio.timeout(WRITE_S):
            await writer.drain()
    writer.write(b"0\r\n\r\n")
    async with asyncio.timeout(WRITE_S):
        await writer.drain()


async def _unless_gone(reader: asyncio.StreamReader, work: Coroutine[Any, Any, None]) -> None:
    """Work until it is done or the client hangs up: a log without new lines would not show it otherwise."""
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
    _write(writer, status, "application/json", json.dumps(content).encode())


def _write(writer: asyncio.StreamWriter, status: int, kind: str, body: bytes) -> None:
    writer.write(_head(status, f"Content-Type: {kind}", f"Content-Length: {len(body)}") + body)


def _head(status: int, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Connection: close", *headers, "", ""]).encode()
