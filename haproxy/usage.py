"""What HAProxy's processes say of their servers, and whether a server is still used. Pure.

A server is used while any process has a request or a connection on it, or may still open one there. The second is what
needs thought:

- The current process may send to every server it has out of maintenance.
- An old process accepts no connections, but serves the ones it has: a client's idle connection gets one more answer
  (``option idle-close-on-response``). So while it has an HTTP client, it may send to every HTTP server it has out of
  maintenance: until that client has its answer, or for ``timeout http-keep-alive``.
- A connection to a TCP service stays with its server. So an old process that is kept alive by one of them, perhaps for
  minutes, holds up that one server and no other, unless a connection is still looking for its server.
- An old process takes no orders ("Proxy is disabled"). So servers that a reload removes are put into maintenance just
  before it, where that leaves their pool another server; then no idle client holds up their drain.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter

#: HAProxy's own pages are no traffic; whoever looks at them holds up nothing.
STATISTICS = "eratos:statistics"
#: The columns of ``show stat`` in use.
_COLUMNS = ("pxname", "svname", "scur", "qcur", "status", "addr", "mode", "type")


@dataclass(frozen=True, slots=True)
class ServerRow:
    """One server as one HAProxy process sees it."""

    backend: str
    name: str
    address: str  #: ``address:port``
    status: str  #: ``UP``, ``UP 1/2``, ``DOWN``, ``MAINT``, ``no check`` ...
    requests: int  #: under way on the server or waiting for it; connections in mode tcp
    mode: str = "http"  #: ``http`` or ``tcp``

    @property
    def in_maintenance(self) -> bool:
        """Whether the process sends nothing new there."""
        return self.status.startswith("MAINT")

    @property
    def usable(self) -> bool:
        """Whether the process would send a request there now."""
        return self.status.startswith(("UP", "no check"))


@dataclass(frozen=True, slots=True)
class Process:
    """What one HAProxy process has: servers, and connections of clients."""

    rows: tuple[ServerRow, ...]
    http_clients: int = 0
    tcp_clients: int = 0
    old: bool = False  #: finishes what its clients have open

    def may_send_to(self, row: ServerRow) -> bool:
        """Tell whether a request or connection that the server does not have yet may come to it."""
        if row.in_maintenance:
            return False
        if not self.old:
            return True
        if row.mode == "http":
            return self.http_clients > 0
        return self.tcp_clients > sum(other.requests for other in self.rows if other.mode == "tcp")


@dataclass(frozen=True, slots=True)
class Usage:
    """The answer for one server, over all processes."""

    used: bool
    requests: int


def parse_rows(answer: str) -> list[ServerRow]:
    """Read the servers in the answer to ``show stat``."""
    return list(parse_process(answer).rows)


def parse_process(answer: str, *, old: bool = False) -> Process:
    """Read the answer to ``show stat -1 5 -1``. Columns are found by name: every version adds some."""
    rows = []
    clients = {"http": 0, "tcp": 0}
    # Some hundred columns for each server, and asked for all the time: no dictionary for each row.
    lines = csv.reader(answer.lstrip("# ").splitlines())
    heading = next(lines, list(_COLUMNS))
    pick = itemgetter(*map(heading.index, _COLUMNS))
    for backend, name, current, queued, status, address, mode, kind in (pick(line) for line in lines if line):
        if not name or not status:
            continue
        requests = int(current or 0) + int(queued or 0)
        if name == "FRONTEND" and kind == "0":
            if backend != STATISTICS:
                clients[mode] = clients.get(mode, 0) + requests
        else:
            rows.append(ServerRow(backend, name, address, status, requests, mode or "http"))
    return Process(tuple(rows), clients["http"], clients["tcp"], old)


def usage(server: str, processes: Iterable[Process]) -> Usage:
    """Tell whether any of the processes still uses a server, and how many requests it has in all of them."""
    found = [(process, row) for process in processes for row in process.rows if row.name == server]
    requests = sum(row.requests for _, row in found)
    return Usage(requests > 0 or any(process.may_send_to(row) for process, row in found), requests)
