"""Ports that nobody listens on."""

from __future__ import annotations

import contextlib
import random
import socket


def free_ports(count: int) -> list[int]:
    """Return distinct free ports, below those that the kernel gives to outgoing connections (32768 and up).

    None of those that the end-to-end tests' clusters have: a test of another checkout would have them when these start.
    Not left to docker, which would choose others after a restart of the container.
    """
    found: list[int] = []
    for port in random.sample(range(21_100, 25_000), 1000):
        if len(found) == count:
            break
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
    return found
