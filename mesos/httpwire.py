"""HTTP/1.1 as the Mesos drivers need it: requests as bytes, and an incremental parser of responses.

Made for one IO thread that reads whatever has arrived and never blocks: a stream that lasts for weeks on one
connection, pipelined answers to calls on another. The standard library's client can do neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import httptools

from eratos.common.addresses import host_and_port

_HEAD_BYTES_MAX: Final = 64 * 1024


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
        return host_and_port(self.host, self.port)


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
        self._found = _Found()
        self._parser = self._found.parser = httptools.HttpResponseParser(self._found)
        self._head_bytes = 0

    def feed(self, data: bytes) -> Iterator[Head | Body | End]:
        """Yield what ``data`` brings. Raises HttpError. Must be exhausted before it is called again."""
        failure: Exception | None = None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            failure = error
        parts, self._found.parts = self._found.parts, []
        # httptools holds a head for as long as it is not complete.
        self._head_bytes = self._head_bytes + len(data) if self._found.in_head and not parts else 0
        yield from parts
        if failure is not None:
            raise HttpError(f"not an HTTP response: {failure or type(failure).__name__}: {data[:80]!r}")
        if self._head_bytes > _HEAD_BYTES_MAX:
            raise HttpError(f"the head of an HTTP response is longer than {_HEAD_BYTES_MAX} bytes")


class _Found:
    """What httptools' callbacks found, since it was last asked."""

    parser: httptools.HttpResponseParser

    def __init__(self) -> None:
        self.parts: list[Head | Body | End] = []
        self.in_head = True
        self._headers: dict[str, str] = {}
        self._final = False  #: not an interim response

    def on_message_begin(self) -> None:
        self._headers, self.in_head = {}, True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1").strip()

    def on_headers_complete(self) -> None:
        status = int(self.parser.get_status_code())
        self.in_head, self._final = False, status >= 200
        if self._final:
            self.parts.append(Head(status, self._headers))

    def on_body(self, data: bytes) -> None:
        self.parts.append(Body(data))

    def on_message_complete(self) -> None:
        self.in_head = True
        if self._final:
            self.parts.append(End())
