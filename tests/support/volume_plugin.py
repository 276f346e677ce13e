"""A plugin of Docker's for volumes, made of an image of the project and :mod:`support.volume_plugin_program`.

It is one that Docker itself manages: of a plugin that is only a socket in a folder, Docker remembers the name after its end, and
asks it in vain at each listing of volumes.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import volume_plugin_program as program
from .containers import docker

_PLACE = "/volume_plugin.py"
#: What Docker is told of the plugin (docs.docker.com, engine/extend/config).
_CONFIG = {
    "description": "volumes of eratos' tests",
    "entrypoint": ["python3", _PLACE],
    "workdir": "/",
    "interface": {"socket": Path(program.SOCKET).name, "types": ["docker.volumedriver/1.0"]},
    "network": {"type": "none"},
    "propagatedMount": program.DATA,
    "linux": {"capabilities": []},
}


@contextmanager
def volume_plugin(name: str, image: str = "eratos/prime") -> Iterator[str]:
    """Have a plugin of this name run in the files of an image that has Python."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "rootfs")
        root.mkdir()
        container = docker("create", image).strip()
        try:
            with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export:
                unpack = ["tar", "-x", "-C", str(root), "--exclude=dev/*", "--exclude=usr/share/*"]
                subprocess.run(unpack, stdin=export.stdout, check=True, timeout=300)
        finally:
            docker("rm", container)
        Path(f"{root}{_PLACE}").write_text(Path(program.__file__).read_text())
        for made in (program.DATA, str(Path(program.SOCKET).parent)):
            Path(f"{root}{made}").mkdir(parents=True, exist_ok=True)
        Path(folder, "config.json").write_text(json.dumps(_CONFIG))
        docker("plugin", "create", name, folder, timeout_s=300)
    try:
        docker("plugin", "enable", "--timeout", "120", name, timeout_s=150)
        yield name
    finally:
        docker("plugin", "rm", "-f", name)
