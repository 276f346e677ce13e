"""HTTP/1.1 messages, pure: received bytes to requests, responses to bytes.

Called by serving.py; knows no socket and no clock. Written by hand because http.server costs more than all the rest of
the worker: 35 ms of CPU and 8 MB to import (Python 3.13), where twenty workers start at once on two cores.
Strict where leniency would let two parsers disagree about where a request ends (RFC 9112, sections 2.2, 5 and 6).
"""

from __future__ import annotations

from collections import namedtuple

HEAD_MAX = 16 * 1024  #: bytes of request line and headers; more is answered 431
ID_MAX = 64  #: characters of a request's id
BODY_MAX = 8 * 1024  #: bytes of a request's body; more is answered 413

REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    411: "Length Required",
    413: "Content Too Large",
    414: "URI Too Long",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    505: "HTTP Version Not Supported",
}

#: ``headers`` is a tuple of (name, value) pairs, for what differs from route to route.
Response = namedtuple("Response", "status body content_type headers", defaults=("text/plain; charset=utf-8", ()))

_ID = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_VISIBLE = frozenset(range(0x21, 0x7F))
_VALUE = frozenset(range(0x20, 0x7F)) | frozenset(range(0x80, 0x100)) | {0x09}


class RefusedError(Exception):
    """A request that gets an error status and ends its connection, since it is unsure where a next one would begin."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Request:
    """One request. Header names are lower case; values of repeated headers are joined with commas."""

    __slots__ = ("body", "headers", "keep_alive", "length", "method", "path")

    def __init__(self, method: str, path: str, headers: dict[str, str], keep_alive: bool, length: int) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.keep_alive = keep_alive
        self.length = length  #: bytes of body announced
        self.body = b""

    @property
    def plain_id(self) -> str:
        """Return the id that a balancer gave the request, or ``-``: whoever asks without a balancer may send anything."""
        value = self.headers.get("x-request-id", "")
        return value if 0 < len(value) <= ID_MAX and _ID.issuperset(value) else "-"

    @property
    def waits_for_continue(self) -> bool:
        """Return whether the client holds its body back until it is asked to go on."""
        return self.headers.get("expect", "").lower() == "100-continue"


def take_head(received: bytearray) -> Request | None:
    """Remove one request's head from the front of ``received``; None while it is incomplete. Raises RefusedError."""
    while received.startswith(b"\r\n"):  # RFC 9112 2.2: tolerate empty lines before the request line
        del received[:2]
    end = received.find(b"\r\n\r\n", 0, HEAD_MAX)
    if end < 0:
        if len(received) < HEAD_MAX:
            return None
        if received.find(b"\r\n", 0, HEAD_MAX) < 0:
            raise RefusedError(414, f"the request line must be shorter than {HEAD_MAX} bytes")
        raise RefusedError(431, f"request line and headers must be shorter than {HEAD_MAX} bytes")
    lines = bytes(received[:end]).split(b"\r\n")
    del received[: end + 4]
    method, path, version = _request_line(lines[0])
    headers = _headers(lines[1:])
    if version == "HTTP/1.1" and "host" not in headers:
        raise RefusedError(400, "an HTTP/1.1 request needs a Host header")
    options = [option.strip() for option in headers.get("connection", "").lower().split(",")]
    keep_alive = "close" not in options if version == "HTTP/1.1" else "keep-alive" in options
    return Request(method, path, headers, keep_alive, _length(headers))


def _request_line(line: bytes) -> tuple[str, str, str]:
    parts = line.split(b" ")
    if len(parts) != 3 or not all(parts):
        raise RefusedError(400, "the request line must read: method target version")
    method, target, version = parts
    if not _TOKEN.issuperset(method) or not _VISIBLE.issuperset(target) or not version.startswith(b"HTTP/"):
        raise RefusedError(400, "the request line must read: method target version")
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise RefusedError(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    path = target.decode("ascii").partition("?")[0]
    if path[:7].lower() == "http://":  # RFC 9112 3.2.2: servers must accept the absolute form
        path = "/" + path[7:].partition("/")[2]
    return method.decode("ascii"), path, version.decode("ascii")


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        # Blanks in the name mean a folded line or "Content-Length : 5", both ways to smuggle a request (RFC 9112 5).
        if not colon or not name or not _TOKEN.issuperset(name) or not _VALUE.issuperset(value):
            raise RefusedError(400, "a header line must read: name: value")
        key = name.decode("ascii").lower()
        text = value.decode("latin-1").strip(" \t")
        if key == "host" and key in headers:
            raise RefusedError(400, "a request must not have two Host headers")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _length(headers: dict[str, str]) -> int:
    text = headers.get("content-length")
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if text is not None:
            raise RefusedError(400, "a request must not have both Content-Length and Transfer-Encoding")
        if coding.lower() == "chunked":
            raise RefusedError(411, "send the body with a Content-Length")
        raise RefusedError(501, "this transfer coding is not supported; send the body with a Content-Length")
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise RefusedError(400, "Content-Length must be one decimal number")
    if int(text) > BODY_MAX:
        raise RefusedError(413, f"a body must not be longer than {BODY_MAX} bytes")
    return int(text)


def encode(response: Response, common: str, *, head_only: bool, keep_alive: bool) -> bytes:
    """Encode a response. ``common`` holds the header lines that every response carries, each ended with CRLF."""
    connection = "keep-alive" if keep_alive else "close"
    extra = "".join(f"{name}: {value}\r\n" for name, value in response.headers)
    head = (
        f"HTTP/1.1 {response.status} {REASONS[response.status]}\r\n{common}Content-Type: {response.content_type}\r\n"
        f"Content-Length: {len(response.body)}\r\n{extra}Connection: {connection}\r\n\r\n"
    ).encode("latin-1")
    return head if head_only else head + response.body
