"""The executor's ends of tunnels: a command beside a task, or a connection to one of its ports. Called by the endpoint.

``GET /tasks/<task id>/exec``, upgraded to ``eratos-tunnel``: the scheduler proves its key with the nonce that the answer holds,
and sends a command; then its input comes, and its output and exit code go. ``container`` is the one of a pod.

``GET /tasks/<task id>/connect``, the same with a connection to the task's ``port``, by name or number, empty for the first.
404 where the task has no such port or does not run, 502 where nobody accepts there.

At most ``TUNNELS_MAX`` at a time. A tunnel ends with its connection, and what it has started ends with it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress

from eratos.common import async_http, keys, tunnel
from eratos.common.errors import EratosError, TemporaryError
from eratos.common.log import fields
from eratos.common.tunnel import Command, Gone, Kind, Tunnel

from .core.reach import NoPort
from .sessions import NoTask, Session, SessionSource

log = logging.getLogger(__name__)

TUNNELS_MAX = 64
#: For the scheduler to prove itself and to say what is to run.
BEGIN_S = 10.0
#: For a task to accept a connection.
CONNECT_S = 5.0
#: Longest wait for the other end to leave, once it was told why.
LEAVE_S = 1.0
_AT_ONCE = struct.pack("ii", 1, 0)


class Refused(Exception):
    """Why there is no tunnel, with an HTTP status; the text is for people."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Tunnels:
    """The tunnels of one executor. For the io thread."""

    def __init__(self, sources: Sequence[SessionSource] = (), reach: Callable[[str, str], tuple[str, int]] | None = None) -> None:
        """``sources`` are asked in turn for a command; ``reach`` returns where a task's port is, and raises NoPort."""
        self._sources = sources
        self._reach = reach
        self._open = 0

    @asynccontextmanager
    async def admitted(self, what: str, task_id: str, query: Mapping[str, str], headers: Mapping[str, str]) -> AsyncIterator[End]:
        """Give the end of a tunnel that is asked for. Raises Refused."""
        if headers.get("upgrade", "").lower() != tunnel.PROTOCOL:
            raise Refused(426, f"this is a tunnel: ask with Upgrade: {tunnel.PROTOCOL}")
        if self._open >= TUNNELS_MAX:
            raise Refused(503, f"{TUNNELS_MAX} tunnels lead to this host already: try again later")
        self._open += 1
        try:
            async with AsyncExitStack() as stack:
                if what == "exec":
                    yield CommandEnd(self._sources, task_id, query.get("container", ""))
                else:
                    yield await stack.enter_async_context(self._connected(task_id, query.get("port", "")))
        finally:
            self._open -= 1

    @asynccontextmanager
    async def _connected(self, task_id: str, port: str) -> AsyncIterator[ConnectionEnd]:
        try:
            if self._reach is None:
                raise NoPort("the task does not run on this host")
            host, number = self._reach(task_id, port)
        except NoPort as error:
            raise Refused(404, str(error)) from None
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_connection(host, number)
        except OSError as error:
            reason = error.strerror or str(error) or "it took too long"
            raise Refused(502, f"nobody accepts at the task's port {number}: {reason}") from None
        try:
            yield ConnectionEnd(reader, writer)
        finally:
            writer.transport.abort()


