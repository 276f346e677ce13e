"""Logs of tasks without a runtime: tests write them and see who reads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from eratos.executor.logs import LogRequest, NoLog


class FakeLogs:
    """A LogSource whose ``tail`` counts pieces; each piece is a line. With positions each line has its number."""

    def __init__(self) -> None:
        self.readers = 0
        self.given = 0  #: pieces handed out so far
        self.requests: list[LogRequest] = []
        self.fault: Exception | None = None
        self.broken: set[str] = set()  #: tasks whose log breaks off
        self._logs: dict[tuple[str, str], list[bytes]] = {}
        self._ended: set[str] = set()
        self._changed = threading.Condition()

    def write(self, task_id: str, *pieces: bytes, stream: str = "stdout") -> None:
        with self._changed:
            self._logs.setdefault((task_id, stream), []).extend(pieces)
            self._changed.notify_all()

    def end(self, task_id: str) -> None:
        with self._changed:
            self._ended.add(task_id)
            self._changed.notify_all()

    @asynccontextmanager
    async def read(self, request: LogRequest) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        self.requests.append(request)
        if self.fault is not None:
            raise self.fault
        if not any(task_id == request.task_id for task_id, _ in self._logs):
            raise NoLog(f"no log of {request.task_id}")
        self.readers += 1
        try:
            async with aclosing(self._pieces(request)) as pieces:
                yield pieces
        finally:
            self.readers -= 1

    async def _pieces(self, request: LogRequest) -> AsyncGenerator[bytes, None]:
        written = self._logs.get((request.task_id, request.stream), [])
        lines = self._numbered(written) if request.positions else written
        position = int(request.begin) if request.begin else max(0, len(lines) - request.tail)
        while True:
            seen = len(written)
            lines = self._numbered(written) if request.positions else written
            while position < len(lines):
                self.given += 1
                yield lines[position]
                position += 1
            if request.task_id in self.broken:
                raise ConnectionResetError("broken")
            if not request.follow or request.task_id in self._ended:
                return
            await asyncio.get_running_loop().run_in_executor(None, self._wait, request, seen)

    def _numbered(self, written: list[bytes]) -> list[bytes]:
        return [b"%d %b" % found for found in enumerate(b"".join(written).splitlines(keepends=True))]

    def _wait(self, request: LogRequest, seen: int) -> None:
        lines = self._logs.setdefault((request.task_id, request.stream), [])
        with self._changed:
            self._changed.wait_for(lambda: len(lines) > seen or request.task_id in self._ended, timeout=0.05)
