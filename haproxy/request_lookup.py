"""Finds a request in HAProxy's log by its id: the log's files are the memory, so what is kept is bounded by them and outlives
the companion. What a lookup takes of memory is bounded, however large the files are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO, Final

from .core.request_log import Served, moment_of, needle, parse

#: How far back a lookup reads, over all files, the newest first; and at a time.
LOOKED_MAX_BYTES: Final = 256 * 1024 * 1024
_BLOCK_BYTES: Final = 64 * 1024
#: HAProxy's longest line is far shorter. What is longer is no line.
_LINE_MAX_BYTES: Final = 16 * 1024
#: Requests that are shown: a client may send one id as often as it likes.
FOUND_MOST: Final = 20
#: For the lookups before this one. A request waits for two seconds.
_TURN_S: Final = 1.5


class BusyError(Exception):
    """So many lookups are under way that this one would come too late."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a log says of one id."""

    requests: list[Served]  #: the latest first
    oldest: float | None  #: when the oldest request came that was looked at, in seconds since the epoch; None: there is none


class Lookup:
    """Looks through the log, for one caller at a time."""

    def __init__(self, files: Callable[[], Sequence[BinaryIO]]) -> None:
        """``files`` opens the log's files, the newest first, with all that was logged so far. May raise OSError."""
        self._files = files
        self._lock = threading.Lock()

    def find(self, request_id: str) -> Found:
        """Return the requests with an id. Raises BusyError, and OSError where the log cannot be read."""
        if not self._lock.acquire(timeout=_TURN_S):
            raise BusyError("too many lookups at a time, ask again")
        try:
            return self._find(request_id)
        finally:
            self._lock.release()

    def _find(self, request_id: str) -> Found:
        wanted, found, oldest, left = needle(request_id), list[Served](), None, LOOKED_MAX_BYTES
        with ExitStack() as stack:
            files = [stack.enter_context(file) for file in self._files()]
            for file in files:
                of_file: list[Served] = []
                first: float | None = None
                for block in _blocks(file, left):
                    if first is None:
                        first = next((at for line in block.splitlines() if (at := moment_of(line)) is not None), None)
                    of_file += (served for line in _having(block, wanted) if (served := parse(line, request_id)))
                    del of_file[:-FOUND_MOST]
                left -= file.tell()
                found += reversed(of_file)
                oldest = first if first is not None else oldest
                if left <= 0:
                    break
        return Found(found[:FOUND_MOST], oldest)


def _blocks(file: BinaryIO, most: int) -> Iterator[bytes]:
    """Yield a file's whole lines, many at a time, ``most`` bytes of it."""
    rest = b""
    while most > 0 and (block := file.read(min(_BLOCK_BYTES, most))):
        most -= len(block)
        lines, _, rest = (rest + block).rpartition(b"\n")
        if lines:
            yield lines
        rest = rest[-_LINE_MAX_BYTES:]


def _having(block: bytes, wanted: bytes) -> Iterator[bytes]:
    """Yield the lines that hold some bytes."""
    at = block.find(wanted)
    while at >= 0:
        begin, end = block.rfind(b"\n", 0, at) + 1, block.find(b"\n", at)
        end = end if end >= 0 else len(block)
        yield block[begin:end]
        at = block.find(wanted, end)
