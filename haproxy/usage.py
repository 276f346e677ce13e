"""What HAProxy's processes say of their servers, and whether a server is still used. Pure.

A server is used while any process has a request on it, or may still send one there. The second is what needs thought:

- The current process may send to every server it has out of maintenance.
- An old process accepts no connections, but serves the ones it has: a client's idle connection gets one more answer
  (``option idle-close-on-response``). So an old process, too, may send to every server it has out of maintenance, until
  it ends, which it does as soon as its last client has gone: after one answer, or after ``timeout http-keep-alive``.
- An old process takes no orders ("Proxy is disabled"). So servers that a reload removes are put into maintenance just
  before it, where that leaves their pool another server; then no idle client holds up their drain.

So one rule serves all processes: used = out of maintenance, or with requests.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerRow:
    """One server as one HAProxy process sees it."""

    backend: str
    name: str
    address: str  #: ``address:port``
    status: str  #: ``UP``, ``UP 1/2``, ``DOWN``, ``MAINT``, ``no check`` ...
    requests: int  #: under way on the server or waiting for it

    @property
    def in_maintenance(self) -> bool:
        """Whether the process sends nothing new there."""
        return self.status.startswith("MAINT")

    @property
    def usable(self) -> bool:
        """Whether the process would send a request there now."""
        return self.status.startswith(("UP", "no check"))


@dataclass(frozen=True, slots=True)
class Usage:
    """The answer for one server, over all processes."""

    used: bool
    requests: int


def parse_rows(answer: str) -> list[ServerRow]:
    """Read the answer to ``show stat -1 4 -1``. Columns are found by name: every version adds some."""
    rows = []
    for row in csv.DictReader(answer.lstrip("# ").splitlines()):
        if row.get("svname") and row.get("status"):
            requests = int(row.get("scur") or 0) + int(row.get("qcur") or 0)
            rows.append(ServerRow(row["pxname"], row["svname"], row.get("addr") or "", row["status"], requests))
    return rows


def usage(server: str, processes: Iterable[Iterable[ServerRow]]) -> Usage:
    """Tell whether any of the processes still uses a server, and how many requests it has in all of them."""
    rows = [row for rows in processes for row in rows if row.name == server]
    requests = sum(row.requests for row in rows)
    return Usage(requests > 0 or any(not row.in_maintenance for row in rows), requests)
