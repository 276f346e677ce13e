"""An app whose server waits instead of computing: for POSTs, and for clients that stay, with WebSockets and long polls.

``/`` answers any method after 0.1 s, ``/wait`` after an hour; with an upgrade it becomes a WebSocket that never says anything.
"""

from __future__ import annotations

import base64
import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

_SERVER = """
import asyncio, os

INSTANCE = os.environ["MESOS_TASK_ID"].encode()

async def serve(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\\r\\n\\r\\n")).decode().lower()
            method, path = head.split()[:2]
            if "upgrade: websocket" in head:
                writer.write(b"HTTP/1.1 101 -\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n")
                writer.write(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\\r\\n\\r\\n")
                await reader.read()
                break
            if path != "/health":
                await asyncio.sleep(3600 if path == "/wait" else 0.1)
            writer.write(b"HTTP/1.1 200 OK\\r\\nX-Instance: %s\\r\\nContent-Length: 3\\r\\n\\r\\nok\\n" % INSTANCE)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()

async def main():
    await asyncio.start_server(serve, "", int(os.environ["PORT0"]))
    await asyncio.Event().wait()

asyncio.run(main())
"""
_ENCODED = base64.b64encode(_SERVER.encode()).decode()
COMMAND = f"exec python3 -c 'import base64; exec(base64.b64decode(\"{_ENCODED}\"))'"
#: The balancer's image, for its Python: the worker's has no more of the standard library than a worker needs.
CONTAINER = {"type": "DOCKER", "docker": {"image": "eratos/balancer"}}

_UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def app(**changes: Any) -> dict[str, Any]:
    """Return what makes of a fleet of :class:`_fleet.Fleet` such servers."""
    return {"cmd": COMMAND, "container": CONTAINER, **changes}


@contextlib.contextmanager
def staying_clients(urls: Sequence[str], host: str) -> Iterator[None]:
    """Keep a WebSocket, a long poll and an HTTP/2 client with a request under way open, through each of the balancers."""
    path = b"/wait"
    # GET and http by their numbers in HPACK's static table, path and host as they are.
    head = b"\x82\x86\x04" + bytes([len(path)]) + path + b"\x01" + bytes([len(host)]) + host.encode()
    stream = len(head).to_bytes(3) + b"\x01\x05" + (1).to_bytes(4) + head
    first = f"GET /wait HTTP/1.1\r\nHost: {host}\r\n"
    with contextlib.ExitStack() as stack:
        for url in map(urlsplit, urls):
            for request in (f"{first}\r\n".encode(), f"{first}{_UPGRADE}\r\n".encode(), _HTTP2 + stream):
                client = socket.create_connection((url.hostname or "", url.port or 80), timeout=10)
                stack.callback(client.close)
                client.sendall(request)
        yield
