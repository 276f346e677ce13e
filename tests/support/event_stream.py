"""A small HTTP server that streams RecordIO events, the ground of the simulated master and the simulated agent.

It lives on a real socket of 127.0.0.1 and can do what a real peer does only in bad moments: not answer, break a frame,
cut or freeze a connection. Every request is recorded; tests await conditions on the record instead of sleeping.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from eratos.common.addresses import host_and_port
from eratos.mesos import recordio

T = TypeVar("T")

#: Longest wait for a condition; only a failing test waits so long.
WAIT_S = 60.0


@dataclass
class Request:
    """One request as it came."""

    connection: Connection
    headers: dict[str, str]  #: names in lower case
    call: dict[str, Any]

    @property
    def type(self) -> str:
        return str(self.call.get("type", ""))

    @property
    def content(self) -> dict[str, Any]:
        """The part of the call that its type names."""
        return dict(self.call.get(self.type.lower(), {}))


@dataclass
class Connection:
    """One accepted connection; an event stream after :meth:`begin_stream`."""

    sock: socket.socket
    streaming: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)

    def respond(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        lines = [f"HTTP/1.1 {status} Simulated", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def begin_stream(self, headers: dict[str, str]) -> None:
        lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", "Transfer-Encoding: chunked"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        self.streaming = True

    def event(self, event: dict[str, Any]) -> None:
        self.chunk(recordio.encode(json.dumps(event).encode()))

    def chunk(self, data: bytes) -> None:
        self.write(b"%x\r\n%b\r\n" % (len(data), data))

    def write(self, data: bytes) -> None:
        with self.lock, contextlib.suppress(OSError):  # the peer may be gone: its business
            self.sock.sendall(data)

    def cut(self) -> None:
        """Close the connection, as a dying process does."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


class EventStreamServer:
    """Accepts, reads requests and hands each to :meth:`handle`, one at a time."""

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family)
        self._tls = tls
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self.changed = threading.Condition(threading.RLock())
        self.connections: list[Connection] = []
        self.requests: list[Request] = []
        self._start(self._listen)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def address(self) -> str:
        host = self._listener.getsockname()[0]
        return host_and_port(host, self.port)

    def handle(self, request: Request) -> None:
        """Answer a request; called under ``changed``."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop listening, cut every connection and wait for every thread."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self.connections):
            connection.cut()
        for thread in self._threads:
            thread.join(WAIT_S)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def until(self, condition: Callable[[], T], what: str = "the condition holds") -> T:
        """Return the condition's first true value; it is looked at whenever something arrived. AssertionError in vain."""
        with self.changed:
            if not self.changed.wait_for(condition, WAIT_S):
                raise AssertionError(f"waited in vain until {what}; calls so far: {[r.type for r in self.requests]}")
            return condition()

    def calls(self, kind: str) -> list[Request]:
        """Return the requests of one type so far."""
        with self.changed:
            return [request for request in self.requests if request.type == kind]

    def await_call(self, kind: str, count: int = 1) -> Request:
        """Return the ``count``-th call of a type, once it arrived."""
        return self.until(lambda: self.calls(kind)[count - 1 : count], f"{kind} number {count} arrives")[0]

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        while not self._stopping:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            connection = Connection(sock)
            with self.changed:
                self.connections.append(connection)
            with sock.makefile("rb") as reader:
                for headers, body in _read_requests(reader):
                    with self.changed:
                        request = Request(connection, headers, json.loads(body))
                        self.requests.append(request)
                        self.handle(request)
                        self.changed.notify_all()
        except OSError:
            pass  # the peer left
        finally:
            sock.close()
            with self.changed:
                self.connections = [c for c in self.connections if c.sock is not sock]
                self.left(sock)
                self.changed.notify_all()

    def left(self, sock: socket.socket) -> None:
        """A connection ended; called under ``changed``."""


def _read_requests(reader: Any) -> Iterator[tuple[dict[str, str], bytes]]:
    while reader.readline():
        headers = {}
        while (line := reader.readline().strip()) != b"":
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        yield headers, reader.read(int(headers["content-length"]))
