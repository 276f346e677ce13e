"""The front app: a page that another app's instances make, found by what eratos gives it of a requirement.

It goes by the list that was in its environment when it started, and by the file of the same name from the first SIGHUP on. Each
request asks one instance, another one each time, and the next one where that cannot be reached; 502 where none can.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable

import serving
from http1 import Request, Response
from metrics import Metrics
from settings import Settings

CONNECT_S = 1.0
ANSWER_S = 10.0
ANSWER_BYTES_MAX = 64 * 1024


def ask(endpoint: str) -> tuple[int, bytes]:
    """Return status and body of the page of an instance. Raises OSError, ValueError."""
    host, _, port = endpoint.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), CONNECT_S) as connection:
        connection.settimeout(ANSWER_S)
        connection.sendall(f"GET / HTTP/1.0\r\nHost: {endpoint}\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while len(received) < ANSWER_BYTES_MAX and (piece := connection.recv(ANSWER_BYTES_MAX)):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split(None, 2)[1]), body


class Upstream:
    """The instances that are asked, in turn."""

    def __init__(self, name: str, environ: dict[str, str]) -> None:
        # By hand: python3-minimal, which the image is made of, has no pathlib.
        self.file = f"{environ.get('MESOS_SANDBOX', '.')}/requires/{name}"
        given = environ.get("REQUIRE_" + name.upper().replace("-", "_"), "")
        self._endpoints = [endpoint for endpoint in given.split(";") if endpoint]
        self._stale = False
        self._turn = 0

    def read_again(self, *_: object) -> None:
        """Have the next request take the list that is in the file then: nothing else is safe in a signal's handler."""
        self._stale = True

    @property
    def endpoints(self) -> list[str]:
        if self._stale:
            self._stale = False
            with open(self.file, encoding="ascii") as file:  # noqa: PTH123
                self._endpoints = file.read().split()
        return self._endpoints

    def answer(self, _request: Request) -> Response:
        endpoints = self.endpoints
        self._turn += 1
        for index in range(len(endpoints)):
            try:
                status, body = ask(endpoints[(self._turn + index) % len(endpoints)])
            except (OSError, ValueError, IndexError):
                continue
            return Response(status, body)
        return Response(502, f"none of {len(endpoints)} instances answers\n".encode())

    def list(self, _request: Request) -> Response:
        return Response(200, "".join(f"{endpoint}\n" for endpoint in self.endpoints).encode())


def main() -> None:
    """Read the settings and serve."""
    settings = Settings(os.environ)
    name = settings.text("REQUIRES") or "db"
    settings.check("front")
    upstream = Upstream(name, dict(os.environ))
    signal.signal(signal.SIGHUP, upstream.read_again)
    answer: Callable[[Request], Response] = upstream.answer
    routes = {"/": serving.Route({"GET": answer}, slow=True), "/endpoints": serving.Route({"GET": upstream.list})}
    serving.run("front", settings, routes, Metrics())


if __name__ == "__main__":
    main()
