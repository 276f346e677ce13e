"""What HAProxy's processes say of their servers, and whether a server is still used. Pure.

A server is used while any process has a request or a connection on it, or may still open one there. The second is what
needs thought:

- The current process may send to every server it has out of maintenance.
- An old process accepts no connections, but serves the ones it has. What may still come from each of them is known by its
  state (:func:`may_ask_again`): an idle client's connection gets one more answer (``option idle-close-on-response``), for
  ``timeout http-keep-alive`` at most; one whose request is under way is closed after the answer, unless that had begun
  before the process became an old one; a WebSocket never asks again; a client that speaks HTTP/2 was asked to open no more
  streams. As long as there is one that may ask again, it may be sent to every HTTP server out of maintenance.
- A request that is under way stays with its server, but for one that still waits for a server of its backend. (Where its
  server dies it is repeated elsewhere, at once if nobody listens there any more: that holds up nothing.)
- A connection to a TCP service stays with its server. So an old process that is kept alive by one of them, perhaps for
  minutes, holds up that one server and no other, unless a connection is still looking for its server.
- An old process takes no orders ("Proxy is disabled"). So servers that a reload removes are put into maintenance just
  before it, where that leaves their pool another server; then no idle client holds up their drain.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from operator import itemgetter

#: HAProxy's own pages are no traffic; a request for them holds up nothing.
STATISTICS = "eratos:statistics"
#: What HAProxy calls the row of a backend as a whole.
BACKEND = "BACKEND"
#: Those that :class:`Figures` come from.
_COUNTED = (
    *("weight", "rate", "hrsp_5xx", "rtime", "eresp", "stot", "qcur", "srv_abrt", "hrsp_other"),
    *(f"hrsp_{kind}" for kind in ("1xx", "2xx", "3xx", "4xx")),
)
#: The columns of ``show stat`` in use.
_COLUMNS = ("pxname", "svname", "scur", "qcur", "status", "addr", "mode", "uweight", "type")


# Of a line of `show fd`; the numbers are from HAProxy's mux_h1-t.h and mux_h2-t.h.
_FRONTEND = re.compile(r" fe=(\S+)")
_HTTP1 = re.compile(r" mux=H1 .* h1s\.flg=0x([0-9a-f]+) .*\.req\.state=(\w+) \.res\.state=(\w+)")
_WANTS, _WANTS_CLOSE = 0x70, 0x40
#: States of a request whose head has been read.
_READ = frozenset(["MSG_DATA", "MSG_CHUNK_SIZE", "MSG_CHUNK_CRLF", "MSG_TRAILERS", "MSG_DONE", "MSG_TUNNEL"])
_HTTP2 = re.compile(r" mux=H2 .* h2c\.st0=\S+ .*\.flg=0x([0-9a-f]+) \.nbst=([0-9]+)")
_GOAWAY_SENT = 0x1000


@dataclass(frozen=True, slots=True)
class ServerRow:
    """One server as one HAProxy process sees it."""

    backend: str
    name: str
    address: str  #: ``address:port``
    status: str  #: ``UP``, ``UP 1/2``, ``DOWN``, ``MAINT``, ``no check`` ...
    requests: int  #: under way on the server or waiting for it; connections in mode tcp
    mode: str = "http"  #: ``http`` or ``tcp``
    weight: int = 1  #: 0: nothing new comes there, though all is well with it

    @property
    def in_maintenance(self) -> bool:
        """Whether the process sends nothing new there."""
        return self.status.startswith("MAINT")

    @property
    def usable(self) -> bool:
        """Whether the process would send a request there now."""
        return self.status.startswith(("UP", "no check")) and self.weight > 0


@dataclass(frozen=True, slots=True)
class Process:
    """What one HAProxy process has: servers, and clients."""

    rows: tuple[ServerRow, ...]
    stopping: bool = False  #: accepts no clients, and finishes what those have open that it has
    may_ask_again: int = 0  #: clients' HTTP connections on which another request may come
    under_way: int = 0  #: clients' HTTP requests that have been read
    tcp_clients: int = 0
    backends: Mapping[str, int] = field(default_factory=dict)  #: HTTP backend -> its requests, with or without a server

    def may_send_to(self, row: ServerRow) -> bool:
        """Return whether a request or connection that the server does not have yet may come to it."""
        if row.in_maintenance:
            return False
        if not self.stopping:
            return True
        if row.mode != "http":
            return self.tcp_clients > sum(other.requests for other in self.rows if other.mode != "http")
        if self.may_ask_again or self.under_way > sum(self.backends.values()):
            return True
        at_servers = sum(other.requests for other in self.rows if other.backend == row.backend)
        return self.backends.get(row.backend, 0) > at_servers


@dataclass(frozen=True, slots=True)
class Usage:
    """The answer for one server, over all processes."""

    used: bool
    requests: int
    last: bool = False  #: one of its backends would have no usable server without it and those that are announced to leave


def parse_rows(answer: str) -> list[ServerRow]:
    """Read the servers in the answer to ``show stat``."""
    return list(parse_process(answer).rows)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one HAProxy process has counted of a server."""

    weight: int
    rate: int  #: requests, in mode tcp connections, of the last second
    failed: int  #: answers with 5xx since the process began
    answer_ms: int  #: on average, of the last 1,024 requests
    answered: int = 0  #: answers of any status since the process began; none in mode tcp
    broken: int = 0  #: answers that did not come, or not to their end, since then
    came: int = 0  #: requests, in mode tcp connections, that were sent there since then
    queued: int = 0  #: requests or connections that wait for it now; of a backend, for any of its servers
    cut: int = 0  #: answers that had begun and did not come to their end, since then
    unanswered: int = 0  #: of those answered, the ones without a status: the client left before there was one


