"""Bounds on what clients may hold without asking for anything: connections in all, and the time that a request's head takes.

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
#: At most one line in the log in so many seconds.
_TOLD_EVERY_S: Final = 60.0


def _address(connection: Any) -> str:
    return connection.client[0] if connection.client else ""


def bounded(most: int, head_s: float = HEAD_S) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol for connections of which there are ``most`` at the same time; further ones are closed."""

    class Bounded(H11Protocol):
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
