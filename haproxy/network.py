"""Asks the network who accepts connections and which ports are taken, and compares addresses. Called by :mod:`.apply`."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import time
from collections.abc import Collection, Iterable, Mapping

#: Addresses asked at most; the rest counts as accepting, which errs on the side of holding back.
ADDRESSES_MAX = 512


def accepting(addresses: Collection[str], timeout_s: float = 0.3) -> set[str]:
    """Return those of the ``address:port`` texts that accept a TCP connection within the time, all tried together.

    Refused, unreachable and silent all count as gone: a host without power answers nothing at all.
    """
    asked = sorted(addresses)
    found = set(asked[ADDRESSES_MAX:])
    waiting: dict[int, tuple[socket.socket, str]] = {}
    poller = select.poll()
    with contextlib.ExitStack() as stack:
        for address in asked[:ADDRESSES_MAX]:
            host, _, port = address.rpartition(":")
            try:
                family, kind, _, _, target = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
                client = stack.enter_context(socket.socket(family, kind))
                client.setblocking(False)
                if client.connect_ex(target) in (0, errno.EINPROGRESS):
                    waiting[client.fileno()] = (client, address)
                    poller.register(client, select.POLLOUT)
            except (OSError, ValueError):
                continue
        deadline_s = time.monotonic() + timeout_s
        while waiting and (left_s := deadline_s - time.monotonic()) > 0:
            for descriptor, _ in poller.poll(left_s * 1000):
                client, address = waiting.pop(descriptor)
                poller.unregister(descriptor)
                if client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    found.add(address)
    return found


def taken(ports: Iterable[int]) -> dict[int, str]:
    """Return the ports that HAProxy could not listen on, each with the system's reason.

    HAProxy's own listeners are no obstacle: they share their ports (SO_REUSEPORT) with sockets of the same user, which
    is how a new process takes over from an old one, and this process is of that user.
    """
    reasons = {}
    for port in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                trial.bind(("", port))
            except OSError as error:
                reasons[port] = error.strerror or str(error)
    return reasons


def normal_address(address: str) -> str:
    """Return ``host:port`` in the one form to compare by: IPv6 may be written in many ways, in brackets or not."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if ":" in host:
        try:
            host = f"[{socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host))}]"
        except OSError:
            pass  # no address: compared as it stands
    return f"{host}:{port}"


def normal_addresses(pools: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Return backend -> server -> address of what servers' lines say; backends without servers are left out."""
    return {
        backend: {name: normal_address(rest.partition(" ")[0]) for name, rest in servers.items()}
        for backend, servers in pools.items()
        if servers
    }
