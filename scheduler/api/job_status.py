"""Jobs and their runs as JSON, in Metronome's form. What Metronome has not stands beside: the instant of a run, how its tasks
ended, why it waits, and which instants were missed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, NamedTuple

from eratos.common.times import timestamp
from eratos.marathon.job import Job, Schedule
from eratos.scheduler.core import runs, schedules
from eratos.scheduler.core.instances import Instance
from eratos.scheduler.core.launches import Launches
from eratos.scheduler.core.mesos_types import TaskState
from eratos.scheduler.core.records import EndedRun, HistoryRecord, RunRecord, TaskRecord
from eratos.scheduler.core.state import Run, State

from . import queue

Json = dict[str, Any]

EMBEDS: Final = ("activeRuns", "schedules", "history", "historySummary")


class Look(NamedTuple):
    """A job at one moment, with what is shown of it."""

    job: Job
    history: HistoryRecord
    active: list[Json]


def look(state: State, job: Job, now: float) -> Look:
    """Copy what is shown of a job, while the state stands still."""
    history = state.histories.get(job.id) or HistoryRecord(job.id)
    return Look(job, history, [active_run(state, run, now) for run in state.runs_of(job.id)])


def planned(state: State, job: Job, now: float) -> Look:
    """Return what there would be if a job were put now."""
    found = look(state, job, now)
    decided = schedules.decided(job, state.jobs.get(job.id), found.history, now)
    return found._replace(history=replace(found.history, decided=decided))


def shown(seen: Look, embeds: Iterable[str]) -> Json:
    """Return a job, with what is asked for beside it."""
    found = seen.job.to_json()
    timed = [schedule(each, seen.history) for each in seen.job.schedules]
    parts: Json = {
        "activeRuns": seen.active,
        "schedules": timed,
        "history": history(seen.history),
        "historySummary": summary(seen.history),
    }
    return {key: value for key, value in found.items() if key != "schedules"} | {key: parts[key] for key in embeds}


def schedule(each: Schedule, of_job: HistoryRecord) -> Json:
    """Return a schedule with its next instant."""
    found = each.model_dump(mode="json", by_alias=True)
    decided = of_job.decided.get(each.id)
    coming = each.times.after(decided) if each.enabled and decided is not None else None
    return found | ({"nextRunAt": timestamp(coming)} if coming is not None else {})


def summary(of_job: HistoryRecord) -> Json:
    return {
        "successCount": of_job.successes,
        "failureCount": of_job.failures,
        "lastSuccessAt": _moment(of_job.last_success_at),
        "lastFailureAt": _moment(of_job.last_failure_at),
        "missedCount": of_job.missed,
        "lastMissedAt": _moment(of_job.last_missed_at),
    }


def history(of_job: HistoryRecord) -> Json:
    latest = of_job.runs[::-1]
    return summary(of_job) | {
        "successfulFinishedRuns": [_finished(run) for run in latest if run.outcome == runs.SUCCESS],
        "failedFinishedRuns": [_finished(run) for run in latest if run.outcome == runs.FAILED],
        "missed": [
            {"scheduledAt": timestamp(each.instant), "scheduleId": each.schedule_id, "reason": each.reason}
            for each in of_job.latest_missed[::-1]
        ],
    }


def _finished(run: EndedRun) -> Json:
    return {
        "id": run.run_id,
        "createdAt": timestamp(run.created_at),
        "finishedAt": timestamp(run.ended_at),
        "scheduledAt": _moment(run.instant),
        "message": run.message,
        "tries": run.tries,
        "tasks": [_ended_task(task) for task in run.tasks],
    }


def ended_run(job_id: str, run: EndedRun) -> Json:
    """Return a run that has ended."""
    return _run(job_id, run, "SUCCESS" if run.outcome == runs.SUCCESS else "FAILED") | {
        "completedAt": timestamp(run.ended_at),
        "message": run.message,
        "missed": run.outcome == runs.MISSED,
        "tasks": [_ended_task(task) for task in run.tasks],
    }


def active_run(state: State, run: Run, now: float) -> Json:
    """Return a run that has not ended."""
    record = run.record
    path = record.path
    there = [instance for instance in state.instances_of(path) if not instance.waiting]
    status = "INITIAL"
    if any(instance.started_at for instance in there):
        status = "ACTIVE"
    elif there or record.tries:
        status = "STARTING"
    message = "it is being stopped" if record.stopping else ""
    if not there and not record.stopping:
        message = queue.why(state.launches.get(path) or Launches(), queue.halt(state), now)
    return _run(record.job_id, record, status) | {
        "completedAt": None,
        "message": message,
        "missed": False,
        "tasks": [*map(_ended_task, record.tasks), *map(_task, there)],
    }


def _run(job_id: str, run: RunRecord | EndedRun, status: str) -> Json:
    return {
        "id": run.run_id,
        "jobId": job_id,
        "status": status,
        "createdAt": timestamp(run.created_at),
        "scheduledAt": _moment(run.instant),
        "tries": run.tries,
    }


def _task(instance: Instance) -> Json:
    assert instance.state is not None
    return {
        "id": instance.task_id,
        "status": instance.state.value,
        "startedAt": _moment(instance.started_at),
        "completedAt": None,
        "host": instance.hostname,
        "exitCode": None,
        "message": instance.note if instance.state is not TaskState.RUNNING or instance.stopping else "",
    }


def _ended_task(task: TaskRecord) -> Json:
    return {
        "id": task.task_id,
        "status": task.state,
        "startedAt": _moment(task.started_at),
        "completedAt": timestamp(task.ended_at),
        "host": task.hostname,
        "exitCode": task.exit_code,
        "message": task.message,
    }


def _moment(at: float) -> str | None:
    return timestamp(at) if at else None
