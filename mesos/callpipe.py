"""Calls on their way to a Mesos master or agent: appended by any thread, sent pipelined and answered on the IO thread.

Used by :mod:`subscription`. A call that was taken is on its way, no more (rule 35): its answer is looked at only for
what it says about the subscription. So no caller waits for the peer, and thousands of calls go out in a few writes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Final

from .httpwire import Body, Head, ResponseParser, request

#: Calls that may wait to be sent; past it the peer is too slow to be called connected.
OUTBOX_BYTES_MAX: Final = 64 * 1024 * 1024
#: The part of it that bulky calls must leave free, so that short ones, such as kills and acknowledgements, always fit.
RESERVED_BYTES: Final = 8 * 1024 * 1024
_BATCH_BYTES: Final = 256 * 1024
#: Longest part of an error's body that is kept.
MESSAGE_BYTES_MAX: Final = 2000


class CallPipe:
    """Closed at first and after :meth:`close`; takes calls while open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self.is_open = False
        self._outbox: deque[bytes] = deque()
        self._outbox_bytes = 0
        self._unanswered = 0
        # The IO thread's own
        self.unsent = memoryview(b"")
        self._parser = ResponseParser()
        self._answer = Head(0, {})
        self._message = b""

    def open(self) -> None:
        with self._lock:
            self.is_open = True

    def close(self) -> None:
        """Drop every call that has not been answered."""
        with self._changed:
            self.is_open = False
            self._outbox.clear()
            self._outbox_bytes = 0
            self._unanswered = 0
            self.unsent = memoryview(b"")
            self._parser = ResponseParser()
            self._changed.notify_all()

    def post(self, body: bytes, *, bulky: bool = False) -> bool:
        """Take a call, unless closed or full; a bulky one leaves room for others."""
        most = OUTBOX_BYTES_MAX - RESERVED_BYTES if bulky else OUTBOX_BYTES_MAX
        with self._lock:
            if not self.is_open or self._outbox_bytes + len(body) > most:
                return False
            self._outbox.append(body)
            self._outbox_bytes += len(body)
            return True

    def drain(self, timeout_s: float) -> bool:
        """Wait until every call was answered; False: not within the time, or they were dropped."""
        with self._changed:
            self._changed.wait_for(lambda: not self.is_open or not self._open_calls(), timeout_s)
            return self.is_open and not self._open_calls()

    def _open_calls(self) -> int:
        return len(self._outbox) + self._unanswered

    # The IO thread

    @property
    def unanswered(self) -> int:
        """How many calls were moved to ``unsent`` or sent, and have no answer yet."""
        return self._unanswered

    def fill(self, head: bytes) -> bool:
        """Move waiting calls into an empty ``unsent``, many at once; returns whether there were any."""
        if self.unsent or not self._outbox:
            return False
        batch: list[bytes] = []
        size = 0
        with self._lock:
            while self._outbox and size < _BATCH_BYTES:
                body = self._outbox.popleft()
                size += len(body)
                batch.append(request(head, body))
            self._outbox_bytes -= size
            self._unanswered += len(batch)
        self.unsent = memoryview(b"".join(batch))
        return True

    def answered(self, data: bytes) -> Iterator[tuple[int, str]]:
        """Take in answers; yields status and message of those that refuse the call. Raises HttpError."""
        for part in self._parser.feed(data):
            if isinstance(part, Head):
                self._answer, self._message = part, b""
            elif isinstance(part, Body):
                self._message += part.data[: MESSAGE_BYTES_MAX - len(self._message)]
            else:
                with self._changed:
                    self._unanswered -= 1
                    if not self._open_calls():
                        self._changed.notify_all()
                if not 200 <= self._answer.status < 300:
                    yield self._answer.status, self._message.decode("utf-8", "replace").strip()
