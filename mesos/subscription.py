"""The life of a subscription to Mesos' v1 API, on one IO thread: connect, SUBSCRIBE, read events, send calls, end, again.

The drivers of the scheduler and of the executor run it in place of pymesos' own loop, which blocks, reads in quadratic time,
never notices a half-open connection and reconnects without a pause (docs/adr/0020-pymesos-wrapped.md). What to
send and what an event means is the owner's business; this module knows sockets, deadlines and HTTP, no Mesos messages.

Events come on one connection, calls go over another (rule 33), and both end together: a call that was lost or refused
shows as a disconnection, after which the owner's state is compared anew.
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from eratos.common.log import fields

from .callpipe import MESSAGE_BYTES_MAX, CallPipe
from .httpwire import Body, End, Endpoint, Head, HttpError, ResponseParser, request, request_head
from .iowait import IoWait
from .recordio import RecordDecoder, RecordError

log = logging.getLogger(__name__)

_REDIRECTS: Final = (301, 302, 307, 308)
#: Redirections that are followed at once; more in a row are masters that point at each other.
_REDIRECTS_MAX: Final = 3


class StreamEnded(Exception):
    """The subscription is over; the text says why."""


class Refused(StreamEnded):
    """The peer answered SUBSCRIBE with another status than 200."""

    def __init__(self, status: int, message: str, *, redirected: bool = False) -> None:
        super().__init__(f"SUBSCRIBE was answered with {status}: {message or '(nothing)'}")
        self.status = status
        self.message = message
        self.redirected = redirected  #: to be followed at once


class Owner(Protocol):
    """What the loop asks of its driver. All methods are called on the IO thread and must not block."""

    def endpoint(self) -> Endpoint | None:
        """Whom to subscribe to next; None: wait to be woken."""

    def headers(self) -> Mapping[str, str]:
        """Headers of every request, such as Authorization."""

    def subscribe_body(self) -> bytes:
        """The SUBSCRIBE call."""

    def record(self, data: bytes) -> None:
        """One event. Must not raise."""

    def redirected(self, location: str) -> None:
        """The peer named another one."""

    def refused(self, status: int, message: str) -> bool:
        """A call was answered with an error; True: the subscription is to end."""

    def ended(self, reason: StreamEnded) -> float:
        """A subscription or an attempt at one ended; returns the pause before the next, in seconds."""


class Subscription:
    """Keeps one subscription alive until :meth:`stop`. ``run`` is the IO thread; the methods before it are for any."""

    def __init__(
        self,
        owner: Owner,
        path: str,
        *,
        call_timeout_s: float,
        silence_s: float,
        tls: ssl.SSLContext | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.silence_s = silence_s  #: longest silence of the event stream; the owner sets it to what the peer announces
        self._owner = owner
        self._path = path
        self._call_timeout_s = call_timeout_s
        self._tls = tls
        self._now = now
        self._io = IoWait(self._check, now)
        self._pipe = CallPipe()
        self._stopping = False
        self._ending: str | None = None
        self._redirects = 0

    def post(self, body: bytes, *, bulky: bool = False) -> bool:
        """Send a call. False: not connected, so it was not sent; True: it is on its way, which is all one can know.

        A ``bulky`` one is not sent either where it would leave too little room for the short ones that come after it.
        """
        taken = self._pipe.post(body, bulky=bulky)
        if taken:
            self._io.wake()
        return taken

    def open_calls(self) -> None:
        """Let calls through; the owner says so on SUBSCRIBED and not before (rule 34)."""
        self._pipe.open()

    @property
    def open(self) -> bool:
        return self._pipe.is_open

    def drain(self, timeout_s: float) -> bool:
        """Wait until every posted call was answered; False: not within the time, or the connection was lost."""
        return self._pipe.drain(timeout_s)

    def end(self, reason: str) -> None:
        """Drop the present subscription, if any, and go on with the next."""
        self._ending = reason
        self._io.wake()

    def stop(self) -> None:
        """Have ``run`` return soon. Nothing is sent."""
        self._stopping = True
        self._io.wake()

    # The IO thread

    def run(self) -> None:
        """Subscribe again and again until stopped."""
        try:
            while not self._stopping:
                self._ending = None
                endpoint = self._owner.endpoint()
                if endpoint is None:
                    self._io.pause(None)
                    continue
                delay_s = self._owner.ended(self._attend(endpoint))
                if not self._stopping:
                    # Any wake-up ends the pause: it means a stop, another master or a wish to subscribe at once.
                    self._io.pause(delay_s)
        finally:
            self._io.close()

    def _check(self) -> None:
        if self._stopping:
            raise StreamEnded("stopped")
        if self._ending is not None:
            raise StreamEnded(self._ending)

    def _attend(self, endpoint: Endpoint) -> StreamEnded:
        """Hold one subscription until it ends; returns why."""
        sockets: list[socket.socket] = []
        try:
            stream = self._connect(endpoint, sockets)
            parser = ResponseParser()
            head, parts = self._subscribe(stream, parser, endpoint)
            self._redirects = 0
            calls = self._connect(endpoint, sockets)
            stream_id = head.headers.get("mesos-stream-id")
            extra = {"Mesos-Stream-Id": stream_id} if stream_id else {}
            call_head = request_head(self._path, endpoint, {**self._owner.headers(), **extra})
            self._exchange(stream, parser, parts, calls, call_head)
        except StreamEnded as error:
            return error
        except (OSError, HttpError, RecordError) as error:
            ended = StreamEnded(f"{type(error).__name__}: {error}")
            ended.__cause__ = error
            return ended
        except Exception as error:
            # The thread's edge: a fault here must not leave the process alive but deaf.
            log.exception("subscription failed, please report this as a bug; it is made anew")
            return StreamEnded(repr(error))
        finally:
            self._pipe.close()
            for sock in sockets:
                sock.close()
        raise AssertionError("an exchange ends by an exception")

    def _connect(self, endpoint: Endpoint, sockets: list[socket.socket]) -> socket.socket:
        sock = self._io.connect(endpoint, self._call_timeout_s, self._tls)
        sockets.append(sock)
        return sock

    def _subscribe(
        self, stream: socket.socket, parser: ResponseParser, endpoint: Endpoint
    ) -> tuple[Head, list[Head | Body | End]]:
        """Send SUBSCRIBE; returns the head of a good answer and what came with it. Raises Refused for any other."""
        body = self._owner.subscribe_body()
        unsent = memoryview(request(request_head(self._path, endpoint, self._owner.headers()), body))
        deadline = self._now() + self._call_timeout_s
        head: Head | None = None
        refusal = b""
        while True:
            if unsent:
                unsent = unsent[self._io.write(stream, unsent) :]
            self._io.wait(deadline, read=(stream,), write=stream if unsent else None)
            parts = list(parser.feed(self._read(stream)))
            if head is None and parts and isinstance(first := parts[0], Head):
                head = first
                if head.status == 200:
                    return head, parts[1:]
            refusal += b"".join(part.data for part in parts if isinstance(part, Body))
            complete = any(isinstance(part, End) for part in parts) or len(refusal) > MESSAGE_BYTES_MAX
            if head is not None and (complete or self._now() >= deadline):
                raise self._refusal(head, refusal[:MESSAGE_BYTES_MAX].decode("utf-8", "replace").strip())
            if self._now() >= deadline:
                raise StreamEnded(f"SUBSCRIBE was not answered within {self._call_timeout_s:g} s")

    def _refusal(self, head: Head, message: str) -> Refused:
        location = head.headers.get("location", "")
        if head.status not in _REDIRECTS or not location:
            return Refused(head.status, message)
        self._redirects += 1
        self._owner.redirected(location)
        return Refused(head.status, location, redirected=self._redirects <= _REDIRECTS_MAX)

    def _exchange(
        self,
        stream: socket.socket,
        parser: ResponseParser,
        parts: list[Head | Body | End],
        calls: socket.socket,
        call_head: bytes,
    ) -> None:
        """Read events and send calls until one of the connections, a deadline or the owner ends it."""
        pipe, io = self._pipe, self._io
        decoder = RecordDecoder()
        self._take(decoder, parts)
        heard_at = moved_at = self._now()
        while True:
            idle = not pipe.unanswered
            if pipe.fill(call_head) and idle:
                moved_at = self._now()
            deadline = heard_at + self.silence_s
            if pipe.unanswered:
                deadline = min(deadline, moved_at + self._call_timeout_s)
            if not io.wait(deadline, read=(stream, calls), write=calls if pipe.unsent else None):
                # Only where nothing waits to be read: a process that was stopped for a while is late itself.
                self._expire(heard_at, moved_at)
                continue
            if io.writable(calls) and pipe.unsent:
                pipe.unsent = pipe.unsent[io.write(calls, pipe.unsent) :]
                moved_at = self._now()
            answers = self._read(calls)
            if answers:
                moved_at = self._now()
                for status, message in pipe.answered(answers):
                    self._refused(status, message)
            events = self._read(stream)
            if events:
                heard_at = self._now()
                self._take(decoder, list(parser.feed(events)))

    def _expire(self, heard_at: float, moved_at: float) -> None:
        now = self._now()
        if now >= heard_at + self.silence_s:
            raise StreamEnded(f"nothing was heard for {self.silence_s:g} s, not even a heartbeat")
        if self._pipe.unanswered and now >= moved_at + self._call_timeout_s:
            raise StreamEnded(f"a call was not answered within {self._call_timeout_s:g} s")

    def _read(self, sock: socket.socket) -> bytes:
        data = self._io.read(sock)
        if data == b"":
            raise StreamEnded("the peer closed the connection")
        return data or b""

    def _take(self, decoder: RecordDecoder, parts: list[Head | Body | End]) -> None:
        for part in parts:
            if not isinstance(part, Body):
                raise StreamEnded("the peer ended the event stream")
            for record in decoder.feed(part.data):
                self._owner.record(record)
                self._check()

    def _refused(self, status: int, message: str) -> None:
        if self._owner.refused(status, message):
            raise StreamEnded(f"a call was answered with {status}: {message or '(nothing)'}")
        log.error("a call was refused %s", fields(status=status, message=message))
