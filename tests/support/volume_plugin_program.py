"""The program in the plugin of :mod:`support.volume_plugin`: each volume is a folder of the plugin's, as of a storage elsewhere.

It speaks Docker's protocol (docs.docker.com, engine/extend/plugins_volume) over a Unix socket. The images of the project have as
little of Python as their own programs need, so no more than that is used here. ``fail`` as an option is refused, with all of
them repeated.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

SOCKET = "/run/docker/plugins/volumes.sock"
DATA = "/data"


def answer(call: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Return what Docker is told. Nothing is ever removed: that is the storage's to do."""
    if call == "/Plugin.Activate":
        return {"Implements": ["VolumeDriver"]}
    if call == "/VolumeDriver.Capabilities":
        return {"Capabilities": {"Scope": "global"}}
    if call == "/VolumeDriver.List":
        return {"Volumes": [{"Name": path.name} for path in Path(DATA).iterdir()], "Err": ""}
    name, options = asked["Name"], asked.get("Opts") or {}
    folder = Path(DATA, name)
    if call == "/VolumeDriver.Create":
        if "fail" in options:
            return {"Err": f"refused with {json.dumps(options)}"}
        folder.mkdir(exist_ok=True)
        return {"Err": ""}
    if not folder.is_dir():
        return {"Err": f"no volume {name}"}
    return {"Volume": {"Name": name, "Mountpoint": str(folder)}, "Mountpoint": str(folder), "Err": ""}


def serve(connection: socket.socket) -> None:
    """Answer one request."""
    with connection, connection.makefile("rb") as stream:
        call, length = stream.readline().decode().split(" ")[1], 0
        while line := stream.readline().strip():
            name, _, value = line.decode().partition(":")
            if name.lower() == "content-length":
                length = int(value)
        body = json.dumps(answer(call, json.loads(stream.read(length) or b"{}"))).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + body)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(SOCKET)
    listener.listen(20)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
