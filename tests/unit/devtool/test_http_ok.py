"""The health check of the cluster's containers, on a server that listens here."""

from __future__ import annotations

import http.server
import os
import subprocess
import threading
from pathlib import Path

import pytest
from support.folders import ROOT

SCRIPT = ROOT / "compose-dev" / "images" / "http-ok"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"])
def test_a_part_is_well_where_it_listens_be_that_its_own_address_alone(tmp_path: Path, address: str) -> None:
    own = tmp_path / "own-address"
    own.write_text("#!/bin/sh\necho 127.0.0.2\n")
    own.chmod(0o755)
    server = http.server.ThreadingHTTPServer((address, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = str(server.server_address[1])
    try:
        env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        codes = [
            subprocess.run(["bash", str(SCRIPT), port, path], env=env, timeout=30, check=False).returncode
            for path in ("/health", "/nothing")
        ]
    finally:
        server.shutdown()
        server.server_close()
    assert codes[0] == 0 and codes[1] != 0
