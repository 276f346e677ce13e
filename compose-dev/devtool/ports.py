"""Are the ports free that the cluster publishes? Asked first, because Docker's own message names no culprit and no way out."""

from __future__ import annotations

import errno
import re
import shutil
import socket

from .cluster import Container
from .settings import Settings
from .shell import run
from .terminal import Problem


def check(settings: Settings, found: list[Container]) -> None:
    """Raise Problem with every taken port and who has it. Ports that this cluster's containers hold already are its own."""
    own = {container.service for container in found if container.state in ("running", "paused", "restarting")}
    taken = {
        variable: port for variable, (service, port) in settings.published().items() if service not in own and not is_free(port)
    }
    if not taken:
        return
    lines = "".join(f"\n       {port} is held by {holder(port)}" for port in taken.values())
    moved = " ".join(f"{variable}={_next_free(port)}" for variable, port in taken.items())
    raise Problem(
        f"ports of 127.0.0.1 that the cluster publishes are taken:{lines}",
        f"end what holds them, or move the cluster's: {moved} ./dev up",
    )


def is_free(port: int) -> bool:
    """Return whether a port of 127.0.0.1 can be bound. One that may not be (below 1024) counts as free: Docker may."""
    with socket.socket() as probe:
        # As Docker does: a port whose last connections are only waiting to time out is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def _next_free(port: int) -> int:
    return next(candidate for candidate in range(port + 10000 if port < 50000 else 20000, 65536) if is_free(candidate))


def holder(port: int) -> str:
    """Return who holds a port, as well as this user may know."""
    container = run(["docker", "ps", "--filter", f"publish={port}", "--format", "container {{.Names}}"], check=False).strip()
    if container:
        return container.splitlines()[0]
    if shutil.which("ss"):
        match = re.search(r'\(\("([^"]+)",pid=(\d+)', run(["ss", "-Hltnp", f"sport = :{port}"], check=False))
        if match:
            return f"{match[1]} (process {match[2]})"
    if shutil.which("lsof"):
        lines = run(["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN"], check=False).splitlines()
        if len(lines) > 1:
            return "{} (process {})".format(*lines[1].split()[:2])
    return f"another program (to find it, as root: ss -ltnp 'sport = :{port}')"
