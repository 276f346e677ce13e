"""``eratos top``: instances with their requests, CPU and memory, again and again. Pure but for :func:`look` and :func:`watch`.

Requests a second, time to answer and errors are what HAProxy counts for each server, CPU and memory what executors measure. What
is not known is shown as such, never as 0.
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
_MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class Row:
    """One instance; the figures are None where no balancer sends to it, or its executor does not say them."""

    task: str
    app: str
    host: str
    state: str
    since: str
    requests_per_s: float | None = None
    answer_ms: float | None = None  #: on average of the last requests
    errors: int | None = None  #: answers with 5xx since the balancers began
    cpus: float | None = None  #: cores in use
    cpus_limit: float | None = None  #: that it may use
    mem_bytes: int | None = None  #: its working set
    mem_limit_bytes: int | None = None  #: what it may hold
    usage_age_s: float | None = None  #: how long ago CPU and memory were read
    usage_missing: str = ""  #: why they are not all known

    @property
    def cpu_share(self) -> float | None:
        """Which part of the CPU that it may use it uses."""
        return self.cpus / self.cpus_limit if self.cpus is not None and self.cpus_limit else None


def rows(overview: Json, balancers: Iterable[Json], usages: Iterable[Json] = ()) -> list[Row]:
    """Return the instances there are, with the sums over all balancers and with what they take."""
    taken = {usage["id"]: usage for usage in usages}
    hosts = {agent["id"]: agent["host"] for agent in overview["agents"]}
    figures = _figures(balancers)
    return [
        _with_usage(
            _row(app["id"], task, hosts.get(task["agent"], ""), figures.get(names.service_id(task["id"]), ())),
            taken.get(task["id"]),
        )
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


def _with_usage(row: Row, usage: Json | None) -> Row:
    if usage is None:
        return row
    return replace(
        row,
        cpus=usage["cpus"],
        cpus_limit=usage["cpusLimit"],
        mem_bytes=usage["memBytes"],
        mem_limit_bytes=usage["memLimitBytes"],
        usage_age_s=usage["ageSeconds"],
        usage_missing=usage["missing"],
    )


#: The figures that rows are sorted by.
_FIGURES: Final = {
    **{"requests": "requests_per_s", "answer": "answer_ms", "errors": "errors"},
    **{"cpu": "cpus", "mem": "mem_bytes"},
}


def ordered(found: Iterable[Row], by: Order, *, reverse: bool) -> list[Row]:
    """Sort instances: figures and ages from the greatest, texts from the first; ``reverse`` turns that round."""
    named = sorted(found, key=lambda row: (row.app, row.host, row.task))
    if figure := _FIGURES.get(by):
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
            *_usage(row),
            row.host,
            age(row.since),
            row.app,
        )
        for row in found
    ]
    names_ = ("REQ/S", "MS", "5XX", "STATE", "CPU", "%CPU", "MIB", "%MEM", "HOST", "AGE", "APP")
    return Table((Column("TASK", "never"), *map(Column, names_)), lines)


def _of(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.0f}"


def _usage(row: Row) -> tuple[str, str, str, str]:
    """Return cores in use, MiB held, and which part of what it may take each is; empty, which a table shows as -: not known."""
    cpus = "" if row.cpus is None else f"{row.cpus:.2f}"
    mem_share = row.mem_bytes / row.mem_limit_bytes if row.mem_bytes is not None and row.mem_limit_bytes else None
    mem_mib = None if row.mem_bytes is None else row.mem_bytes / _MIB
    return cpus, _percent(row.cpu_share), _of(mem_mib), _percent(mem_share)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f}"


def head(found: Sequence[Row], shown: int, trouble: str = "") -> str:
    """Return the line above the table: what there is in all, and what keeps it from being new."""
    ready = sum(row.state == "ready" for row in found)
    rate = sum(row.requests_per_s or 0 for row in found)
    more = f", {shown} shown" if shown < len(found) else ""
    unmeasured = [row.usage_missing for row in found if row.state == "ready" and row.usage_missing and row.mem_bytes is None]
    unknown = f"; no CPU and memory of {len(unmeasured)}: {unmeasured[0]}" if unmeasured else ""
    said = f"{len(found)} instances, {ready} ready, {rate:.0f} requests/s{more}{unknown}"
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
    return rows(overview, client.balancers(), _usages(client, app_id))


def _usages(client: MarathonClient, app_id: str) -> list[Json]:
    """Ask what instances take; nothing where the scheduler is of a version that does not know it. Raises Refused."""
    try:
        return list(client.usage(*([app_id] if app_id else [])))
    except Refused as refused:
        if refused.status == 404:
            return []
        raise


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
