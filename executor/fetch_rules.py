"""What the executor fetches for apps, beyond what the scheduler could see in their definitions.

A name that leads to a cloud's metadata service, a redirect to it, or to where eratos itself listens, shows only when a
connection is made: so each connection is held against the rules once it is there, and before anything is sent. What a
definition spells out itself was the scheduler's to judge; it lets apps go on that it knew before there were rules.

Files of root, such as ``.netrc`` and the environment's proxies, are not used: they are not the apps'.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from eratos.common import names
from eratos.common.addresses import Kind, kind, kind_of_host
from eratos.common.errors import PermanentError


class RefusedByRules(PermanentError):
    """What was to be fetched lies where nothing is fetched from; the text says where that is."""


@dataclass(frozen=True, slots=True)
class FetchRules:
    """Settings of what may be fetched on a host."""

    folders: tuple[str, ...] = ()  #: of the host, that files may be fetched from; empty: the scheduler alone decides
    private: bool = True  #: whether private networks and the host itself may be asked
    ports: frozenset[int] = frozenset({names.EXECUTOR_PORT, names.COMPANION_PORT})  #: where eratos listens on hosts
    proxy: str = ""  #: URL of a proxy for all of it, which then decides what leads where; empty: none
    ca_file: str = ""  #: authorities of https servers; empty: the public ones

    def address_problem(self, address: str, port: int) -> str:
        """Return why nothing is fetched from an address, or an empty text."""
        found = kind(ipaddress.ip_address(address.partition("%")[0]))
        if found in (Kind.METADATA, Kind.LINK_LOCAL):
            return f"it leads to {address}, {found}, which no app may have an executor ask"
        if found is not Kind.PUBLIC and port in self.ports:
            return f"it leads to {address}:{port}, where eratos itself listens"
        if found is not Kind.PUBLIC and not self.private:
            return f"it leads to {address}, {found}: the scheduler's --allow-private-fetch allows it"
        return ""

    def file_problem(self, path: str) -> str:
        """Return why a file of the host is not fetched, or an empty text. Links count as what they lead to."""
        if not self.folders:
            return ""
        real = PurePosixPath(os.path.realpath(path))
        if any(real.is_relative_to(os.path.realpath(folder)) for folder in self.folders):
            return ""
        return f"it lies in none of the folders of this host that may be fetched from, {', '.join(self.folders)}"

    def session(self, opened: Callable[[socket.socket], object] = lambda connection: None) -> requests.Session:
        """Return a session for one download. Its calls raise RefusedByRules besides what those of requests raise.

        It follows no redirection. ``opened`` is told each connection that is made.
        """
        made = _Session()
        made.trust_env = False
        if self.ca_file:
            made.verify = self.ca_file
        if self.proxy:
            made.proxies = {"http": self.proxy, "https": self.proxy}
        adapter = _Adapter(self, opened)
        for scheme in ("http://", "https://"):
            made.mount(scheme, adapter)
        return made


class _Session(requests.Session):
    """Leaves redirections to who asks: to follow one or not, requests would read its whole body first, however long it is."""

    def resolve_redirects(self, *_: Any, **__: Any) -> Iterator[Any]:
        return iter(())


class _Adapter(HTTPAdapter):
    """Sends a request and then those that redirects ask for."""

    def __init__(self, rules: FetchRules, opened: Callable[[socket.socket], object]) -> None:
        super().__init__()
        self._rules = rules
        self._opened = opened
        self._redirected = False
        self._judging = True
        plain, tls = _connections(self._made)
        self._pools = {"http": plain, "https": tls}
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        made = super().proxy_manager_for(*args, **options)
        made.pool_classes_by_scheme = self._pools
        return made

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        spelled = kind_of_host(urlsplit(request.url or "").hostname or "") is not None
        self._judging = self._redirected or not spelled
        self._redirected = True
        return super().send(request, *args, **options)

    def _made(self, connection: socket.socket) -> None:
        self._opened(connection)
        if self._rules.proxy:
            return  # which decides what leads where
        address, port = connection.getpeername()[:2]
        if self._judging and (problem := self._rules.address_problem(address, port)):
            connection.close()
            raise RefusedByRules(problem)


def _connections(check: Callable[[socket.socket], None]) -> tuple[type[HTTPConnectionPool], type[HTTPSConnectionPool]]:
    """Return urllib3's pools of connections that are checked once they are there."""

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            made = super()._new_conn()
            check(made)
            return made

    class Tls(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            made = super()._new_conn()
            check(made)
            return made

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return PlainPool, TlsPool