class CommandEnd:
    """Runs the command that the scheduler sends, and carries what goes in and comes out."""

    def __init__(self, sources: Sequence[SessionSource], task_id: str, container: str) -> None:
        self._sources = sources
        self._task_id = task_id
        self._container = container

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry until the command has ended or the scheduler is gone. Raises what those raise."""
        async with asyncio.timeout(BEGIN_S):
            kind, payload = tunnel.parsed(await tunnel.next_message(reader) or b"")
        if kind is not Kind.BEGIN:
            raise ValueError(f"a tunnel begins with its command, not with {kind.name}")
        command = Command.from_bytes(payload)
        sizes: asyncio.Queue[tuple[int, int]] = asyncio.Queue()

        def told(kind: Kind, payload: bytes) -> None:
            if kind is Kind.SIZE:
                while not sizes.empty():
                    sizes.get_nowait()  # the newest counts alone
                sizes.put_nowait(tunnel.size_of(payload))

        end = Tunnel(lambda data: _send(writer, data), lambda: tunnel.next_message(reader), told)
        async with AsyncExitStack() as stack:
            session = await self._start(command, stack)
            log.info("a command runs beside a task %s", fields(task_id=self._task_id))
            running = asyncio.create_task(end.run())
            others = [asyncio.create_task(_give(end, session)), asyncio.create_task(_resize(sizes, session))]
            working = asyncio.create_task(_take(end, session))
            try:
                await asyncio.wait((running, working), return_when=asyncio.FIRST_COMPLETED)
                if not working.done():
                    await running
                    raise Gone("the scheduler left")
                await working
            finally:
                await tunnel.stopped(running, working, *others)

    async def _start(self, command: Command, stack: AsyncExitStack) -> Session:
        missing = NoTask("this executor has no runtime for it")
        for source in self._sources:
            try:
                return await stack.enter_async_context(source.open(self._task_id, self._container, command))
            except NoTask as error:
                missing = error
        raise missing


class ConnectionEnd:
    """Carries a connection to a task."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = Tunnel(lambda data: _send(writer, data), lambda: tunnel.next_message(reader))
        try:
            await tunnel.carry(end, self._reader, self._writer)
        except BaseException:
            # The task learns that this was no good end.
            broken = self._writer.get_extra_info("socket")
            broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            raise


End = CommandEnd | ConnectionEnd


async def serve(end: End, key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Upgrade a connection, see that the scheduler has the key of now, and carry. Raises one of async_http.Failure."""
    async_http.end_soon(writer)
    nonce = secrets.token_hex(16)
    upgraded = ("Connection: Upgrade", f"Upgrade: {tunnel.PROTOCOL}", f"{tunnel.NONCE}: {nonce}")
    head = ("HTTP/1.1 101 Switching Protocols", *upgraded, "", "")
    writer.write("\r\n".join(head).encode())
    await writer.drain()
    try:
        async with asyncio.timeout(BEGIN_S):
            kind, payload = tunnel.parsed(await tunnel.next_message(reader) or b"")
        if kind is not Kind.PROOF:
            raise ValueError("a tunnel begins with the proof of a key")
        if why := keys.unproven(payload.decode("latin-1"), lambda who: key, "TUNNEL", nonce, b"", time.time()):
            raise ValueError(f"only the schedulers that started this executor may use it: {why}")
        await end.carry(reader, writer)
    except (EratosError, *async_http.Failure) as error:
        if not isinstance(error, TemporaryError | NoTask | OSError):
            log.debug("a tunnel broke off %s", fields(error=error))
        failure = tunnel.message(Kind.FAILURE, (str(error) or "it took too long").encode()[: tunnel.MESSAGE_MAX - 1])
        writer.write(tunnel.behind_length(failure))
        await _left(reader, writer)


async def _left(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Wait a moment until the other end has left: to close while something that it sent is unread is a reset (RFC 9112, 9.6)."""
    with suppress(*async_http.Failure):
        await writer.drain()
        writer.write_eof()
        async with asyncio.timeout(LEAVE_S):
            while await reader.read(tunnel.MESSAGE_MAX):
                pass


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(tunnel.behind_length(data))
    await writer.drain()


async def _give(end: Tunnel, session: Session) -> None:
    """Give a command its input. One that takes no more of it goes on all the same."""
    try:
        while (piece := await end.read()) is not None:
            await session.write(piece[1])
        await session.end_input()
    except TemporaryError as error:
        await end.say(Kind.FAILURE, str(error).encode())
    except OSError as error:
        log.debug("a command takes no more input %s", fields(error=error))


async def _resize(sizes: asyncio.Queue[tuple[int, int]], session: Session) -> None:
    while True:
        await session.resize(*await sizes.get())


async def _take(end: Tunnel, session: Session) -> None:
    """Send what a command writes, and how it ended."""
    async with aclosing(session.output()) as pieces:
        async for kind, piece in pieces:
            await end.write(piece, kind)
    await end.end()
    await end.say(Kind.EXIT, str(await session.exit_code()).encode())
