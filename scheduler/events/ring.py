"""The latest events, numbered. Readers come and go by position: none of them holds anything up, or makes it grow.

A number is worth nothing beyond the process that gave it, so an id has a mark of the process in front: ``3f9c01aa-17``.
"""

from __future__ import annotations

import itertools
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import msgspec

from .event import Event

#: Kept at most; a minute at a hundred events a second and more.
EVENTS_MOST: Final = 20_000
BYTES_MOST: Final = 32 * 1024 * 1024

_encoder = msgspec.json.Encoder()


class Entry(NamedTuple):
    """An event as it is sent."""

    number: int
    kind: str
    apps: frozenset[str]
    document: bytes  #: JSON


class Piece(NamedTuple):
    """What follows a position."""

    entries: list[Entry]
    position: int  #: to go on from
    lost: int  #: events before the first one that are not kept any more


class Start(NamedTuple):
    """Where a reader begins."""

    position: int
    lost: bool = False  #: what came before is not known: an id of another process, or no id at all


class Ring:
    """Safe for many threads at once."""

    def __init__(self, events_most: int = EVENTS_MOST, bytes_most: int = BYTES_MOST, mark: str = "") -> None:
        """``mark`` distinguishes this process' ids from others'; random by default."""
        self._events_most = events_most
        self._bytes_most = bytes_most
        self._mark = mark or secrets.token_hex(4)
        self._lock = threading.Lock()
        self._kept: deque[Entry] = deque()
        self._bytes = 0
        self._next = 1
        self._listeners: list[Callable[[], None]] = []
        self.closed = False

    def publish(self, events: Iterable[Event]) -> None:
        """Add events, and let go of the oldest ones for which there is no room."""
        written = [(event, _encoder.encode(event.document())) for event in events]
        if not written:
            return
        with self._lock:
            for event, document in written:
                self._kept.append(Entry(self._next, event.kind, event.apps, document))
                self._next += 1
                self._bytes += len(document)
            while len(self._kept) > self._events_most or (self._bytes > self._bytes_most and len(self._kept) > 1):
                self._bytes -= len(self._kept.popleft().document)
        self._tell()

    def close(self) -> None:
        """End every reader's stream: nothing will happen here any more."""
        self.closed = True
        self._tell()

    def listen(self, listener: Callable[[], None]) -> None:
        """Have a function called after each change, on whichever thread; it must not block."""
        with self._lock:
            self._listeners.append(listener)

    def id_of(self, number: int) -> str:
        """Return what a reader may come back with."""
        return f"{self._mark}-{number}"

    def now(self) -> Start:
        """Return where what happens from now on begins."""
        with self._lock:
            return Start(self._next)

    def recent(self, count: int) -> tuple[str, str]:
        """Return the id of the latest event, and that of the one ``count`` before it or as far back as is kept."""
        with self._lock:
            oldest = self._kept[0].number if self._kept else self._next
            latest = self._next - 1
            return self.id_of(latest), self.id_of(max(latest - count, oldest - 1))

    def after(self, last_id: str) -> Start:
        """Return where to go on behind the event with an id; an unknown one leads to the oldest that is kept."""
        mark, _, number = last_id.strip().rpartition("-")
        with self._lock:
            oldest = self._kept[0].number if self._kept else self._next
            if mark == self._mark and number.isascii() and number.isdigit() and len(number) < 19 and int(number) < self._next:
                return Start(int(number) + 1)
            return Start(oldest, lost=True)

    def last(self, kind: str, part: bytes) -> bytes | None:
        """Return the latest event of a kind whose JSON holds some bytes; None where none is kept."""
        with self._lock:
            kept = list(self._kept)
        return next((entry.document for entry in reversed(kept) if entry.kind == kind and part in entry.document), None)

    def read(self, position: int, bytes_most: int) -> Piece:
        """Return some of what is kept from a position on, so much that it makes about ``bytes_most``."""
        with self._lock:
            if not self._kept or position >= self._next:
                return Piece([], position, 0)
            oldest = self._kept[0].number
            first = max(position, oldest)
            found, size = [], 0
            for entry in _from(self._kept, first - oldest):
                found.append(entry)
                size += len(entry.document)
                if size >= bytes_most:
                    break
        return Piece(found, found[-1].number + 1, first - position)

    def _tell(self) -> None:
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()


def _from(kept: deque[Entry], index: int) -> Iterable[Entry]:
    """Yield what is kept from an index on, from whichever end is nearer."""
    if index <= len(kept) // 2:
        return itertools.islice(kept, index, None)
    behind = list(itertools.islice(reversed(kept), len(kept) - index))
    behind.reverse()
    return behind
