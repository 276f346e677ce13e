"""The life of a subscription to Mesos' v1 API, on one IO thread: connect, SUBSCRIBE, read events, send calls, end, again.

The drivers of the scheduler and of the executor run it in place of pymesos' own loop, which blocks, reads quadratically,
never notices a half-open connection and reconnects without a pause (P8, P10, P11 and P13 of the pymesos gaps). What to
send and what an event means is the owner's business; this module knows sockets, deadlines and HTTP, no Mesos messages.

Events come on one connection, calls go pipelined over another (rule 33), and both end together: a call that was lost or
refused shows as a disconnection, after which the owner's state is compared anew. Other threads only append to the
outbox and wake the IO thread, so no caller ever waits for a hung master.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from .httpwire import Body, End, Endpoint, Head, HttpError, ResponseParser, request, request_head
from .log import fields
from .recordio import RecordDecoder, RecordError

log = logging.getLogger(__name__)

_RECV_BYTES: Final = 256 * 1024
#: Calls that wait for the IO thread; past it the peer is too slow to be called connected.
OUTBOX_BYTES_MAX: Final = 64 * 1024 * 1024
_SEND_BYTES: Final = 256 * 1024
_REFUSAL_BYTES_MAX: Final = 2000
_REDIRECTS_MAX: Final = 3


class StreamEnded(Exception):
    """The subscription is over; the text says why."""


class Refused(StreamEnded):
    """The peer answered SUBSCRIBE with another status than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"SUBSCRIBE was answered with {status}: {message or '(nothing)'}")
        self.status = status
        self.message = message


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
    """Keeps one subscription alive until :meth:`stop`. ``run`` is the IO thread; the rest is for any thread."""

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
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._stopping = False
        self._ending: str | None = None
        self._open = False
        self._outbox: deque[bytes] = deque()
        self._outbox_bytes = 0
        self._closed = False
        # The IO thread's own
        self._stream: socket.socket | None = None
        self._calls: socket.socket | None = None
        self._sending = memoryview(b"")
        self._unanswered = 0
        self._progress_at = 0.0
        self._redirects = 0
        self._ready: dict[int, int] = {}
        self._parts: list[Head | Body | End] = []
        self._answer = Head(0, {})
        self._answer_body = b""

    # For any thread

    def post(self, body: bytes) -> bool:
        """Send a call. False: not connected, so it was not sent; True says no more than that it is on its way (rule 35)."""
        with self._lock:
            if not self._open or self._outbox_bytes + len(body) > OUTBOX_BYTES_MAX:
                return False
            first = not self._outbox
            self._outbox.append(body)
            self._outbox_bytes += len(body)
        if first:
            self.wake()
        return True

    def open_calls(self) -> None:
        """Let calls through; the owner says so on SUBSCRIBED and not before (rule 34)."""
        with self._lock:
            self._open = True

    @property
    def open(self) -> bool:
        return self._open

    def end(self, reason: str) -> None:
        """Drop the present subscription, if any, and go on with the next."""
        self._ending = reason
        self.wake()

    def wake(self) -> None:
        """Have the IO thread look again, and end its pause if it makes one."""
        with self._lock:
            if not self._closed:
                try:
                    os.write(self._wake_out, b"\0")
                except BlockingIOError:
                    pass  # it has wake-ups enough

    def drain(self, timeout_s: float) -> bool:
        """Wait until every posted call was answered; False: not within the time, or the connection was lost."""
        with self._idle:
            self._idle.wait_for(lambda: not self._open or self._all_answered(), timeout_s)
            return self._open and self._all_answered()

    def _all_answered(self) -> bool:
        return not self._outbox and not self._sending and not self._unanswered

    def stop(self) -> None:
        """Have ``run`` return soon. Nothing is sent."""
        self._stopping = True
        self.wake()

    # The IO thread

    def run(self) -> None:
        """Subscribe again and again until stopped."""
        try:
            while not self._stopping:
                self._ending = None
                endpoint = self._owner.endpoint()
                if endpoint is None:
                    self._pause(None)
                    continue
                try:
                    self._attend(endpoint)
                except StreamEnded as error:
                    reason = error
                except (OSError, HttpError, RecordError) as error:
                    reason = StreamEnded(f"{type(error).__name__}: {error}")
                except Exception as error:
                    # The thread's edge: a fault here must not leave the process alive but deaf.
                    log.exception("subscription failed, please report this as a bug; it is made anew")
                    reason = StreamEnded(repr(error))
                finally:
                    self._close_sockets()
                self._pause(self._owner.ended(reason))
        finally:
            with self._lock:
                self._closed = True
                os.close(self._wake_in)
                os.close(self._wake_out)

    def _pause(self, seconds: float | None) -> None:
        """Wait; any wake-up ends it early, since it means a stop, another master or a wish to subscribe at once."""
        if not self._stopping and (seconds is None or seconds > 0):
            select.select([self._wake_in], [], [], seconds)
        self._read_wake_ups()

    def _read_wake_ups(self) -> None:
        try:
            os.read(self._wake_in, 4096)
        except BlockingIOError:
            pass

    def _check(self) -> None:
        if self._stopping:
            raise StreamEnded("stopped")
        if self._ending is not None:
            raise StreamEnded(self._ending)

    def _wait(self, deadline: float, *, read: tuple[socket.socket, ...] = (), write: socket.socket | None = None) -> int:
        """Wait for a socket or a wake-up; returns the ready sockets' events by file descriptor in ``self._ready``."""
        poller = select.poll()
        poller.register(self._wake_in, select.POLLIN)
        wanted: dict[int, int] = {sock.fileno(): select.POLLIN for sock in read}
        if write is not None:
            wanted[write.fileno()] = wanted.get(write.fileno(), 0) | select.POLLOUT
        for descriptor, mask in wanted.items():
            poller.register(descriptor, mask)
        # Bytes that TLS has decrypted already do not show on the socket.
        buffered = any(isinstance(sock, ssl.SSLSocket) and sock.pending() for sock in read)
        timeout_ms = 0 if buffered else max(0, int((deadline - self._now()) * 1000) + 1)
        self._ready = dict(poller.poll(timeout_ms))
        if self._ready.pop(self._wake_in, 0):
            self._read_wake_ups()
        self._check()
        return len(self._ready) + buffered

    def _connect(self, endpoint: Endpoint) -> socket.socket:
        deadline = self._now() + self._call_timeout_s
        error: OSError = OSError(f"{endpoint.host} has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                code = sock.connect_ex(address)
                if code not in (0, errno.EINPROGRESS):
                    raise OSError(code, f"{os.strerror(code)} ({endpoint})")
                while not self._wait(deadline, write=sock):
                    if self._now() >= deadline:
                        raise TimeoutError(f"{endpoint} did not answer within {self._call_timeout_s:g} s")
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, f"{os.strerror(code)} ({endpoint})")
                return self._encrypted(sock, endpoint, deadline) if endpoint.tls else sock
            except OSError as failure:
                sock.close()
                error = failure
            except BaseException:
                sock.close()
                raise
        raise error

    def _encrypted(self, sock: socket.socket, endpoint: Endpoint, deadline: float) -> ssl.SSLSocket:
        context = self._tls or ssl.create_default_context()
        encrypted = context.wrap_socket(sock, server_hostname=endpoint.host, do_handshake_on_connect=False)
        while True:
            try:
                encrypted.do_handshake()
                return encrypted
            except ssl.SSLWantReadError:
                self._wait(deadline, read=(encrypted,))
            except ssl.SSLWantWriteError:
                self._wait(deadline, write=encrypted)
            if self._now() >= deadline:
                encrypted.close()
                raise TimeoutError(f"no TLS handshake with {endpoint} within {self._call_timeout_s:g} s")

    def _attend(self, endpoint: Endpoint) -> None:
        """Hold one subscription; returns only by raising StreamEnded, OSError, HttpError or RecordError."""
        stream = self._stream = self._connect(endpoint)
        parser = ResponseParser()
        head = self._subscribe(stream, parser, endpoint)
        self._redirects = 0
        calls = self._calls = self._connect(endpoint)
        stream_id = head.headers.get("mesos-stream-id", "")
        extra = {"Mesos-Stream-Id": stream_id} if stream_id else {}
        call_head = request_head(self._path, endpoint, {**self._owner.headers(), **extra})
        answers = ResponseParser()
        decoder = RecordDecoder()
        self._take_parts(decoder)
        heard_at = self._progress_at = self._now()
        while True:
            self._fill(call_head)
            busy = bool(self._sending or self._unanswered)
            deadline = heard_at + self.silence_s
            if busy:
                deadline = min(deadline, self._progress_at + self._call_timeout_s)
            if not self._wait(deadline, read=(stream, calls), write=calls if self._sending else None):
                now = self._now()
                if now >= heard_at + self.silence_s:
                    raise StreamEnded(f"nothing was heard for {self.silence_s:g} s, not even a heartbeat")
                if busy and now >= self._progress_at + self._call_timeout_s:
                    raise StreamEnded(f"a call was not answered within {self._call_timeout_s:g} s")
                continue
            if self._ready.get(calls.fileno(), 0) & select.POLLOUT:
                self._send(calls)
            data = self._receive(calls)
            if data:
                self._progress_at = self._now()
                self._answered(answers, data)
            data = self._receive(stream)
            if data:
                heard_at = self._now()
                self._parts = list(parser.feed(data))
                self._take_parts(decoder)

    def _subscribe(self, stream: socket.socket, parser: ResponseParser, endpoint: Endpoint) -> Head:
        """Send SUBSCRIBE and read the head of the answer; what follows it is left in ``self._parts``."""
        body = self._owner.subscribe_body()
        unsent = memoryview(request(request_head(self._path, endpoint, self._owner.headers()), body))
        deadline = self._now() + self._call_timeout_s
        while unsent:
            unsent = unsent[self._write(stream, unsent) :]
            if unsent:
                self._wait(deadline, write=stream)
                self._expire(deadline, "SUBSCRIBE could not be sent")
        head: Head | None = None
        refusal = b""
        while True:
            self._wait(deadline, read=(stream,))
            data = self._receive(stream)
            parts = list(parser.feed(data)) if data else []
            if head is None and parts and isinstance(parts[0], Head):
                head = parts.pop(0)
                if head.status == 200:
                    self._parts = parts
                    return head
            refusal += b"".join(part.data for part in parts if isinstance(part, Body))
            if head is not None and (any(isinstance(p, End) for p in parts) or len(refusal) > _REFUSAL_BYTES_MAX):
                raise self._refusal(head, refusal)
            self._expire(deadline, "SUBSCRIBE was not answered")

    def _expire(self, deadline: float, what: str) -> None:
        if self._now() >= deadline:
            raise StreamEnded(f"{what} within {self._call_timeout_s:g} s")

    def _refusal(self, head: Head, body: bytes) -> Refused:
        location = head.headers.get("location", "")
        if head.status in (301, 302, 307, 308) and location:
            self._redirects += 1
            self._owner.redirected(location)
        return Refused(head.status, body[:_REFUSAL_BYTES_MAX].decode("utf-8", "replace").strip() or location)

    @property
    def redirect_is_fresh(self) -> bool:
        """Whether a redirection may be followed at once; several in a row are two masters that point at each other."""
        return 0 < self._redirects <= _REDIRECTS_MAX

    def _take_parts(self, decoder: RecordDecoder) -> None:
        for part in self._parts:
            if isinstance(part, Body):
                for record in decoder.feed(part.data):
                    self._owner.record(record)
                    self._check()
            else:
                raise StreamEnded("the peer ended the event stream")
        self._parts = []

    def _fill(self, call_head: bytes) -> None:
        """Move calls from the outbox to the send buffer, many at once."""
        if self._sending or not self._outbox:
            return
        batch: list[bytes] = []
        size = 0
        with self._lock:
            while self._outbox and size < _SEND_BYTES:
                body = self._outbox.popleft()
                size += len(body)
                batch.append(request(call_head, body))
            self._outbox_bytes -= size
            if not self._unanswered:
                self._progress_at = self._now()
            self._unanswered += len(batch)
            self._sending = memoryview(b"".join(batch))

    def _send(self, calls: socket.socket) -> None:
        sent = self._write(calls, self._sending)
        if sent:
            self._progress_at = self._now()
            self._sending = self._sending[sent:]

    def _answered(self, parser: ResponseParser, data: bytes) -> None:
        for part in parser.feed(data):
            if isinstance(part, Head):
                self._answer, self._answer_body = part, b""
            elif isinstance(part, Body):
                self._answer_body += part.data[: _REFUSAL_BYTES_MAX - len(self._answer_body)]
            else:
                with self._idle:
                    self._unanswered -= 1
                    if self._all_answered():
                        self._idle.notify_all()
                if not 200 <= self._answer.status < 300:
                    self._refused(self._answer.status, self._answer_body.decode("utf-8", "replace").strip())

    def _refused(self, status: int, message: str) -> None:
        if self._owner.refused(status, message):
            raise StreamEnded(f"a call was answered with {status}: {message or '(nothing)'}")
        log.error("a call was refused %s", fields(status=status, message=message))

    @staticmethod
    def _write(sock: socket.socket, data: memoryview) -> int:
        try:
            return sock.send(data[:_SEND_BYTES])
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0

    def _receive(self, sock: socket.socket) -> bytes:
        """Read what has arrived; empty: nothing yet. Raises StreamEnded where the peer closed."""
        if not self._ready.get(sock.fileno(), 0) & ~select.POLLOUT and not isinstance(sock, ssl.SSLSocket):
            return b""
        try:
            data = sock.recv(_RECV_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b""
        if not data:
            raise StreamEnded("the peer closed the connection")
        return data

    def _close_sockets(self) -> None:
        with self._idle:
            self._open = False
            self._outbox.clear()
            self._outbox_bytes = 0
            self._sending = memoryview(b"")
            self._unanswered = 0
            self._idle.notify_all()
        for sock in (self._stream, self._calls):
            if sock is not None:
                sock.close()
        self._stream = self._calls = None
