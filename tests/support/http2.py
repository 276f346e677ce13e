"""As much of an HTTP/2 client as it takes to keep streams open, by prior knowledge over plain TCP. RFC 9113, RFC 7541."""

from __future__ import annotations

import socket
import struct
from typing import Self

HEADERS, SETTINGS, PING, GOAWAY, DATA = 1, 4, 6, 7, 0
END_STREAM, END_HEADERS, ACK = 1, 4, 1
#: ``:status: 200`` in HPACK's static table.
_STATUS_200 = 0x88


class Http2:
    """One connection. Not for several threads."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._received = b""
        self._stream = -1
        self.told_to_leave = False
        self._statuses: dict[int, int] = {}
        self._ended: set[int] = set()
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self._send(SETTINGS, 0, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def get(self, path: str) -> int:
        """Open a stream and return its id; :meth:`ok` has its answer."""
        self._stream += 2
        # GET, http and / are in the static table; a path of one's own and the host are literals beside their names.
        head = b"\x82\x86" + b"\x04" + bytes([len(path)]) + path.encode() + b"\x01\x01x"
        self._send(HEADERS, END_STREAM | END_HEADERS, self._stream, head)
        return self._stream

    def ok(self, stream: int) -> bool:
        """Wait for the end of a stream; return whether its status is 200. ConnectionError where it never ends."""
        while stream not in self._ended:
            self._receive()
        return self._statuses.get(stream) == _STATUS_200

    def await_goaway(self) -> None:
        while not self.told_to_leave:
            self._receive()

    def _send(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
        self._socket.sendall(struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload)

    def _receive(self) -> None:
        head = self._exactly(9)
        payload = self._exactly(int.from_bytes(head[:3]))
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:])
        if kind == GOAWAY:
            self.told_to_leave = True
        elif kind in (SETTINGS, PING) and not flags & ACK:
            self._send(kind, ACK, 0, payload if kind == PING else b"")
        elif kind == HEADERS:
            # A change of the table's size may come first.
            self._statuses[stream] = next(byte for byte in payload if byte & 0xE0 != 0x20)
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            self._ended.add(stream)

    def _exactly(self, count: int) -> bytes:
        while len(self._received) < count:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("the connection has ended")
            self._received += data
        taken, self._received = self._received[:count], self._received[count:]
        return taken
