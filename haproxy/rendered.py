"""A rendered configuration as the companion sees it: a *shape* with servers in it. Pure.

Servers come and go without a reload, everything else needs one. So the text is split in two: the servers of each
backend, and the shape, which is the text without them and without comments. The shape's digest is written into
HAProxy's ``description``, so that a running process can be asked which shape it has, whoever started it and when.
"""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

#: What :meth:`Rendered.described` adds begins with this line.
_MARK = "# Which shape this is, told by `show info`."
_SECTIONS = frozenset(["global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "userlist", "cache", "ring"])

#: An address that is a port alone. Others come from the balancer's own settings, never from a service.
_PORT = re.compile(r":([0-9]{1,5})( tcp-ut \S+)?")

#: server name -> what follows it on its line: the address, then any settings
Servers = dict[str, str]
#: backend -> its servers
Pools = dict[str, Servers]


@dataclass(frozen=True, slots=True)
class Rendered:
    """One rendered configuration."""

    text: str
    shape: str  #: digest of everything but servers and comments
    pools: Pools  #: every backend, those without servers included
    defaults: dict[str, str] = field(default_factory=dict)  #: backend -> settings of its ``default-server`` line
    frontends: tuple[str, ...] = ()
    ports: dict[str, tuple[int, ...]] = field(default_factory=dict)  #: frontend -> ports that it binds by number
    refused: tuple[str, ...] = ()  #: what the template left out, with the reason
    plain: bool = True  #: no server has more than name, address and weight, and no name comes twice

    def described(self) -> str:
        """Return the text to run HAProxy with: it tells its shape when asked (``show info``)."""
        return f"{self.text.rstrip()}\n\n{_MARK}\nglobal\n  description {self.shape}\n"

    def addresses(self) -> dict[str, dict[str, str]]:
        """Return backend -> server -> ``address:port``; backends without servers are left out."""
        return {
            backend: {name: normal_address(rest.split()[0]) for name, rest in servers.items()}
            for backend, servers in self.pools.items()
            if servers
        }


def parse(text: str) -> Rendered:
    """Split a rendered configuration. Never raises: what makes no sense is part of the shape, for HAProxy to judge."""
    text = text.partition(_MARK)[0]
    kind = name = ""
    shape: list[str] = []
    pools: Pools = {}
    defaults: dict[str, str] = {}
    frontends: list[str] = []
    ports: dict[str, tuple[int, ...]] = {}
    refused: list[str] = []
    plain = True
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            if words[:2] == ["#", "refused"]:
                refused.append(" ".join(words[2:]))
            continue
        if words[0] in _SECTIONS:
            kind, name = words[0], words[1] if len(words) > 1 else ""
            if kind in ("backend", "listen"):
                pools.setdefault(name, {})
            if kind in ("frontend", "listen"):
                frontends.append(name)
        if kind == "backend" and words[0] == "server" and len(words) >= 3:
            plain = plain and words[3:4] in ([], ["weight"]) and len(words) in (3, 5) and words[1] not in pools[name]
            pools[name][words[1]] = " ".join(words[2:])
            continue
        if kind == "backend" and words[0] == "default-server":
            defaults[name] = " ".join(words[1:])
        if kind == "frontend" and words[0] == "bind" and (match := _PORT.fullmatch(" ".join(words[1:]))):
            ports[name] = (*ports.get(name, ()), int(match[1]))
        shape.append(" ".join(words))
    digest = hashlib.sha256("\n".join(shape).encode()).hexdigest()[:16]
    # A service's instances may each be left out for the same reason.
    refused = list(dict.fromkeys(refused))
    return Rendered(text, f"eratos-{digest}", pools, defaults, tuple(frontends), ports, tuple(refused), plain)


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


def with_servers(rendered: Rendered, added: Pools) -> Rendered:
    """Return the configuration with more servers at the end of backends that it already has."""
    lines: list[str] = []
    pending: Servers = {}

    def flush() -> None:
        # Before the blank line that separates the backend from what follows.
        at = len(lines)
        while at and not lines[at - 1].strip():
            at -= 1
        lines[at:at] = [f"  server {name} {rest}" for name, rest in pending.items()]
        pending.clear()

    for line in rendered.text.splitlines():
        words = line.split()
        if words and words[0] in _SECTIONS:
            flush()
            if words[0] == "backend" and len(words) > 1:
                pending.update(added.get(words[1], {}))
        lines.append(line)
    flush()
    return parse("\n".join(lines) + "\n")


def without_servers(rendered: Rendered, gone: Mapping[str, Set[str]]) -> Rendered:
    """Return the configuration without these servers of its backends."""
    lines: list[str] = []
    leaving: Set[str] = frozenset()
    for line in rendered.text.splitlines():
        words = line.split()
        if words and words[0] in _SECTIONS:
            leaving = gone.get(words[1], frozenset()) if words[0] == "backend" and len(words) > 1 else frozenset()
        if not (words[:1] == ["server"] and words[1:2] != [] and words[1] in leaving):
            lines.append(line)
    return parse("\n".join(lines) + "\n")


def without_frontends(rendered: Rendered, reasons: Mapping[str, str]) -> Rendered:
    """Return the configuration without these frontends, and with the reason for each among those of the template."""
    lines: list[str] = []
    dropping = False
    for line in rendered.text.splitlines():
        words = line.split()
        if words and words[0] in _SECTIONS:
            dropping = words[0] == "frontend" and words[1:2] != [] and words[1] in reasons
            if dropping:
                lines.append(f"# refused {reasons[words[1]]}\n")
        if not dropping:
            lines.append(line)
    return parse("\n".join(lines) + "\n")
