"""A part of eratos that the scheduler asks by HTTP, as far as a test of the API needs one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Part:
    """Answers one path with ``body``, JSON unless it is bytes, and remembers what it was shown as ``Authorization``."""

    def __init__(self, path: str, body: Any, elsewhere: int) -> None:
        """``elsewhere``: the status of other paths."""
        self.status = 200
        self.body = body
        self.shown: list[str] = []
        part = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                part.shown.append(self.headers.get("Authorization", ""))
                self.send_response(part.status if self.path == path else elsewhere)
                self.end_headers()
                self.wfile.write(part.body if isinstance(part.body, bytes) else json.dumps(part.body).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]


@contextmanager
def a_part(path: str, body: Any, elsewhere: int) -> Iterator[Part]:
    """Serve a part until the block ends."""
    made = Part(path, body, elsewhere)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()
