"""Whether a task's ports are free on the host. Used by both runtimes before they start a task."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Sequence

#: How long a start waits for a port. A new executor's first launches may get the very ports that its dead forerunner's tasks
#: still have while they are drained and removed (rule 68, ``core/left_over.py``).
WAIT_S = 30.0
_POLL_S = 0.05


def taken_ports(ports: Sequence[int], wait_s: float, waiting: Callable[[str], object]) -> str:
    """Return which port stays taken for ``wait_s``, as a message that names the fix; an empty text: none.

    ``waiting`` is called with what is waited for, in words, once there is something.
    """
    deadline = time.monotonic() + wait_s
    told = None
    while (taken := next((port for port in ports if port_taken(port)), None)) is not None:
        if taken != told:
            told = taken
            waiting(f"waiting for port {taken} of this host, which something else still has")
        if time.monotonic() >= deadline:
            return f"port {taken} of this host is already taken by another process: free it, or ask for another port"
        time.sleep(_POLL_S)
    return ""


def port_taken(port: int) -> bool:
    """Return whether a process listens on a TCP port of this network namespace.

    Cheap, and says which port it was; without it the task itself would fail, in its own words or none.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections that still linger from a former one do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
            probe.listen(1)
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False
