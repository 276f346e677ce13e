"""Opens the sockets that the traffic's clients connect to before HAProxy starts, so that they outlive it.

As ``python3 -m eratos.haproxy.socket_keeper``:

* ``keep COMMAND...`` opens a socket for each bind that is a plain IPv4 address with a port, replaces the bind in the
  environment by ``fd@N`` (HAProxy's name for an inherited socket), and becomes the command.
* ``refuse PID`` makes the inherited sockets refuse new clients, then has HAProxy's master ``PID`` finish what is open.
  HAProxy itself only stops accepting on a socket that it has inherited; its clients would wait for nothing.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Iterator, Mapping

#: The binds that are kept, with what HAProxy's configuration has where the variable is not set.
BINDS = {"ERATOS_HTTP_BIND": ":8000", "ERATOS_HTTPS_BIND": ":8443"}

_PLAIN = re.compile(r"(?:ipv4@)?(\*|[0-9.]*):([0-9]{1,5})")
_INHERITED = re.compile(r"fd@([0-9]+)")


def opened(environ: Mapping[str, str]) -> dict[str, str]:
    """Open the sockets; return the variables that name them.

    They are bound but do not listen: HAProxy does that for those that its configuration uses. Where a bind is anything
    more than an address, or cannot be had, HAProxy is left to do with it what it can.
    """
    found = {}
    for name, default in BINDS.items():
        match = _PLAIN.fullmatch(environ.get(name, default))
        if match is None or int(match[2]) > 65535:
            continue
        kept = socket.socket()
        # As HAProxy sets them.
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            kept.bind((match[1].strip("*"), int(match[2])))
        except OSError as error:
            print(f"{name}: {error}; not kept over restarts of HAProxy", file=sys.stderr)
            kept.close()
            continue
        kept.set_inheritable(True)
        found[name] = f"fd@{kept.detach()}"
    return found


def inherited(environ: Mapping[str, str]) -> Iterator[int]:
    """Yield the descriptors that :func:`opened` has named."""
    for name in BINDS:
        if match := _INHERITED.fullmatch(environ.get(name, "")):
            yield int(match[1])


def main(words: list[str]) -> None:
    if words[0] == "keep":
        os.execvpe(words[1], words[1:], {**os.environ, **opened(os.environ)})
    for descriptor in inherited(os.environ):
        # For all that share the socket, HAProxy's processes included. One that does not listen cannot be shut down.
        try:
            socket.socket(fileno=descriptor).shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
    os.kill(int(words[1]), signal.SIGUSR1)


if __name__ == "__main__":
    main(sys.argv[1:])
