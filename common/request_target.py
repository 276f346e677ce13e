"""What the first line of a request asks for, where a client writes the whole address: ``GET http://host/path``. Pure.

Clients that take a server for a proxy write it so, and every server has to understand it (RFC 9112, 3.2.2). The host in it is
the one that is asked for then, whatever the header ``Host`` says.
"""

from __future__ import annotations

import re

_WHOLE = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.IGNORECASE | re.DOTALL)


class BadTarget(ValueError):
    """A request asks for what this server cannot have; with the status to answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def parted(target: str, *, tls: bool) -> tuple[str, str | None]:
    """Return path and query of what a request asks for, and host and port where they stand there, else None.

    ``tls``: whether it came by https. What is no whole address is returned as it is. Raises BadTarget.
    """
    found = None if target.startswith("/") else _WHOLE.fullmatch(target)
    if found is None:
        return target, None
    authority, rest = found["authority"], found["rest"]
    if not authority:
        raise BadTarget(400, "the address that is asked for names no host: write http://host:port/path, or the path alone")
    if "@" in authority:
        # It may hold a password, and who reads it for the host takes another one for it (RFC 9110, 4.2.4).
        raise BadTarget(400, "the address that is asked for names a user: leave that out, credentials go into Authorization")
    if found["scheme"].lower() == "https" and not tls:
        raise BadTarget(421, "an address of https is asked for without TLS: connect by https, or ask for the path alone")
    return rest if rest.startswith("/") else f"/{rest}", authority
