"""Bounds on what clients may hold without asking for anything: connections in all, and the time that a request's head takes, or
that an answer waits for somebody who reads nothing of it.

The last tenth of the connections is not for an address that has more than half of all already: whoever follows events or logs
without end must not keep others out, who ask whether the process lives.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

log = logging.getLogger(__name__)

#: A request's line and headers have to be here within this time.
HEAD_S: Final = 20.0
#: A client that takes nothing of an answer for so long, however little, is cut off: what it does not take stays in memory.
WRITE_S: Final = 60.0
#: At most one line in the log in so many seconds.
_TOLD_EVERY_S: Final = 60.0


def _address(connection: Any) -> str:
    return connection.client[0] if connection.client else ""


class Watched(H11Protocol):
    """Cuts off a client that takes nothing of an answer."""

    write_s = WRITE_S
    stalled: asyncio.TimerHandle | None = None

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


def bounded(most: int, head_s: float = HEAD_S) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol for connections of which there are ``most`` at the same time; further ones are closed."""

    class Bounded(Watched):
        told_at = float("-inf")
        due: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) <= most and not self._has_most():
                self._expect_head()
                return
            if self.loop.time() - Bounded.told_at > _TOLD_EVERY_S:
                Bounded.told_at = self.loop.time()
                log.warning("%d connections are open, more are refused: see --http-connections", len(self.connections) - 1)
            transport.abort()

        def _has_most(self) -> bool:
            """Return whether few connections are left, and the client's address has most of the others."""
            if len(self.connections) <= most - most // 10:
                return False
            of_one = sum(_address(other) == _address(self) for other in self.connections)
            return 2 * of_one > most

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._came()
            super().connection_lost(exc)

        def _expect_head(self) -> None:
            if self.conn.their_state is not h11.IDLE:
                self._came()
            elif self.due is None:
                self.due = self.loop.call_later(head_s, self.transport.close)

        def _came(self) -> None:
            if self.due is not None:
                self.due.cancel()
                self.due = None

    return Bounded
