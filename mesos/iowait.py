"""Waiting for sockets on one thread that other threads can wake, and non-blocking connections, with TLS or without.

Used by :mod:`subscription`. Nothing in here blocks but :meth:`IoWait.wait` and :meth:`IoWait.pause`, which end at once
on :meth:`IoWait.wake`; so a stop is never held up by a host that does not answer.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Final

from .httpwire import Endpoint

_RECV_BYTES: Final = 256 * 1024
_SEND_BYTES: Final = 256 * 1024


class IoWait:
    """``check`` is called after every wait and ends the work at hand by raising."""

    def __init__(self, check: Callable[[], None], now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self._check = check
        self._ready: dict[int, int] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)

    def wake(self) -> None:
        """End the present wait or pause, or else the next one. From any thread, also after :meth:`close`."""
        with self._lock:
            if not self._closed:
                try:
                    os.write(self._wake_out, b"\0")
                except BlockingIOError:
                    pass  # it has wake-ups enough

    def close(self) -> None:
        with self._lock:
            self._closed = True
            os.close(self._wake_in)
            os.close(self._wake_out)

    def pause(self, seconds: float | None) -> None:
        """Wait for a wake-up; None: however long it takes."""
        if seconds is None or seconds > 0:
            select.select([self._wake_in], [], [], seconds)
        self._read_wake_ups()

    def _read_wake_ups(self) -> None:
        try:
            os.read(self._wake_in, 4096)
        except BlockingIOError:
            pass

    def wait(self, deadline: float, *, read: tuple[socket.socket, ...] = (), write: socket.socket | None = None) -> bool:
        """Wait until a socket is ready, until woken, or until ``deadline``; returns whether a socket is ready."""
        poller = select.poll()
        poller.register(self._wake_in, select.POLLIN)
        wanted = {sock.fileno(): select.POLLIN for sock in read}
        if write is not None:
            wanted[write.fileno()] = wanted.get(write.fileno(), 0) | select.POLLOUT
        for descriptor, mask in wanted.items():
            poller.register(descriptor, mask)
        # Bytes that TLS has decrypted already do not show on the socket.
        buffered = any(isinstance(sock, ssl.SSLSocket) and sock.pending() > 0 for sock in read)
        self._ready = dict(poller.poll(0 if buffered else max(0, int((deadline - self.now()) * 1000) + 1)))
        if self._ready.pop(self._wake_in, 0):
            self._read_wake_ups()
        self._check()
        return bool(self._ready) or buffered

    def connect(self, endpoint: Endpoint, timeout_s: float, tls: ssl.SSLContext | None) -> socket.socket:
        """Return a non-blocking connection. Raises OSError; all addresses of the host are tried within the time."""
        deadline = self.now() + timeout_s
        error = OSError(f"{endpoint.host} has no address")
        found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in found:
            sock = socket.socket(family, kind, protocol)
            try:
                self._establish(sock, address, endpoint, deadline)
                return self._encrypted(sock, endpoint, deadline, tls) if endpoint.tls else sock
            except OSError as failure:
                sock.close()
                error = failure
            except BaseException:
                sock.close()
                raise
        raise error

    def _establish(self, sock: socket.socket, address: tuple[object, ...], endpoint: Endpoint, deadline: float) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        code = sock.connect_ex(address)
        if code == errno.EINPROGRESS:
            while not self.wait(deadline, write=sock):
                if self.now() >= deadline:
                    raise TimeoutError(f"no connection to {endpoint} within the time")
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, f"{os.strerror(code)} ({endpoint})")

    def _encrypted(self, sock: socket.socket, endpoint: Endpoint, deadline: float, tls: ssl.SSLContext | None) -> ssl.SSLSocket:
        context = tls or ssl.create_default_context()
        encrypted = context.wrap_socket(sock, server_hostname=endpoint.host, do_handshake_on_connect=False)
        try:
            while True:
                try:
                    encrypted.do_handshake()
                    return encrypted
                except ssl.SSLWantReadError:
                    self.wait(deadline, read=(encrypted,))
                except ssl.SSLWantWriteError:
                    self.wait(deadline, write=encrypted)
                if self.now() >= deadline:
                    raise TimeoutError(f"no TLS handshake with {endpoint} within the time")
        except BaseException:
            encrypted.close()
            raise

    def writable(self, sock: socket.socket) -> bool:
        return bool(self._ready.get(sock.fileno(), 0) & select.POLLOUT)

    def read(self, sock: socket.socket) -> bytes | None:
        """Return what has arrived on a socket that was waited for: None nothing yet, empty where the peer closed."""
        if not self._ready.get(sock.fileno(), 0) & ~select.POLLOUT and not isinstance(sock, ssl.SSLSocket):
            return None
        try:
            return sock.recv(_RECV_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None

    @staticmethod
    def write(sock: socket.socket, data: memoryview) -> int:
        """Send what the socket takes; returns how many bytes that were."""
        try:
            return sock.send(data[:_SEND_BYTES])
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
