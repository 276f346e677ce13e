"""What a client sees of a command that runs in an instance."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from eratos.common import tunnel
from eratos.common.tunnel import Kind, Tunnel


@dataclass
class Seen:
    output: bytearray = field(default_factory=bytearray)
    errors: bytearray = field(default_factory=bytearray)
    code: int | None = None
    failure: str = ""
    task: str = ""  #: the one that it ran in, where the scheduler chose it

    def told(self, kind: Kind, payload: bytes) -> None:
        if kind is Kind.EXIT:
            self.code = int(payload)
        elif kind is Kind.FAILURE:
            self.failure = payload.decode()

    async def follow(self, end: Tunnel, given: bytes, act: Callable[[Tunnel, Seen], Coroutine[Any, Any, None]] | None) -> None:
        """See a command to its end. ``act`` uses the tunnel instead of sending ``given`` and an end. Raises tunnel.Gone."""
        running, showing = asyncio.create_task(end.run()), asyncio.create_task(self._show(end))

        async def give() -> None:
            await end.write(given)
            await end.end()

        giving = asyncio.create_task(act(end, self) if act is not None else give())
        try:
            await running
            await showing
        finally:
            await tunnel.stopped(running, showing, giving)

    async def _show(self, end: Tunnel) -> None:
        while (piece := await end.read()) is not None:
            (self.errors if piece[0] is Kind.ERRORS else self.output).extend(piece[1])
