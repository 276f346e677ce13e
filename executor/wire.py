"""The least of an HTTP client over asyncio: one request on a connection of its own. For probes and balancers' companions.

http.client would need a thread for each request, and a full asyncio client more memory than all of this process's own code.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

#: A longer answer is cut: nobody here needs more.
BODY_MAX = 64 * 1024
_HEADERS_MAX = 100


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes


async def request(
    host: str,
    port: int,
    path: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    tls: ssl.SSLContext | None = None,
    with_body: bool = True,
) -> Response:
    """Make one request; set a timeout around it.

    Raises OSError, ValueError (the answer is no HTTP) or asyncio.IncompleteReadError (it is cut short).
    """
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    try:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}:{port}", "User-Agent: eratos-executor", "Accept: */*"]
        lines.append("Connection: close")
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        writer.write("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        status = _status(await reader.readline())
        return Response(status, await _body(reader) if with_body else b"")
    finally:
        # No waiting for the other side's goodbye: it may never come.
        writer.transport.abort() if tls is not None else writer.close()


def _status(line: bytes) -> int:
    parts = line.split(None, 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/") or not parts[1].isdigit():
        raise ValueError(f"the answer is no HTTP: {line[:50]!r}" if line else "the connection was closed without an answer")
    return int(parts[1])


async def _body(reader: asyncio.StreamReader) -> bytes:
    length: int | None = None
    for _ in range(_HEADERS_MAX):
        line = await reader.readline()
        if line in (b"\r\n", b"\n", b""):
            break
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
    if length is not None:
        return await reader.readexactly(min(length, BODY_MAX))
    return await reader.read(BODY_MAX)
