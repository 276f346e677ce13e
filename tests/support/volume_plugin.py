"""A plugin of Docker's for volumes, and the program in it: each volume is a folder of the plugin's, as of a storage elsewhere.

It is one that Docker itself manages: of a plugin that is only a socket Docker remembers the name after its end, and asks it in
vain at each listing of volumes. The program speaks Docker's protocol for them over a Unix socket (docs.docker.com,
engine/extend/plugins_volume), with the standard library alone, and runs in the file system of an image of the project's.
"""

from __future__ import annotations

import json
import socketserver
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

SOCKET = "/run/docker/plugins/volumes.sock"
DATA = "/data"
_PROGRAM = "/volume_plugin.py"
_TIMEOUT_S = 120


class Volumes(BaseHTTPRequestHandler):
    """Answers Docker. Each volume's options are kept beside its folder; ``fail`` is refused with all options repeated."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = json.loads(body or b"{}")
        answer = json.dumps(self._answer(self.path.rpartition("/")[2], asked)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _answer(self, call: str, asked: dict[str, Any]) -> dict[str, Any]:
        if call == "VolumeDriver.Activate" or self.path == "/Plugin.Activate":
            return {"Implements": ["VolumeDriver"]}
        if call == "VolumeDriver.Capabilities":
            return {"Capabilities": {"Scope": "global"}}
        if call == "VolumeDriver.List":
            return {"Volumes": [{"Name": path.name} for path in Path(DATA).iterdir()], "Err": ""}
        folder = Path(DATA, asked["Name"])
        options = asked.get("Opts") or {}
        if call == "VolumeDriver.Create":
            if "fail" in options:
                return {"Err": f"refused with {json.dumps(options)}"}
            folder.mkdir(exist_ok=True)
            return {"Err": ""}
        if not folder.is_dir():
            return {"Err": f"no volume {folder.name}"}
        if call == "VolumeDriver.Remove":
            subprocess.run(["rm", "-rf", str(folder)], check=True)
        found = {"Name": folder.name, "Mountpoint": str(folder)}
        return {"Volume": found, "Mountpoint": str(folder), "Err": ""}

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextmanager
def volume_plugin(name: str, image: str) -> Iterator[str]:
    """Have a plugin of this name run, in the files of an image that has Python; yield the name that Docker knows it by."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "rootfs")
        root.mkdir()
        container = _docker("create", image)
        try:
            with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export:
                subprocess.run(
                    ["tar", "-x", "-C", str(root), "--exclude=dev/*"], stdin=export.stdout, check=True, timeout=_TIMEOUT_S
                )
        finally:
            _docker("rm", container)
        Path(f"{root}{_PROGRAM}").write_text(Path(__file__).read_text())
        for made in (DATA, str(Path(SOCKET).parent)):
            Path(f"{root}{made}").mkdir(parents=True, exist_ok=True)
        Path(folder, "config.json").write_text(json.dumps(_CONFIG))
        _docker("plugin", "create", name, folder)
    try:
        _docker("plugin", "enable", name)
        yield f"{name}:latest"
    finally:
        _docker("plugin", "rm", "-f", name)


#: What Docker is told of the plugin (docs.docker.com, engine/extend/config).
_CONFIG = {
    "description": "volumes of eratos' tests",
    "entrypoint": ["python3", _PROGRAM],
    "workdir": "/",
    "interface": {"socket": Path(SOCKET).name, "types": ["docker.volumedriver/1.0"]},
    "network": {"type": "none"},
    "propagatedMount": DATA,
    "linux": {"capabilities": []},
}


def _docker(*args: str) -> str:
    return subprocess.run(["docker", *args], check=True, capture_output=True, text=True, timeout=_TIMEOUT_S).stdout.strip()


if __name__ == "__main__":
    Path(DATA).mkdir(exist_ok=True)
    _Server(SOCKET, Volumes).serve_forever()
