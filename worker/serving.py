"""The HTTP server of the sample apps: one thread for all connections, a few more for slow handlers.

Called by prime.py and hello.py, which bring routes. A single loop owns every socket, so ``/health`` is answered at
once even while all threads compute, and an idle connection costs no thread. Only handlers of routes marked slow run
outside of the loop's thread.

On SIGTERM or SIGINT it *drains*: whatever has arrived or still arrives is answered, with ``Connection: close``; once
nothing is in flight and nothing came for QUIET_S, the process ends. So a request is not lost that a client sent just
before it heard of the stop.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections import deque, namedtuple
from collections.abc import Callable, Mapping

import http1
from http1 import RefusedError, Request, Response
from metrics import Metrics
from settings import Settings

THREADS_MAX = 4  #: slow handlers at work at once; more only share the same interpreter lock
CONNECTIONS_MAX = 900  #: below the usual limit of 1024 open files; further ones wait in the listen queue
BACKLOG = 512
#: Longer than balancers keep an idle connection to a server, so that they close first and never meet our close.
IDLE_S = 75.0
READ_S = 10.0  #: for a whole request, from its first byte
WRITE_S = 10.0  #: for the client to take a whole answer
#: For the client to close after our last byte; closing at once could destroy the answer on its way (RFC 9112 9.6).
LINGER_S = 2.0
CHECK_S = 1.0  #: between two looks at the deadlines
QUIET_S = 0.1  #: a drain ends after so long without anything new
#: New connections are taken for so long into a drain; without a bound steady traffic would keep it from ending.
DRAIN_ACCEPT_S = 2.0

READING, WORKING, SENDING, LINGERING = "reading", "working", "sending", "lingering"

#: ``handlers``: method -> function of a Request returning a Response. HEAD is answered by GET's.
Route = namedtuple("Route", "handlers slow", defaults=(False,))
Handler = Callable[[Request], Response]


class Connection:
    """One client. A request in WORKING or SENDING stops further reading, so a pipelined one waits its turn."""

    __slots__ = ("address", "deadline_s", "events", "keep_alive", "phase", "received", "request", "sock", "unsent")

    def __init__(self, sock: socket.socket, address: str) -> None:
        self.sock = sock
        self.address = address
        self.received = bytearray()
        self.request: Request | None = None
        self.unsent = b""
        self.keep_alive = True
        self.phase = READING
        self.events = 0
        self.deadline_s: float | None = None

    @property
    def in_flight(self) -> bool:
        """Return whether some of a request is here and its answer not yet gone."""
        return self.phase in (WORKING, SENDING) or (self.phase == READING and bool(self.received or self.request))


class Server:
    """Serves ``routes``, and ``/health`` and ``/metrics`` besides. Raises OSError where the port cannot be had."""

    def __init__(self, settings: Settings, routes: Mapping[str, Route], metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._failing = ""  #: why /health fails on demand
        self._draining_since_s: float | None = None
        self._last_arrival_s = 0.0
        self._common = (0, "")
        health: dict[str, Handler] = {"GET": self._get_health}
        if settings.health_switch:
            health |= {"PUT": self._put_health, "DELETE": self._delete_health}
        self._routes = {**routes, "/health": Route(health), "/metrics": Route({"GET": self._get_metrics})}
        self._connections: set[Connection] = set()
        # Not queue.SimpleQueue: Debian's python3-minimal, which the images are made of, lacks the module.
        self._jobs: deque[tuple[Connection, Request, Handler]] = deque()
        self._jobs_waiting = threading.Semaphore(0)
        self._done: deque[tuple[Connection, Response]] = deque()
        self._threads = 0
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._listener: socket.socket | None = socket.create_server(("0.0.0.0", settings.port), backlog=BACKLOG)
        self._listener.setblocking(False)
        self._accepting = False
        self.port: int = self._listener.getsockname()[1]

    def serve(self) -> None:
        """Serve until a drain that SIGTERM or SIGINT began has ended."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._drain)
        self._accept_again()
        print(f"Starting server on port {self.port}", flush=True)
        next_check_s = 0.0
        while not self._drained():
            draining = self._draining_since_s is not None
            waiting = self._connections or not self._accepting
            for key, _ in self._selector.select(QUIET_S if draining else CHECK_S if waiting else None):
                if key.fd == self._wake_read:
                    self._finish_jobs()
                elif key.data is None:
                    self._accept()
                else:
                    self._on_event(key.data)
            now_s = time.monotonic()
            if now_s >= next_check_s:
                next_check_s = now_s + CHECK_S
                self._check_deadlines(now_s)

    # Draining

    def _drain(self, _signal: int, _frame: object) -> None:
        if self._draining_since_s is None:
            self._draining_since_s = self._last_arrival_s = time.monotonic()

    def _drained(self) -> bool:
        if self._draining_since_s is None:
            return False
        now_s = time.monotonic()
        if self._listener and now_s >= self._draining_since_s + DRAIN_ACCEPT_S:
            # What is in the listen queue would be reset by the close. So is, once in thousands, a connection that comes
            # between these two calls: the kernel has no way around it. Only a client that kept coming meets that.
            self._accept()
            self._pause_accepting()
            self._listener.close()
            self._listener = None
        return now_s >= self._last_arrival_s + QUIET_S and not any(c.in_flight for c in self._connections)

    # Connections

    def _accept(self) -> None:
        while self._listener:
            if len(self._connections) >= CONNECTIONS_MAX:
                self._pause_accepting()
                return
            try:
                sock, address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # out of files or memory: try again when something was freed or checked
                self._pause_accepting()
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(sock, address[0])
            self._connections.add(connection)
            self._last_arrival_s = time.monotonic()
            self._await_request(connection)

    def _pause_accepting(self) -> None:
        if self._listener and self._accepting:
            self._selector.unregister(self._listener)
            self._accepting = False

    def _accept_again(self) -> None:
        if self._listener and not self._accepting:
            self._selector.register(self._listener, selectors.EVENT_READ)
            self._accepting = True

    def _watch(self, connection: Connection, events: int) -> None:
        if events == connection.events:
            return
        if connection.events == 0:
            self._selector.register(connection.sock, events, connection)
        elif events == 0:
            self._selector.unregister(connection.sock)
        else:
            self._selector.modify(connection.sock, events, connection)
        connection.events = events

    def _drop(self, connection: Connection) -> None:
        self._watch(connection, 0)
        connection.sock.close()
        self._connections.discard(connection)
        self._accept_again()

    def _await_request(self, connection: Connection) -> None:
        connection.request = None
        connection.phase = READING
        connection.deadline_s = time.monotonic() + IDLE_S
        self._watch(connection, selectors.EVENT_READ)

    def _on_event(self, connection: Connection) -> None:
        if connection.phase == SENDING:
            self._send(connection)
            self._advance(connection)
            return
        try:
            data = connection.sock.recv(64 * 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
        elif connection.phase == READING:
            self._last_arrival_s = time.monotonic()
            if not connection.in_flight:
                connection.deadline_s = self._last_arrival_s + READ_S
            connection.received += data
            self._advance(connection)

    def _check_deadlines(self, now_s: float) -> None:
        for connection in [c for c in self._connections if c.deadline_s is not None and now_s >= c.deadline_s]:
            if connection.phase == READING and connection.in_flight:
                self._refuse(connection, RefusedError(408, f"a request must arrive within {READ_S:g} seconds"))
            else:
                self._drop(connection)
        self._accept_again()

    # Requests

    def _advance(self, connection: Connection) -> None:
        """Serve what has arrived, request by request, until more bytes or a slow handler's answer are needed."""
        while connection.phase == READING and connection.in_flight:
            try:
                if connection.request is None:
                    connection.request = http1.take_head(connection.received)
                    if connection.request is None:
                        return
                    if connection.request.waits_for_continue and len(connection.received) < connection.request.length:
                        connection.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            except RefusedError as refusal:
                self._refuse(connection, refusal)
                return
            except OSError:
                self._drop(connection)
                return
            request = connection.request
            if len(connection.received) < request.length:
                return
            request.body = bytes(connection.received[: request.length])
            del connection.received[: request.length]
            self._start(connection, request)

    def _start(self, connection: Connection, request: Request) -> None:
        connection.phase = WORKING
        connection.deadline_s = None
        route = self._routes.get(request.path)
        if route is None:
            self._answer(connection, text(404, f"there is nothing at this path; try {', '.join(sorted(self._routes))}"))
            return
        handler = route.handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allowed = ", ".join(sorted([*route.handlers, "HEAD"]))
            self._answer(connection, text(405, f"allowed here: {allowed}", ("Allow", allowed)))
        elif not route.slow:
            self._answer(connection, call(handler, request))
        else:
            self._watch(connection, 0)
            if self._threads < THREADS_MAX:
                self._threads += 1
                threading.Thread(target=self._work, daemon=True).start()
            self._jobs.append((connection, request, handler))
            self._jobs_waiting.release()

    def _work(self) -> None:
        while True:
            self._jobs_waiting.acquire()
            connection, request, handler = self._jobs.popleft()
            self._done.append((connection, call(handler, request)))
            try:
                os.write(self._wake_write, b"\0")
            except BlockingIOError:  # full of wake-ups already
                pass

    def _finish_jobs(self) -> None:
        os.read(self._wake_read, 4096)
        while self._done:
            connection, response = self._done.popleft()
            self._answer(connection, response)
            self._advance(connection)

    # Answers

    def _refuse(self, connection: Connection, refusal: RefusedError) -> None:
        connection.request = None
        self._answer(connection, text(refusal.status, refusal.reason))

    def _answer(self, connection: Connection, response: Response) -> None:
        request = connection.request
        connection.keep_alive = request is not None and request.keep_alive and self._draining_since_s is None
        connection.phase = SENDING
        connection.deadline_s = time.monotonic() + WRITE_S
        connection.unsent = http1.encode(
            response,
            self._common_headers(),
            head_only=request is not None and request.method == "HEAD",
            keep_alive=connection.keep_alive,
        )
        path = request.path if request else ""
        self._metrics.count_request(path if path in self._routes else "other", response.status)
        if self._settings.log:
            method = request.method if request else "-"
            request_id = request.plain_id if request else "-"
            print(f"{connection.address} {method} {path or '-'} {response.status} {request_id}", flush=True)
        self._send(connection)

    def _common_headers(self) -> str:
        now_s = int(time.time())
        if self._common[0] != now_s:
            date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now_s))
            self._common = (now_s, f"Date: {date}\r\nX-Instance: {self._settings.instance}\r\n")
        return self._common[1]

    def _send(self, connection: Connection) -> None:
        try:
            sent = connection.sock.send(connection.unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(connection)
            return
        connection.unsent = connection.unsent[sent:]
        if connection.unsent:
            self._watch(connection, selectors.EVENT_WRITE)
        elif connection.keep_alive:
            self._await_request(connection)
        else:
            self._linger(connection)

    def _linger(self, connection: Connection) -> None:
        connection.phase = LINGERING
        connection.deadline_s = time.monotonic() + LINGER_S
        self._watch(connection, selectors.EVENT_READ)
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the client was faster
            self._drop(connection)

    # Routes of every app

    def _get_health(self, _request: Request) -> Response:
        reason = "draining" if self._draining_since_s is not None else self._failing
        return text(500, reason) if reason else text(200, "ok")

    def _put_health(self, request: Request) -> Response:
        self._failing = request.body.decode("utf-8", "replace").strip() or "told to fail"
        return text(200, f"failing: {self._failing}")

    def _delete_health(self, _request: Request) -> Response:
        self._failing = ""
        return text(200, "ok")

    def _get_metrics(self, _request: Request) -> Response:
        in_flight = sum(c.in_flight for c in self._connections)
        return Response(200, self._metrics.render(in_flight).encode(), "text/plain; version=0.0.4; charset=utf-8")


def call(handler: Handler, request: Request) -> Response:
    """Return the handler's response, or 500 where it fails."""
    try:
        return handler(request)
    except Exception:  # the HTTP edge: one failed request must not end the others
        sys.excepthook(*sys.exc_info())
        return text(500, "this is a bug: see the standard error of the worker")


def text(status: int, line: str, *headers: tuple[str, str]) -> Response:
    """Return a plain text response of one line."""
    return Response(status, f"{line}\n".encode(), headers=headers)


def run(program: str, settings: Settings, routes: Mapping[str, Route], metrics: Metrics) -> None:
    """Serve until asked to stop; ends the process with status 1 and a reason where the port cannot be had."""
    try:
        server = Server(settings, routes, metrics)
    except OSError as error:
        sys.exit(f"{program}: cannot listen on port {settings.port}: {error.strerror}; set PORT to a free one")
    server.serve()
