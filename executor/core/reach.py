"""Where a connection to a task's port goes, on the task's own host."""

from __future__ import annotations

from eratos.common.errors import PermanentError
from eratos.common.payload import Port

from .container import probe_target
from .task import Task


class NoPort(PermanentError):
    """A task has no such port, or is not there."""


def reach(task: Task | None, wanted: str) -> tuple[str, int]:
    """Return host and port of a task's port, by its name or its number among the task's, from 0; empty: the first of TCP.

    Raises NoPort.
    """
    if task is None or task.started_at is None:
        raise NoPort("the task does not run on this host")
    port = _port(task.payload.ports, wanted)
    return probe_target(task.payload, port.host_port, task.address)


def _port(ports: tuple[Port, ...], wanted: str) -> Port:
    found = next((port for port in ports if wanted and port.name == wanted), None)
    if found is None and wanted.isascii() and wanted.isdigit() and int(wanted) < len(ports):
        found = ports[int(wanted)]
    tcp = [port for port in ports if "tcp" in port.protocol.split(",")]
    if not wanted:
        found = tcp[0] if tcp else None
    if found is None:
        known = ", ".join(port.name or str(ports.index(port)) for port in tcp)
        lacks = f"it has no port {wanted!r}" if wanted else "it has no TCP port"
        raise NoPort(lacks + (f": its ports are {known}" if known else ": it has none that is TCP" if wanted else ""))
    if found not in tcp:
        raise NoPort(f"its port {wanted!r} is {found.protocol}: only TCP can be forwarded")
    return found
