"""HAProxy's line for a request (``log-format`` of haproxy.cfg) -> who served it, when and how. Pure.

What a client wrote stands at the line's end, within quotes, and HAProxy writes blanks and quotes in it as ``#20`` and ``#22``:
so it cannot look like a field of the line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

_MONTHS: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_MOMENT = rb"\[(\d\d)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d)\.(\d{3})\]"
_TIMES = rb"-?\d+/(?P<queue>-?\d+)/(?P<connect>-?\d+)/(?P<answer>-?\d+)/\+?(?P<total>-?\d+)"
_LINE = re.compile(
    rb"\S+ " + _MOMENT + rb" \S+ (?P<backend>[^\s/]+)/(?P<server>\S+) " + _TIMES + rb" (?P<status>-?\d+) \+?\d+ \S+ \S+ "
    rb"(?P<ending>\S{4}) \d+/\d+/\d+/\d+/\+?(?P<retries>\d+) \d+/\d+ (?:\{[^\"]*\} )?id=(?P<id>\S+) at=(?P<address>\S+) \""
)
_BEGINNING = re.compile(rb"\S+ " + _MOMENT)


@dataclass(frozen=True, slots=True)
class Served:
    """One request, as the balancer has seen it. Times in milliseconds; None: it did not come so far."""

    at: float  #: when its first byte came, in seconds since the epoch
    backend: str
    server: str  #: empty: no instance got it
    address: str  #: of that one, with its port; empty likewise
    status: int | None  #: None: there was no answer
    queue_ms: int | None  #: that it waited for a server that takes it
    connect_ms: int | None  #: for a connection, other attempts included
    answer_ms: int | None  #: until the answer began
    total_ms: int  #: until all of it was over
    retries: int
    ending: str  #: how the session ended, in HAProxy's four letters: ``--`` at its beginning is how it should


def needle(request_id: str) -> bytes:
    """Return what the lines of a request hold, and hardly any other."""
    return f" id={request_id} at=".encode()


def parse(line: bytes, request_id: str) -> Served | None:
    """Read a line; None where it is not this request's. Its time is that of the zone that this process is in."""
    found = _LINE.match(line)
    if found is None or found["id"] != request_id.encode():
        return None
    moment = _moment(found)
    if moment is None:
        return None
    server, address = found["server"].decode("ascii", "replace"), found["address"].decode("ascii", "replace")
    status, total = int(found["status"]), int(found["total"])
    nobody = server == "<NOSRV>"
    return Served(
        at=moment,
        backend=found["backend"].decode("ascii", "replace"),
        server="" if nobody else server,
        address="" if nobody or address.startswith("-") else address,
        status=status if status > 0 else None,
        queue_ms=_known(found["queue"]),
        connect_ms=_known(found["connect"]),
        answer_ms=_known(found["answer"]),
        total_ms=total,
        retries=int(found["retries"]),
        ending=found["ending"].decode("ascii", "replace"),
    )


def moment_of(line: bytes) -> float | None:
    """Return when the request of a line came, in seconds since the epoch; None where it is no request's."""
    found = _BEGINNING.match(line)
    return _moment(found) if found is not None else None


def _moment(found: re.Match[bytes]) -> float | None:
    """Return the moment that a line begins with, whose parts are the first groups; None where there is no such."""
    if found[2] not in _MONTHS:
        return None
    day, year, hour, minute, second, millisecond = (int(found[group]) for group in (1, 3, 4, 5, 6, 7))
    try:
        # HAProxy writes the time of its zone, which is that of its companion.
        moment = datetime(year, _MONTHS.index(found[2]) + 1, day, hour, minute, second, millisecond * 1000)
        return moment.timestamp()
    except (OverflowError, ValueError, OSError):
        return None


def _known(number: bytes) -> int | None:
    return int(number) if int(number) >= 0 else None
