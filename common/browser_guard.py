"""What an HTTP server asks of a request before anything else, so that no web page can use it in its visitor's name. Pure.

A page can send a browser's requests anywhere that the browser reaches, a developer's own machine included, in two ways.
It can send them across origins: the browser then names the page in ``Origin``, and asks before it sends JSON, but not before
it sends a form or plain text. Or it can have its own host name point here (DNS rebinding): the browser then sends that name in
``Host``. So foreign origins are refused, and host names that nobody gave this server, and bodies that are no JSON. An address
in ``Host`` is always good: it cannot be rebound.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

#: Methods that change nothing, whatever the server does: only what their answers hold has to be kept from pages.
READING = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class BrowserGuard:
    """The names of one server, and the origins whose pages may use it.

    A name that begins with a dot stands for every name below it: ``.example.com`` for ``api.example.com``.
    """

    names: frozenset[str] = field(default_factory=frozenset)
    origins: frozenset[str] = field(default_factory=frozenset)
    setting: str = "--http-hosts"  #: which setting allows further names, for the refusal's text

    @classmethod
    def of(cls, names: Iterable[str], origins: Iterable[str] = (), setting: str = "--http-hosts") -> BrowserGuard:
        """Return a guard for names and origins as people write them."""
        return cls(
            frozenset(name.strip().lower().rstrip(".") for name in names if name.strip()),
            frozenset(origin.strip().lower().rstrip("/") for origin in origins if origin.strip()),
            setting,
        )

    def refusal(
        self, method: str, host: str | None, origin: str | None, content_type: str | None, has_body: bool
    ) -> Refusal | None:
        """Return why a request is refused, or None.

        ``host``, ``origin`` and ``content_type`` are the headers' values, None where they were not sent.
        """
        # Without a Host it is no browser's request: HTTP/1.1 needs one, and all browsers send it.
        if host is not None and not self.knows(host):
            return Refusal(403, f"{host[:260]!r} is no name of this server: use its address, or allow the name by {self.setting}")
        if origin is not None and not self._trusts(origin, host):
            return Refusal(403, f"pages of {origin[:260]!r} may not use this server")
        if method not in READING and has_body and not is_json(content_type):
            given = f"not {content_type[:100]!r}" if content_type else "and say so"
            return Refusal(415, f"a body must be JSON, {given}: send Content-Type: application/json")
        return None

    def knows(self, host: str) -> bool:
        """Return whether a ``Host`` header, with or without a port, names this server."""
        name = host_name(host)
        if name is None:
            return False
        if name == "localhost" or name.endswith(".localhost") or _is_address(name):
            return True
        return name in self.names or any(known.startswith(".") and name.endswith(known) for known in self.names)

    def allowed_origin(self, origin: str | None) -> str | None:
        """Return the origin to name in ``Access-Control-Allow-Origin``, or None: only those that a setting allows."""
        if origin is not None and ("*" in self.origins or origin.lower() in self.origins):
            return origin
        return None

    def _trusts(self, origin: str, host: str | None) -> bool:
        if self.allowed_origin(origin) is not None:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        # A page that this server itself has served; its name was looked at before.
        return parts.scheme in ("http", "https") and host is not None and parts.netloc.lower() == host.lower()


def host_name(host: str) -> str | None:
    """Return the name or address in a ``Host`` header in lower case, without port and brackets; None where it makes no sense."""
    text = host.strip().lower()
    if text.startswith("["):
        name, bracket, port = text[1:].partition("]")
        if not bracket or (port and not (port.startswith(":") and port[1:].isdigit())):
            return None
    else:
        name, colon, port = text.partition(":")
        if colon and not port.isdigit():
            return None
    name = name.rstrip(".")
    return name if name and not set(name) & set("@/\\?# \t%") else None


def is_json(content_type: str | None) -> bool:
    """Return whether a ``Content-Type`` is one of JSON: ``application/json``, or an ``application/...+json``."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