def parse_figures(answer: str) -> dict[tuple[str, str], Figures]:
    """Read what is counted in the answer to ``show stat``, by backend and server."""
    found = {}
    for line in csv.DictReader(answer.lstrip("# ").splitlines()):
        values = (int(line.get(column) or 0) for column in _COUNTED)
        weight, rate, failed, answer_ms, broken, came, queued, cut, unanswered, *answered = values
        total = sum(answered) + unanswered + failed
        counted = Figures(weight, rate, failed, answer_ms, total, broken, came, queued, cut, unanswered)
        found[line["pxname"], line["svname"]] = counted
    return found


def parse_process(statistics: str, connections: str = "", *, stopping: bool = False, told: bool = False) -> Process:
    """Read the answers to ``show stat -1 7 -1`` and ``show fd f``.

    The second matters for a process that is ``stopping``, and has to be the elder one: a request that begins in between is
    then seen at its server. ``told``: its clients have had the time to read that they should open no more streams.
    """
    rows = []
    backends = {}
    http_frontends = set()
    tcp_clients = 0
    # Some hundred columns for each server, and asked for all the time: no dictionary for each row.
    lines = csv.reader(statistics.lstrip("# ").splitlines())
    heading = next(lines, list(_COLUMNS))
    # Columns are found by name: every version adds some.
    pick = itemgetter(*map(heading.index, _COLUMNS))
    for backend, name, current, queued, status, address, mode, weight, kind in (pick(line) for line in lines if line):
        if not name or not status:
            continue
        requests = int(current or 0) + int(queued or 0)
        if kind == "0":
            if mode == "tcp":
                tcp_clients += requests
            elif backend != STATISTICS:
                http_frontends.add(backend)
        elif kind == "1":
            if mode != "tcp":
                # Those that wait in the backend's own queue are among its current ones.
                backends[backend] = int(current or 0)
        else:
            rows.append(ServerRow(backend, name, address, status, requests, mode or "http", int(weight or 1)))
    # Others are whoever asks this.
    clients = [line for line in connections.splitlines() if (at := _FRONTEND.search(line)) and at[1] in http_frontends]
    again = sum(may_ask_again(line, told=told) for line in clients)
    return Process(tuple(rows), stopping, again, sum(map(requests_of, clients)), tcp_clients, backends)


def may_ask_again(connection: str, *, told: bool) -> bool:
    """Return whether another request may come on a client's HTTP connection to a stopping process, by its line of ``show fd``.

    Whatever is not understood may: HAProxy's format is not promised to stay (mux_h1.c and mux_h2.c of 3.0,
    ``h1_set_cli_conn_mode``, ``h1_process``, ``h2_process``).
    """
    if (http1 := _HTTP1.search(connection)) is not None:
        wants, request, response = int(http1[1], 16) & _WANTS, http1[2], http1[3]
        if wants == _WANTS_CLOSE or response == "MSG_TUNNEL":
            return False
        # Its head has been read, and that of the answer not been written: then `Connection: close` will be in there.
        return request not in _READ or response != "MSG_RPBEFORE"
    if (http2 := _HTTP2.search(connection)) is not None:
        return not (told and int(http2[1], 16) & _GOAWAY_SENT)
    return True


def requests_of(connection: str) -> int:
    """Return how many requests a client's HTTP connection has under way, by its line of ``show fd``."""
    if (http2 := _HTTP2.search(connection)) is not None:
        return int(http2[2])
    return int((http1 := _HTTP1.search(connection)) is not None and http1[2] in _READ)


def usage(server: str, processes: Sequence[Process], leaving: Set[str] = frozenset()) -> Usage:
    """Return whether any of the processes still uses a server, and how many requests it has in all of them.

    ``leaving`` are the servers that are announced to leave: none of them counts as another one's replacement.
    """
    found = [(process, row) for process in processes for row in process.rows if row.name == server]
    requests = sum(row.requests for _, row in found)
    used = requests > 0 or any(process.may_send_to(row) for process, row in found)
    return Usage(used, requests, any(_last(server, process.rows, leaving) for process in processes if not process.stopping))


def _last(server: str, rows: Sequence[ServerRow], leaving: Set[str]) -> bool:
    """Return whether a server is in some backend that has no other usable one which stays."""
    backends = {row.backend for row in rows if row.name == server and not row.in_maintenance}
    return bool(backends - {row.backend for row in rows if row.usable and row.name != server and row.name not in leaving})
