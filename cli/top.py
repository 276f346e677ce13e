"""``eratos top``: instances with what balancers count of their requests, again and again. Pure but for :func:`watch`.

No part of eratos knows what CPU and memory an instance uses, so none is shown: requests a second, time to answer and errors
are what HAProxy counts for each server.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from eratos.common import names
from eratos.marathon.client import MarathonClient, Refused, Unreachable

from .arguments import Order
from .output import Output
from .table import Column, Table
from .views import age

Json = Mapping[str, Any]

#: Of a terminal: another screen without a cursor, and back; to its upper left corner; what is left of a line, and below it.
_ENTER, _LEAVE, _HOME, _REST_OF_LINE, _REST = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l", "\033[H", "\033[K", "\033[J"
#: Lines that are no instances: the head, an empty one, the names of the columns, and the last, where the cursor stands.
_AROUND: Final = 4


@dataclass(frozen=True)
class Row:
    """One instance; the figures are None where no balancer sends to it."""

    task: str
    app: str
    host: str
    state: str
    since: str
    requests_per_s: float | None = None
    answer_ms: float | None = None  #: on average of the last requests
    errors: int | None = None  #: answers with 5xx since the balancers began


def rows(overview: Json, balancers: Iterable[Json]) -> list[Row]:
    """Return the instances there are, with the sums over all balancers."""
    hosts = {agent["id"]: agent["host"] for agent in overview["agents"]}
    figures = _figures(balancers)
    return [
        _row(app["id"], task, hosts.get(task["agent"], ""), figures.get(names.service_id(task["id"]), ()))
        for app in overview["apps"]
        for task in app["tasks"]
    ]


def _figures(balancers: Iterable[Json]) -> dict[str, list[Json]]:
    """Return what each balancer counts of each server, by the id of the service of an instance's first port."""
    found: dict[str, list[Json]] = {}
    for balancer in balancers:
        for service in balancer.get("services") or ():
            for server in service["servers"]:
                found.setdefault(server["id"], []).append(server)
    return found


def _row(app: str, task: Json, host: str, servers: Sequence[Json]) -> Row:
    known = [server for server in servers if "rate" in server]
    shown = Row(task["id"], app, host, task["condition"], task["since"])
    if not known:
        return shown
    rate = sum(server["rate"] for server in known)
    # A balancer that sends nothing just now says nothing of the time; without any the last known counts.
    weighed = [(server["answer_ms"], server["rate"] if rate else bool(server["answer_ms"])) for server in known]
    weight = sum(one for _, one in weighed)
    answer_ms = sum(ms * one for ms, one in weighed) / weight if weight else 0.0
    return replace(shown, requests_per_s=rate, answer_ms=answer_ms, errors=sum(server["failed"] for server in known))


def ordered(found: Iterable[Row], by: Order, *, reverse: bool) -> list[Row]:
    """Sort instances: figures and ages from the greatest, texts from the first; ``reverse`` turns that round."""
    named = sorted(found, key=lambda row: (row.app, row.host, row.task))
    if by in ("requests", "answer", "errors"):
        figure = {"requests": "requests_per_s", "answer": "answer_ms", "errors": "errors"}[by]
        named.sort(key=lambda row: -1 if getattr(row, figure) is None else getattr(row, figure), reverse=not reverse)
        return named
    named.sort(key=lambda row: row.since if by == "age" else getattr(row, by), reverse=reverse)
    return named


def table(found: Iterable[Row], out: Output) -> Table:
    lines = [
        (
            out.task(row.task),
            _of(row.requests_per_s),
            _of(row.answer_ms),
            _of(row.errors),
            row.state,
            row.host,
            age(row.since),
            row.app,
        )
        for row in found
    ]
    names_ = ("REQ/S", "MS", "5XX", "STATE", "HOST", "AGE", "APP")
    return Table((Column("TASK", "never"), *map(Column, names_)), lines)


def _of(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.0f}"


def head(found: Sequence[Row], shown: int, trouble: str = "") -> str:
    """Return the line above the table: what there is in all, and what keeps it from being new."""
    ready = sum(row.state == "ready" for row in found)
    rate = sum(row.requests_per_s or 0 for row in found)
    more = f", {shown} shown" if shown < len(found) else ""
    said = f"{len(found)} instances, {ready} ready, {rate:.0f} requests/s{more}"
    return f"{said}; {trouble}" if trouble else said


def look(client: MarathonClient, app_id: str) -> list[Row]:
    """Ask for the instances of an app, empty: of all. Raises Refused where there is none of that name, and by Marathon."""
    try:
        overview = client.overview(*([app_id] if app_id else []))
    except Refused as refused:
        if refused.status == 404:
            raise Refused(404, "this needs /v2/overview, which Marathon and older eratos have not: eratos task list") from refused
        raise
    if app_id and not overview["apps"]:
        raise Refused(404, f"there is no app {app_id}: eratos app list")
    return rows(overview, client.balancers())


def watch(
    again: Callable[[], list[Row]],
    out: Output,
    sleep: Callable[[float], object],
    every_s: float,
    size: Callable[[], tuple[int, int]],
) -> None:
    """Draw what ``again`` returns until Ctrl-C; ``size`` returns columns and lines of the terminal.

    Nobody there for a while is said above what was known last. Raises Refused, as for a token that has expired.
    """
    found: list[Row] = []
    sys.stdout.write(_ENTER)
    try:
        while True:
            try:
                found, trouble = again(), ""
            except Unreachable as error:
                trouble = f"as it was: {error}"
            columns, lines = size()
            out.raw(_drawn(found, trouble, out, columns, lines))
            sleep(every_s)
    except KeyboardInterrupt:
        return  # how people leave it
    finally:
        out.raw(_LEAVE)


def _drawn(found: Sequence[Row], trouble: str, out: Output, columns: int, lines: int) -> str:
    shown = list(found[: max(lines - _AROUND, 1)])
    texts = [head(found, len(shown), trouble), "", *table(shown, out).lines(columns)]
    return _HOME + "".join(text[:columns] + _REST_OF_LINE + "\r\n" for text in texts[: max(lines - 1, 1)]) + _REST
