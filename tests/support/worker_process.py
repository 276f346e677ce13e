"""Runs the sample apps of worker/ the way their images do: as processes on a port of their own."""

from __future__ import annotations

import http.client
import importlib.util
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from types import ModuleType

from .folders import ROOT

FOLDER = ROOT / "worker"
PATIENCE_S = 60.0


def load(name: str) -> ModuleType:
    """Import one of the worker's modules that needs none of the others, leaving its plain name to whoever wants it."""
    spec = importlib.util.spec_from_file_location(f"worker_{name}", FOLDER / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll until the condition holds; fail after PATIENCE_S."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {PATIENCE_S:g} s in vain until {what}"
        time.sleep(0.005)


def environment(settings: dict[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PORT": "0", **settings}


class WorkerProcess:
    """A running app. ``limits`` overrides constants of serving.py, to test timeouts without waiting for them."""

    def __init__(self, program: str = "prime", limits: dict[str, float] | None = None, **settings: str) -> None:
        code = "".join(f"serving.{name} = {value}; " for name, value in (limits or {}).items())
        code = f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import serving, {program}; {code}{program}.main()"
        self.process = subprocess.Popen(
            [sys.executable, "-ESc", code],
            env=environment(settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
        assert ready, f"{program} did not start within {PATIENCE_S:g} s"
        self.first_line = self.process.stdout.readline()
        if not self.first_line:
            raise AssertionError(f"{program} did not start: {self.process.communicate()[1]}")
        self.port = int(self.first_line.split()[-1])

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def get(self, path: str = "/", method: str = "GET", body: str | None = None, **headers: str) -> Answer:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read().decode())
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    def raw(self, sent: bytes) -> bytes:
        """Send bytes as they are and return everything that comes until the server closes."""
        with self.connect() as sock:
            sock.sendall(sent)
            return read_to_end(sock)

    def in_flight(self) -> int:
        """Return the requests in flight besides the one that asks."""
        return int(self.metric("worker_requests_in_flight")) - 1

    def metric(self, name: str) -> float:
        line = next(line for line in self.get("/metrics").body.splitlines() if line.startswith(f"{name} "))
        return float(line.split()[1])

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def exit_code(self) -> int:
        return self.process.wait(PATIENCE_S)

    def output(self) -> tuple[str, str]:
        """Return what the process wrote after its first line, once it has ended."""
        return self.process.communicate(timeout=PATIENCE_S)


class Answer:
    """A response, read to its end."""

    def __init__(self, status: int, headers: http.client.HTTPMessage, body: str) -> None:
        self.status = status
        self.headers = headers
        self.body = body


def read_to_end(sock: socket.socket) -> bytes:
    received = b""
    while chunk := sock.recv(65536):
        received += chunk
    return received


def run_to_end(program: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run an app that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-ES", str(FOLDER / f"{program}.py")],
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
