"""The least of an HTTP/1.1 client over asyncio: one request on a connection of its own, whose answer may be a stream.

For probes, balancers' companions, Docker's logs, and followers that hand requests on to their leader. http.client would need
a thread for each request, and a full asyncio client more memory than all of the executor's own code.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from .addresses import host_and_port

#: A longer answer is cut by :func:`request`.
BODY_MAX = 64 * 1024
#: Longest piece of a streamed body.
PIECE_MAX = 64 * 1024
_HEADERS_MAX = 100
_INTERIM_MAX = 10
#: The system's own two hours are too long. It then asks nine times, every 75 s.
_KEEP_ALIVE_IDLE_S = 60
_END_SOON = {socket.TCP_KEEPIDLE: 20, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3, socket.TCP_USER_TIMEOUT: 60_000}

#: What asking may raise: no connection, no HTTP, or an answer that was cut short.
Failure = (OSError, ValueError, asyncio.IncompleteReadError)


def reason(failure: Exception) -> str:
    """Return what a failure says, or its kind where it says nothing, as when the time was over."""
    return str(failure) or type(failure).__name__


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose body is still to come."""

    status: int
    reader: asyncio.StreamReader = field(repr=False)
    headers: tuple[tuple[str, str], ...] = ()  #: in order; a name may come twice
    bodiless: bool = False
    writer: asyncio.StreamWriter | None = field(default=None, repr=False)  #: of a connection that was upgraded

    def header(self, name: str) -> str:
        """Return a header's value, empty where there is none."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives, in pieces of ``PIECE_MAX`` bytes at most. Raises one of Failure."""
        if self.bodiless:
            return
        if self.header("transfer-encoding").lower() == "chunked":
            async for piece in self._chunks():
                yield piece
        elif length := self.header("content-length"):
            async for piece in self._exactly(int(length)):
                yield piece
        else:
            while piece := await self.reader.read(PIECE_MAX):
                yield piece

    async def body(self, most: int = BODY_MAX) -> bytes:
        """Return the body, cut to ``most`` bytes. Raises one of Failure."""
        body = bytearray()
        async with aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) >= most:
                    break
        return bytes(body[:most])

    async def message(self, otherwise: str) -> str:
        """Return what a refusal says in ``{"message": ...}``, else ``otherwise``. Raises one of Failure."""
        body = await self.body()
        try:
            return str(json.loads(body)["message"])
        except (ValueError, KeyError, TypeError):
            return otherwise

    async def _exactly(self, length: int) -> AsyncIterator[bytes]:
        while length > 0:
            piece = await self.reader.read(min(length, PIECE_MAX))
            if not piece:
                raise asyncio.IncompleteReadError(b"", length)
            length -= len(piece)
            yield piece

    async def _chunks(self) -> AsyncIterator[bytes]:
        while length := int((await self._line()).split(b";", 1)[0], 16):
            async for piece in self._exactly(length):
                yield piece
            await self._line()
        while await self._line():  # trailers are ignored; an empty line ends them
            pass

    async def _line(self) -> bytes:
        line = await self.reader.readline()
        if not line.endswith(b"\n"):
            raise asyncio.IncompleteReadError(line, None)
        return line.strip()


@asynccontextmanager
async def ask(
    host: str,
    port: int,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    tls: ssl.SSLContext | None = None,
    unix: str = "",
    with_headers: bool = True,
    upgrade: str = "",
    connected: Callable[[], object] = lambda: None,
) -> AsyncIterator[Answer]:
    """Make one request and give its answer, connected until the block ends; set a timeout around what may not last.

    ``connected`` is called once there is a connection, for a caller who bounds what follows differently.
    ``unix`` is the path of a socket to connect to instead of host and port. ``upgrade`` is a protocol to go on with: where
    the answer is 101, its ``reader`` and ``writer`` speak that. Raises one of Failure; a ValueError says that
    the answer is no HTTP.
    """
    if unix:
        reader, writer = await asyncio.open_unix_connection(unix)
    else:
        reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    try:
        connected()
        sent = {"host": host_and_port(host, port), "user-agent": "eratos", "accept": "*/*"}
        sent |= {name.lower(): value for name, value in (headers or {}).items()} | {"connection": "close"}
        if upgrade:
            sent |= {"connection": "Upgrade", "upgrade": upgrade}
        if body is not None:
            sent["content-length"] = str(len(body))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("line break in an HTTP request")
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))
        status = await _final_status(reader)
        if with_headers:
            keep_alive(writer)
        found = await _headers(reader) if with_headers else ()
        bodiless = method == "HEAD" or status in (101, 204, 304)
        yield Answer(status, reader, found, bodiless, writer if status == 101 else None)
    finally:
        # No waiting for the other side's goodbye, nor for it to take what an upgraded connection still holds: it may never do so.
        writer.transport.abort() if tls is not None or upgrade else writer.close()


async def request(
    host: str,
    port: int,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    tls: ssl.SSLContext | None = None,
    with_body: bool = True,
    most: int = BODY_MAX,
) -> Response:
    """Make one request with a JSON body, if any, and return its answer, the body cut to ``most`` bytes; set a timeout around it.

    Raises as :func:`ask`.
    """
    sent = {**(headers or {}), **({} if body is None else {"Content-Type": "application/json"})}
    asked = ask(host, port, path, method=method, headers=sent, body=body, tls=tls, with_headers=with_body)
    async with asked as answer:
        return Response(answer.status, await answer.body(most) if with_body else b"")


def keep_alive(writer: asyncio.StreamWriter) -> None:
    """Have the kernel find out when the other side of a silent stream is gone for good, within a few minutes."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEP_ALIVE_IDLE_S)


def end_soon(writer: asyncio.StreamWriter) -> None:
    """Have the kernel find out within a minute, whether anything is being sent or not. For a connection whose other side never
    stops reading.
    """
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _END_SOON.items():
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


async def _final_status(reader: asyncio.StreamReader) -> int:
    """Return the status of the answer itself: interim ones (1xx) may come before it (RFC 9110, 15.2)."""
    for _ in range(_INTERIM_MAX):
        status = _status(await reader.readline())
        if not 100 <= status < 200 or status == 101:
            return status
        await _headers(reader)
    raise ValueError(f"the answer begins with more than {_INTERIM_MAX} interim ones")


def _status(line: bytes) -> int:
    parts = line.split(None, 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/") or not parts[1].isdigit():
        raise ValueError(f"the answer is no HTTP: {line[:50]!r}" if line else "the connection was closed without an answer")
    return int(parts[1])


async def _headers(reader: asyncio.StreamReader) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for _ in range(_HEADERS_MAX):
        line = (await reader.readline()).decode("latin-1")
        if not line.strip():
            return tuple(found)
        name, colon, value = line.partition(":")
        if colon:
            found.append((name.strip(), value.strip()))
    raise ValueError(f"the answer has more than {_HEADERS_MAX} headers")
