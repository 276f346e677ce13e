"""What a log is to the rest of the executor: how it is asked for, and what a runtime has to be able to give."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from eratos.common.errors import PermanentError

TAIL_MAX = 10_000
TAIL = 100
#: A longer line counts as several, where lines have positions.
LINE_BYTES = 64 * 1024
_POSITION = re.compile(r"[0-9TZ.:+-]{1,60}")


@dataclass(frozen=True, slots=True)
class LogRequest:
    """What somebody wants to read."""

    task_id: str
    stream: str = "stdout"  #: or ``stderr``
    tail: int = TAIL  #: lines
    follow: bool = False
    container: str = ""  #: which one of a pod's
    positions: bool = False  #: each line after its position and a space
    begin: str = ""  #: with the line at this position, or the next that is there, instead of ``tail``; implies ``positions``

    @classmethod
    def parse(cls, task_id: str, query: Mapping[str, str]) -> LogRequest:
        """Read a request's query. Raises ValueError saying which parameter is wrong."""
        stream, tail, follow = query.get("stream", "stdout"), query.get("tail", str(TAIL)), query.get("follow", "false")
        if stream not in ("stdout", "stderr"):
            raise ValueError(f"stream must be stdout or stderr, not {stream!r}")
        if not (tail.isascii() and tail.isdigit() and int(tail) <= TAIL_MAX):
            raise ValueError(f"tail must be a number of lines from 0 to {TAIL_MAX}, not {tail!r}")
        if follow not in ("true", "false"):
            raise ValueError(f"follow must be true or false, not {follow!r}")
        positions, begin = query.get("positions", "false"), query.get("from", "")
        if positions not in ("true", "false"):
            raise ValueError(f"positions must be true or false, not {positions!r}")
        if begin and "tail" in query:
            raise ValueError("from and tail exclude each other: a log is read from a line on, or its last lines")
        if begin and not _POSITION.fullmatch(begin):
            raise ValueError(f"from must be a position that came before a line with positions=true, not {begin[:100]!r}")
        shown = positions == "true" or bool(begin)
        return cls(task_id, stream, int(tail), follow == "true", query.get("container", ""), shown, begin)


class NoLog(PermanentError):
    """There is no log of the task on this host."""


class LogSource(Protocol):
    """Where one runtime's logs are."""

    def read(self, request: LogRequest) -> AbstractAsyncContextManager[AsyncGenerator[bytes, None]]:
        """Open a log; entering raises NoLog, TemporaryError or one of async_http.Failure."""
