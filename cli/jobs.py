"""Jobs from files, runs that are waited for, and jobs, runs and histories as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from eratos.marathon.client import MarathonClient

from .files import Unreadable, read
from .output import Output
from .patience import Look, Patience, until
from .table import Column, Table
from .views import age, moment

Json = Mapping[str, Any]


def load(path: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the jobs of a file, each with what the file is called: one, a list, or several documents. Raises Unreadable."""
    source, bodies = read(path)
    found = [item for body in bodies for item in (body if isinstance(body, list) else [body])]
    if not found:
        raise Unreadable(f"{source} is empty: write a job, or a list of jobs")
    for item in found:
        if not isinstance(item, dict) or not isinstance(item.get("id"), str):
            raise Unreadable(f'{source} holds no id, so it is no job: add "id": "shop.backup"')
    return [(source, item) for item in found]


def until_ended(client: MarathonClient, job_id: str, run_id: str, patience: Patience) -> dict[str, Any]:
    """Return a run once it has ended. Raises TookTooLong, Interrupted, Refused."""

    def look() -> Look[dict[str, Any]]:
        run = client.run(job_id, run_id)
        if run["completedAt"]:
            return Look({}, run)
        line = f"{run_id}: {str(run['status']).lower()}" + (f": {run['message']}" if run["message"] else "")
        return Look({"": line}, None, line)

    return until(look, patience, "ended", f"it goes on; see eratos job history {job_id}")


def listed(jobs: Iterable[Json], out: Output) -> Table:
    """Return jobs with their schedules and how they went."""
    rows = []
    for job in jobs:
        counts = job["historySummary"]
        coming = sorted(str(each["nextRunAt"]) for each in job["schedules"] if each.get("nextRunAt"))
        rows.append(
            (
                job["id"],
                ", ".join(f"{each['cron']} {each['timezone']}" + _disabled(each) for each in job["schedules"]) or "by hand",
                moment(coming[0] if coming else "", out),
                len(job["activeRuns"]),
                counts["successCount"],
                counts["failureCount"],
                counts.get("missedCount"),
            )
        )
    names = ("SCHEDULE", "NEXT", "ACTIVE", "SUCCEEDED", "FAILED", "MISSED")
    return Table((Column("JOB", "never"), *map(Column, names)), rows)


def _disabled(schedule: Json) -> str:
    return "" if schedule.get("enabled", True) else " (disabled)"


def shown(job: Json, out: Output) -> list[Table | str]:
    """Return a job in full: what it runs, when, and the runs that are at work."""
    spec = job["run"]
    docker = spec.get("docker") or {}
    head = [
        ("id", job["id"]),
        *([("description", job["description"])] if job.get("description") else []),
        ("image", docker.get("image", "")),
        ("command", spec.get("cmd") or " ".join(spec.get("args") or ())),
        ("resources", f"{spec['cpus']:g} CPUs, {spec['mem']:g} MiB"),
        ("restart", spec["restart"]["policy"]),
    ]
    schedules = [
        (
            each["id"],
            each["cron"] + _disabled(each),
            each["timezone"],
            each["concurrencyPolicy"],
            f"{each['startingDeadlineSeconds']}s",
            moment(each.get("nextRunAt", ""), out),
        )
        for each in job["schedules"]
    ]
    names = ("CRON", "TIME ZONE", "CONCURRENCY", "DEADLINE", "NEXT")
    return [
        Table((Column("", "never"), Column("", "fold")), head, header=False),
        "",
        Table((Column("SCHEDULE", "never"), *map(Column, names)), schedules),
        "",
        runs(job["activeRuns"]),
    ]


def runs(found: Iterable[Json]) -> Table:
    """Return runs that are at work."""
    rows = [(run["id"], run["status"].lower(), age(run["createdAt"]), run["tries"], _host(run), run["message"]) for run in found]
    columns = (Column("RUN", "never"), Column("STATE"), Column("AGE"), Column("TRIES"), Column("HOST"), Column("MESSAGE", "fold"))
    return Table(columns, rows)


def history(job: Json, out: Output) -> list[Table | str]:
    """Return how a job's runs ended, the latest first, and which instants were missed."""
    found = job["history"]
    ended = [(run, "succeeded") for run in found["successfulFinishedRuns"]]
    ended += [(run, "failed") for run in found["failedFinishedRuns"]]
    ended.sort(key=lambda each: str(each[0]["finishedAt"]), reverse=True)
    rows = [
        (
            run["id"],
            state,
            *(moment(run[name], out) for name in ("createdAt", "finishedAt")),
            run["tries"],
            _exit_code(run),
            _host(run),
            run["message"],
        )
        for run, state in ended
    ]
    names = ("STATE", "BEGAN", "ENDED", "TRIES", "EXIT CODE", "HOST")
    counts = f"{found['successCount']} succeeded, {found['failureCount']} failed, {found['missedCount']} missed"
    tables: list[Table | str] = [
        counts,
        "",
        Table((Column("RUN", "never"), *map(Column, names), Column("MESSAGE", "fold")), rows),
    ]
    if found["missed"]:
        missed = [(each["scheduledAt"], each["scheduleId"], each["reason"]) for each in found["missed"]]
        tables += ["", Table((Column("MISSED", "never"), Column("SCHEDULE"), Column("REASON", "fold")), missed)]
    return tables


def _host(run: Json) -> str:
    return str(run["tasks"][-1]["host"]) if run["tasks"] else ""


def _exit_code(run: Json) -> str:
    code = run["tasks"][-1]["exitCode"] if run["tasks"] else None
    return "" if code is None else str(code)


def latest(job: Json) -> Json | None:
    """Return the run of a job that began last and has a task; None where there is none."""
    found = job["history"]
    all_runs = [*job["activeRuns"], *found["successfulFinishedRuns"], *found["failedFinishedRuns"]]
    return max((run for run in all_runs if run["tasks"]), key=lambda run: str(run["createdAt"]), default=None)
