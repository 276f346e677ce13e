"""Tables for people, JSON for scripts. Everything that is no result goes to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from eratos.marathon.errors import Problem

from .wait import reason

Json = Mapping[str, Any]

#: Into a pipe nothing is cut off or folded.
_PIPE_WIDTH = 10_000


class Output:
    """Where results and messages go. ``as_json``: results as the API gave them."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._out = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
        self._err = Console(stderr=True, highlight=False, soft_wrap=True)

    def say(self, message: str) -> None:
        """Tell of progress or of success; not a result."""
        self._err.print(Text(message))

    def fail(self, message: str, problems: Iterable[Problem] = ()) -> None:
        self._err.print(Text(f"eratos: {message}", style="red"))
        rows = [(problem.path, problem.message) for problem in problems]
        if rows:
            self._err.print(_table(("FIELD", "PROBLEM AND FIX"), rows))

    def raw(self, text: str) -> None:
        """Pass on what a task wrote, at once and as it is."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def result(self, data: Any, *tables: Table | str) -> None:
        """Show a result: ``data`` as JSON, or else the tables and lines."""
        if self.as_json:
            sys.stdout.write(json.dumps(data, indent=2) + "\n")
            return
        for table in tables:
            self._out.print(Text(table) if isinstance(table, str) else table)


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # Text, because what comes from definitions and agents is no markup.
        table.add_row(*(Text("-" if item in (None, "") else str(item)) for item in row))
    return table


def apps(found: Iterable[Json]) -> Table:
    rows = []
    for app in found:
        checked = bool(app.get("healthChecks"))
        rows.append(
            (
                app["id"],
                _image(app),
                f"{app.get('tasksRunning', 0)}/{app['instances']}",
                app.get("tasksHealthy") if checked else None,
                f"{app['cpus']:g}",
                f"{app['mem']:g}",
                "deploying" if app.get("deployments") else "",
            )
        )
    return _table(("ID", "IMAGE", "RUNNING", "HEALTHY", "CPUS", "MEM", "STATE"), rows)


def _image(app: Json) -> str:
    return str(((app.get("container") or {}).get("docker") or {}).get("image") or "")


def app(shown: Json, queue: Iterable[Json]) -> list[Table | str]:
    """Return one app in full: what it is, what it waits for, its tasks."""
    why = next((reason(dict(item)) for item in queue if (item.get("app") or {}).get("id") == shown["id"]), "")
    failure = shown.get("lastTaskFailure") or {}
    rows = [
        ("id", shown["id"]),
        ("image", _image(shown)),
        ("command", shown.get("cmd") or " ".join(shown.get("args") or ())),
        ("version", shown.get("version")),
        ("resources", f"{shown['cpus']:g} CPUs, {shown['mem']:g} MiB"),
        ("instances", f"{shown.get('tasksRunning', 0)} of {shown['instances']} running, {shown.get('tasksStaged', 0)} starting"),
        ("health", _health(shown)),
        ("state", "deploying" if shown.get("deployments") else "at rest"),
        *([("waits for", why)] if why else []),
        *([("last failure", f"{failure['timestamp']} {failure['state']} {failure['message']}")] if failure else []),
    ]
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(str(value or "-")))
    return [table, "", tasks(shown.get("tasks") or ())]


def _health(shown: Json) -> str:
    if not shown.get("healthChecks"):
        return "no health checks"
    return f"{shown.get('tasksHealthy', 0)} healthy, {shown.get('tasksUnhealthy', 0)} unhealthy"


def tasks(found: Iterable[Json]) -> Table:
    rows = [
        (
            task["id"],
            task["appId"],
            task["state"].removeprefix("TASK_").lower(),
            {True: "yes", False: "no", None: ""}[_alive(task)],
            task.get("host"),
            ",".join(map(str, task.get("ports") or ())),
            task.get("startedAt") or task.get("stagedAt"),
        )
        for task in found
    ]
    return _table(("TASK", "APP", "STATE", "HEALTHY", "HOST", "PORTS", "SINCE"), rows)


def _alive(task: Json) -> bool | None:
    results = task.get("healthCheckResults") or ()
    return all(result.get("alive") for result in results) if results else None


def deployments(found: Iterable[Json]) -> Table:
    rows = ((item["id"], item.get("version"), ", ".join(item.get("affectedApps") or ())) for item in found)
    return _table(("DEPLOYMENT", "VERSION", "APPS"), rows)


def queue(found: Iterable[Json]) -> Table:
    rows = (((item.get("app") or {}).get("id"), item.get("count"), item.get("since"), reason(dict(item))) for item in found)
    return _table(("APP", "WAITING", "SINCE", "REASON"), rows)


def explained(found: Json) -> list[Table | str]:
    """Return how an app stands, and a line for each reason."""
    state = "at rest" if found["atRest"] else "not at rest"
    counts = f"{found['ready']} of {found['wanted']} ready, {found['waiting']} waiting, {found['old']} old"
    head = f"{found['app']} is {state}: {counts}"
    rows = [(item["reason"], item["count"], item.get("until"), item["message"]) for item in found["reasons"]]
    balancers = [f"balancers: {line}" for line in found.get("balancers", ())]
    return [head, *balancers, *([_table(("REASON", "COUNT", "UNTIL", "WHAT IT MEANS"), rows)] if rows else [])]


def brake(found: Json) -> list[Table | str]:
    """Return the state of the disaster brake and the hosts that are missed."""
    head = f"engaged since {found['since']}: {found['reason']}" if found["engaged"] else "not engaged"
    rows = [(item["host"], item["tasks"], item["since"]) for item in found["lost"]]
    return [head, *([_table(("HOST", "TASKS LOST", "SINCE"), rows)] if rows else [])]


def pairs(data: Json) -> Table:
    """Return a flat object as two columns; nested ones are left to --json."""
    rows = [(key, value) for key, value in data.items() if not isinstance(value, dict | list)]
    return _table(("WHAT", "VALUE"), rows)
