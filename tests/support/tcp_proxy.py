"""A TCP proxy that plays a bad network: it cuts connections, refuses new ones, or swallows the answers."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Self


class TcpProxy:
    """Forwards 127.0.0.1:``port`` to a server on 127.0.0.1 until told otherwise."""

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._refusing = False
        self._swallowing = False
        self._guard = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads = [self._spawn(self._accept)]

    def lead_to(self, port: int) -> None:
        """Have new connections lead to another port; those that there are stay."""
        self._target = ("127.0.0.1", port)

    def drop(self) -> None:
        """Cut every connection; new ones are served."""
        with self._guard:
            for sock in self._open:
                _shut(sock)

    def cut(self) -> None:
        """Cut every connection and refuse new ones until :meth:`restore`."""
        self._refusing = True
        self.drop()

    def swallow_answers(self) -> None:
        """Let requests through and throw the answers away, until :meth:`restore`."""
        self._swallowing = True

    def restore(self) -> None:
        """Serve again. Connections whose answers were swallowed are cut: half an answer must not follow."""
        if self._swallowing:
            self.drop()
        self._swallowing = self._refusing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._refusing = True
        _shut(self._server)
        self._server.close()
        self.drop()
        for thread in self._threads:
            thread.join()

    def _spawn(self, work, *args) -> threading.Thread:  # type: ignore[no-untyped-def]
        thread = threading.Thread(target=work, args=args, daemon=True)
        thread.start()
        return thread

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            if self._refusing:
                near.close()
                continue
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            with self._guard:
                self._open |= {near, far}
            self._threads.append(self._spawn(self._serve, near, far))

    def _serve(self, near: socket.socket, far: socket.socket) -> None:
        back = self._spawn(self._pump, far, near, True)
        self._pump(near, far, False)
        back.join()
        with self._guard:
            self._open -= {near, far}
        near.close()
        far.close()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        try:
            while data := source.recv(65536):
                if not (answers and self._swallowing):
                    sink.sendall(data)
        except OSError:
            pass
        _shut(source)
        _shut(sink)


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # closed by the other side already
