"""A private image registry with one tiny image, as far as ``docker pull`` can tell (the distribution project's API)."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@dataclass
class Registry:
    """What is served, and who may have it."""

    user: str
    password: str
    blobs: dict[str, bytes]
    manifest: bytes
    port: int = 0
    trickles: bool = False  #: layers and the like come a byte at a time
    authorizations: list[str] = field(default_factory=list)  #: as they came

    @property
    def image(self) -> str:
        return f"127.0.0.1:{self.port}/private/tiny:1"

    @property
    def by_digest(self) -> str:
        return f"{self.image.rpartition(':')[0]}@{_digest(self.manifest)}"

    def login(self) -> str:
        """Return the config.json that docker login would have left."""
        return json.dumps({"auths": {f"127.0.0.1:{self.port}": {"auth": self._basic()}}})

    def allows(self, authorization: str) -> bool:
        return authorization == f"Basic {self._basic()}"

    def _basic(self) -> str:
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


@contextmanager
def registry(user: str, password: str) -> Iterator[Registry]:
    """Serve a registry on 127.0.0.1, from where Docker takes images without TLS."""
    found = _tiny(user, password)
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            authorization = self.headers.get("Authorization", "")
            found.authorizations.append(authorization)
            blob = found.blobs.get(self.path.rpartition("/")[2])
            if not found.allows(authorization):
                self._answer(401, b"{}", "application/json")
            elif self.path == "/v2/":
                self._answer(200, b"{}", "application/json")
            elif "/manifests/" in self.path:
                self._answer(200, found.manifest, MANIFEST)
            elif blob is not None:
                self._answer(200, blob, "application/octet-stream")
            else:
                self._answer(404, b"{}", "application/json")

        do_HEAD = do_GET  # noqa: N815

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", _digest(body))
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="test"')
            self.end_headers()
            if self.command != "GET":
                return
            if found.trickles and kind == "application/octet-stream":
                for position in range(len(body)):
                    if over.wait(0.2):
                        return
                    self.wfile.write(body[position : position + 1])
            else:
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found
        finally:
            over.set()
            server.shutdown()
            thread.join()


def _tiny(user: str, password: str) -> Registry:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        # Of this test alone: an image that a test before left behind would count as pulled already.
        content = uuid.uuid4().bytes
        entry = tarfile.TarInfo("tiny")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    layer = gzip.compress(buffer.getvalue(), mtime=0)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/tiny"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(buffer.getvalue())]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _entry("application/vnd.docker.container.image.v1+json", config),
            "layers": [_entry("application/vnd.docker.image.rootfs.diff.tar.gzip", layer)],
        }
    ).encode()
    return Registry(user, password, {_digest(config): config, _digest(layer): layer}, manifest)


def _entry(kind: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": kind, "size": len(blob), "digest": _digest(blob)}


def _digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()
