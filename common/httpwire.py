"""HTTP/1.1 as the Mesos drivers need it: requests as bytes, and an incremental parser of responses.

Made for one IO thread that reads whatever has arrived and never blocks: a stream that lasts for weeks on one
connection, pipelined answers to calls on another. The standard library's client can do neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_HEAD_BYTES_MAX: Final = 64 * 1024
_LINE_BYTES_MAX: Final = 4096


class HttpError(ValueError):
    """What arrived is not an HTTP/1.x response; the connection is of no more use."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens."""

    host: str
    port: int
    tls: bool = False

    @classmethod
    def parse(cls, text: str, default_port: int) -> Endpoint:
        """Read ``host``, ``host:port``, ``[IPv6]:port``, any of them after ``http://``, ``https://`` or ``//``.

        A path is ignored. Raises ValueError naming the text.
        """
        scheme, _, rest = text.strip().rpartition("//")
        if scheme not in ("", "http:", "https:"):
            raise ValueError(f"not an address: {text!r} (want host:port)")
        authority = rest.split("/", 1)[0].rpartition("@")[2]
        host, port = authority, str(default_port)
        if authority.startswith("["):
            host, bracket, tail = authority[1:].partition("]")
            if not bracket or (tail and not tail.startswith(":")):
                raise ValueError(f"not an address: {text!r} (want [IPv6]:port)")
            port = tail[1:] or port
        elif ":" in authority:
            host, _, port = authority.partition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"not an address: {text!r} (want host:port, an IPv6 address in brackets)")
        return cls(host, int(port), tls=scheme == "https:")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def request_head(path: str, endpoint: Endpoint, headers: Mapping[str, str]) -> bytes:
    """Return a POST request of a JSON body up to and without the length of the body; see :func:`request`."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {endpoint}", "Content-Type: application/json", "Accept: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("line break in an HTTP header")
    return ("\r\n".join(lines) + "\r\nContent-Length: ").encode("latin-1")


def request(head: bytes, body: bytes) -> bytes:
    """Complete a head made by :func:`request_head`."""
    return b"%b%d\r\n\r\n%b" % (head, len(body), body)


@dataclass(frozen=True, slots=True)
class Head:
    """Begin of a response. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Body:
    """A piece of a response's body."""

    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The response is complete."""


class ResponseParser:
    """Parses the responses of one connection, one after another. Interim responses (1xx) are skipped."""

    def __init__(self) -> None:
        self._unread = b""  # an incomplete head or line, bounded by _HEAD_BYTES_MAX
        self._state = "head"
        self._missing = 0

    def feed(self, data: bytes) -> Iterator[Head | Body | End]:
        """Yield what ``data`` brings. Raises HttpError. Must be exhausted before it is called again."""
        data = self._unread + data if self._unread else data
        self._unread = b""
        position = 0
        while position < len(data):
            if self._state in ("length", "chunk", "until close"):
                piece = data[position:] if self._state == "until close" else data[position : position + self._missing]
                position += len(piece)
                self._missing -= len(piece)
                yield Body(piece)
                if self._missing == 0 and self._state == "length":
                    self._state = "head"
                    yield End()
                elif self._missing == 0 and self._state == "chunk":
                    self._state = "chunk end"
                continue
            separator, limit = (b"\r\n\r\n", _HEAD_BYTES_MAX) if self._state == "head" else (b"\r\n", _LINE_BYTES_MAX)
            end = data.find(separator, position)
            if (len(data) if end < 0 else end) - position > limit:
                raise HttpError(f"a line or head of an HTTP response is longer than {limit} bytes")
            if end < 0:
                self._unread = data[position:]
                return
            text = data[position:end]
            position = end + len(separator)
            yield from self._head(text) if self._state == "head" else self._line(text)

    def _head(self, text: bytes) -> Iterator[Head | End]:
        first, *lines = text.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        code = rest[:3]
        if not version.startswith("HTTP/1.") or not code.isdigit():
            raise HttpError(f"not an HTTP response: {first[:80]!r}")
        headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise HttpError(f"not an HTTP header: {line[:80]!r}")
            headers[name.strip().lower()] = value.strip()
        status = int(code)
        if status < 200:
            return
        yield Head(status, headers)
        if headers.get("transfer-encoding", "").lower() == "chunked":
            self._state = "size"
            return
        length = headers.get("content-length", "")
        if status in (204, 304) or length == "0":
            yield End()
        elif length.isdigit():
            self._state, self._missing = "length", int(length)
        elif length:
            raise HttpError(f"not a content length: {length[:80]!r}")
        else:
            self._state, self._missing = "until close", -1

    def _line(self, text: bytes) -> Iterator[End]:
        if self._state == "size":
            digits = text.split(b";", 1)[0].strip()
            try:
                # int() would also take signs and underscores
                if not digits.isalnum():
                    raise ValueError
                self._missing = int(digits, 16)
            except ValueError:
                raise HttpError(f"not a chunk size: {text[:80]!r}") from None
            self._state = "chunk" if self._missing else "trailer"
        elif self._state == "chunk end":
            if text:
                raise HttpError(f"a chunk is longer than announced: {text[:80]!r}")
            self._state = "size"
        elif not text:  # trailers are ignored; an empty line ends them
            self._state = "head"
            yield End()
