"""A balancer's companion without a balancer, and any other small HTTP server a test of the executor needs."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, bytes]


@contextmanager
def serve(answer: Callable[[str, str, bytes], Answer], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve ``answer(method, path, body)`` on a port of 127.0.0.1 and yield the port."""

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            status, body = answer(self.command, self.path, self.rfile.read(int(self.headers.get("Content-Length", 0))))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = _handle  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a caller that lost patience

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class FakeCompanion:
    """Says what docs/companion.md promises of a companion; tests set what is in use."""

    def __init__(self) -> None:
        self.used: dict[str, int] = {}  #: requests by service id in use
        self.rotation: set[str] = set()  #: ids of an app's servers, all of them usable
        self.confirmed: list[str] = []
        self.asked: list[str] = []
        self.broken = False
        self.tells_last = True  #: unlike versions before

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        if self.broken:
            return 500, b"{}"
        if (method, path) == ("POST", "/confirm"):
            self.confirmed += json.loads(body)["services"]
            return 200, json.dumps({"confirmed": len(self.confirmed)}).encode()
        service_id = path.removeprefix("/servers/")
        self.asked.append(service_id)
        found = {"server": service_id, "used": service_id in self.used, "requests": self.used.get(service_id, 0)}
        stays = self.rotation - {service_id, *self.confirmed}
        last = {"last": service_id in self.rotation and not stays} if self.tells_last else {}
        return 200, json.dumps(found | {"configured": service_id in self.used} | last).encode()
