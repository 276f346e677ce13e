"""Tables for people, JSON for scripts. Everything that is no result goes to standard error."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TextIO

from eratos.marathon.errors import Problem

from .table import Column, Table
from .tasks import short
from .wait import reason, seems_at_rest

Json = Mapping[str, Any]


class Output:
    """Where results and messages go. ``as_json``: results as the API gave them."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        for stream in (sys.stdout, sys.stderr):
            # What a locale has no letter for is spelt out instead of ending the command.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        #: Of the terminal; None in a pipe, where nothing is cut off, folded or shortened.
        self.width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None

    def say(self, message: str) -> None:
        """Tell of progress or of success; not a result."""
        self._write(sys.stderr, message)

    def fail(self, message: str, problems: Iterable[Problem] = ()) -> None:
        self._write(sys.stderr, _styled(f"eratos: {message}", "31", sys.stderr))
        rows = [(problem.path, problem.message) for problem in problems]
        if rows:
            width = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
            columns = (Column("FIELD", "never"), Column("PROBLEM AND FIX", "fold"))
            for line in Table(columns, rows).lines(width):
                self._write(sys.stderr, line)

    def raw(self, text: str) -> None:
        """Pass on what a task wrote, at once and as it is."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def task(self, task_id: str) -> str:
        """Return a task's id as it is shown here: short in a terminal. Commands take either."""
        return task_id if self.width is None else short(task_id)

    def result(self, data: Any, *tables: Table | str) -> None:
        """Show a result: ``data`` as JSON, or else the tables and lines."""
        if self.as_json:
            self._write(sys.stdout, json.dumps(data, indent=2))
            return
        more = "…" if (sys.stdout.encoding or "").lower().startswith("utf") else "..."
        for table in tables:
            if isinstance(table, str):
                self._write(sys.stdout, table)
                continue
            for number, line in enumerate(table.lines(self.width, more)):
                self._write(sys.stdout, line if number or not table.header else _styled(line, "1", sys.stdout))

    def _write(self, stream: TextIO, line: str) -> None:
        stream.write(line + "\n")


def _styled(text: str, code: str, stream: TextIO) -> str:
    """Colour text for a terminal whose user did not ask for none (https://no-color.org)."""
    plain = not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else f"\033[{code}m{text}\033[0m"


def _age(moment: object) -> str:
    """Return how long ago an ISO time was, in one unit: 45s, 12m, 3h, 20d; an empty text for none."""
    try:
        seconds = int(time.time() - datetime.fromisoformat(str(moment).replace("Z", "+00:00")).timestamp())
    except ValueError:
        return ""
    sign, seconds = "-" if seconds < 0 else "", abs(seconds)
    for most, unit, size in ((120, "s", 1), (7200, "m", 60), (172_800, "h", 3600)):
        if seconds < most:
            return f"{sign}{seconds // size}{unit}"
    return f"{sign}{seconds // 86_400}d"


def apps(found: Iterable[Json]) -> Table:
    rows = []
    for app in found:
        checked = bool(app.get("healthChecks"))
        rows.append(
            (
                app["id"],
                f"{app.get('tasksRunning', 0)}/{app['instances']}",
                app.get("tasksHealthy") if checked else None,
                _state(app),
                f"{app['cpus']:g}",
                f"{app['mem']:g}",
                _image(app),
            )
        )
    names = ("RUNNING", "HEALTHY", "STATE", "CPUS", "MEM", "IMAGE")
    return Table((Column("ID", "never"), *map(Column, names)), rows)


def _image(app: Json) -> str:
    return str(((app.get("container") or {}).get("docker") or {}).get("image") or "")


def _state(app: Json) -> str:
    """Say whether an app is what it was asked to be, as far as its counts tell."""
    return "deploying" if app.get("deployments") else "at rest" if seems_at_rest(app) else "not at rest"


def app(shown: Json, queue: Iterable[Json], out: Output, *, at_rest: bool) -> list[Table | str]:
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
        ("state", "at rest" if at_rest else "deploying" if shown.get("deployments") else "not at rest"),
        *([("waits for", why)] if why else []),
        *([("last failure", f"{failure['timestamp']} {failure['state']} {failure['message']}")] if failure else []),
    ]
    table = Table((Column("", "never"), Column("", "fold")), rows, header=False)
    return [table, "", tasks(shown.get("tasks") or (), out)]


def _health(shown: Json) -> str:
    if not shown.get("healthChecks"):
        return "no health checks"
    return f"{shown.get('tasksHealthy', 0)} healthy, {shown.get('tasksUnhealthy', 0)} unhealthy"


def tasks(found: Iterable[Json], out: Output) -> Table:
    rows = [
        (
            out.task(task["id"]),
            task["state"].removeprefix("TASK_").lower(),
            {True: "yes", False: "no", None: ""}[_alive(task)],
            task.get("host"),
            ",".join(map(str, task.get("ports") or ())),
            _age(task.get("startedAt") or task.get("stagedAt")),
            task["appId"],
        )
        for task in found
    ]
    return Table((Column("TASK", "never"), *map(Column, ("STATE", "HEALTHY", "HOST", "PORTS", "AGE", "APP"))), rows)


def _alive(task: Json) -> bool | None:
    results = task.get("healthCheckResults") or ()
    return all(result.get("alive") for result in results) if results else None


def deployments(found: Iterable[Json]) -> Table:
    rows = [(item["id"], _age(item.get("version")), ", ".join(item.get("affectedApps") or ())) for item in found]
    return Table((Column("DEPLOYMENT", "never"), Column("AGE"), Column("APPS", "fold")), rows)


def queue(found: Iterable[Json]) -> Table:
    rows = [((item.get("app") or {}).get("id"), item.get("count"), _age(item.get("since")), reason(dict(item))) for item in found]
    return Table((Column("APP", "never"), Column("WAITING"), Column("AGE"), Column("REASON", "fold")), rows)


def explained(found: Json) -> list[Table | str]:
    """Return how an app stands, and a line for each reason."""
    state = "at rest" if found["atRest"] else "not at rest"
    counts = f"{found['ready']} of {found['wanted']} ready, {found['waiting']} waiting, {found['old']} old"
    head = f"{found['app']} is {state}: {counts}"
    rows = [(item["reason"], item["count"], _until(item.get("until")), item["message"]) for item in found["reasons"]]
    columns = (Column("REASON", "never"), Column("COUNT"), Column("UNTIL"), Column("WHAT IT MEANS", "fold"))
    balancers = [f"balancers: {line}" for line in found.get("balancers", ())]
    return [head, *balancers, *([Table(columns, rows)] if rows else [])]


def _until(moment: object) -> str:
    age = _age(moment) if moment else ""
    return f"in {age[1:]}" if age.startswith("-") else "now" if age else ""


def brake(found: Json) -> list[Table | str]:
    """Return the state of the disaster brake and the hosts that are missed."""
    head = f"engaged since {found['since']}: {found['reason']}" if found["engaged"] else "not engaged"
    rows = [(item["host"], item["tasks"], _age(item["since"])) for item in found["lost"]]
    return [head, *([Table((Column("HOST", "never"), Column("TASKS LOST"), Column("AGE")), rows)] if rows else [])]


def pairs(data: Json) -> Table:
    """Return a flat object as two columns; nested ones are left to --json."""
    rows = [(key, value) for key, value in data.items() if not isinstance(value, dict | list)]
    return Table((Column("WHAT", "never"), Column("VALUE", "fold")), rows)
