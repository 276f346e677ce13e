"""Bounds on what clients may hold without asking for anything: connections in all, and the time that TLS' handshake and a
request's head take, or that an answer waits for somebody who reads nothing of it.

The last tenth of the connections is not for an address that has more than half of all already: whoever follows events or logs
without end must not keep others out, who ask whether the process lives. A connection counts from its first moment on, before
TLS has begun.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
import ssl
from collections.abc import Callable, Collection
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import get_remote_addr

from eratos.common.log import fields

log = logging.getLogger(__name__)

#: A request's line and headers have to be here within this time, and TLS before them within the same once more.
HEAD_S: Final = 20.0
#: A request's first line and its headers.
HEADERS_BYTES_MAX: Final = 64 * 1024
#: A client that takes nothing of an answer for so long, however little, is cut off: what it does not take stays in memory.
WRITE_S: Final = 60.0
#: At most one line in the log in so many seconds.
_TOLD_EVERY_S: Final = 60.0
_EMPTY_LINES: Final = re.compile(rb"(?:\r?\n)+")


def _address(connection: Any) -> str:
    return connection.client[0] if connection.client else ""


class Requests(h11.Connection):
    """Reads requests, and passes over empty lines before one: clients of old send them behind a body (RFC 9112, 2.2)."""

    def next_event(self) -> Any:
        if self.their_state is h11.IDLE:
            waiting, ended = self.trailing_data
            if empty := _EMPTY_LINES.match(waiting):
                self._receive_buffer.maybe_extract_at_most(empty.end())
                waiting = waiting[empty.end() :]
            if waiting == b"\r" and not ended:
                return h11.NEED_DATA  # half of one
        return super().next_event()


class Watched(H11Protocol):
    """Cuts off a client that takes nothing of an answer."""

    write_s = WRITE_S
    stalled: asyncio.TimerHandle | None = None

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.conn = Requests(h11.SERVER, HEADERS_BYTES_MAX)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look_again()

    def resume_writing(self) -> None:
        self._taken()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._taken()
        super().connection_lost(exc)

    def _look_again(self) -> None:
        self.stalled = self.loop.call_later(self.write_s, self._look, self.transport.get_write_buffer_size())

    def _look(self, waited: int) -> None:
        """Cut the client off if it has taken nothing while ``waited`` bytes waited for it."""
        if self.transport.get_write_buffer_size() < waited:
            self._look_again()
        else:
            self.transport.abort()

    def _taken(self) -> None:
        if self.stalled is not None:
            self.stalled.cancel()
            self.stalled = None


class Bounds:
    """How many connections there may be, and how long each may say nothing."""

    def __init__(self, most: int, head_s: float = HEAD_S, tls: ssl.SSLContext | None = None) -> None:
        self.head_s = head_s
        self.tls = tls
        self._most = most
        self._told_at = float("-inf")

    def admits(self, connection: Bounded | Door, others: Collection[Any]) -> bool:
        """Return whether there is room for a connection, one of all those that there are."""
        if len(others) <= self._most and not self._has_most(connection, others):
            return True
        now = asyncio.get_running_loop().time()
        if now - self._told_at > _TOLD_EVERY_S:
            self._told_at = now
            log.warning("%d connections are open, more are refused: see --http-connections", len(others) - 1)
        return False

    def _has_most(self, connection: Bounded | Door, others: Collection[Any]) -> bool:
        """Return whether few connections are left, and the client's address has most of the others."""
        if len(others) <= self._most - self._most // 10:
            return False
        of_one = sum(_address(other) == _address(connection) for other in others)
        return 2 * of_one > self._most


class Bounded(Watched):
    """A connection that has room, or is closed."""

    def __init__(self, bounds: Bounds, **given: Any) -> None:
        super().__init__(**given)
        self._bounds = bounds
        self._due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # With TLS it came in through the door.
        if self._bounds.tls is None and not self._bounds.admits(self, self.connections):
            transport.abort()
        else:
            self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._came()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._came()
        elif self._due is None:
            self._due = self.loop.call_later(self._bounds.head_s, self.transport.close)

    def _came(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None


class Door(asyncio.Protocol):
    """A connection whose TLS has not begun: whoever makes it has shown nothing yet, and what it takes is no less."""

    def __init__(self, bounds: Bounds, **given: Any) -> None:
        self.client: tuple[str, int] | None = None
        self._bounds = bounds
        self._behind = Bounded(bounds, **given)
        self._connections: set[Any] = given["server_state"].connections
        self._came = bytearray()
        self._ended = self._lost = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.client = get_remote_addr(transport)
        self._connections.add(self)
        if self._bounds.admits(self, self._connections):
            self._opening = asyncio.get_running_loop().create_task(self._open(transport))
        else:
            self._connections.discard(self)
            transport.abort()

    async def _open(self, plain: Any) -> None:
        tls, head_s = self._bounds.tls, self._bounds.head_s
        assert tls is not None
        try:
            start = asyncio.get_running_loop().start_tls
            transport = await start(plain, self, tls, server_side=True, ssl_handshake_timeout=head_s)
        except OSError as error:
            log.debug("no TLS with a client %s", fields(client=self.client, error=error))
            return
        finally:
            self._connections.discard(self)
        if transport is None or self._lost:
            return
        transport.set_protocol(self._behind)
        self._behind.connection_made(transport)
        # What came together with the end of the handshake.
        if self._came:
            self._behind.data_received(bytes(self._came))
        if self._ended:
            transport.close()

    def data_received(self, data: bytes) -> None:
        self._came += data

    def eof_received(self) -> None:
        self._ended = True

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True

    def shutdown(self) -> None:
        """Called by the server when it stops."""
        self._transport.abort()


def bounded(most: int, head_s: float = HEAD_S, tls: ssl.SSLContext | None = None) -> Callable[..., asyncio.Protocol]:
    """Return what makes uvicorn's protocol for connections of which there are ``most`` at the same time; further ones are closed.

    ``tls``: for https, which uvicorn then knows nothing of.
    """
    return functools.partial(Bounded if tls is None else Door, Bounds(most, head_s, tls))
