"""Runs of jobs, from the instant that each is for to its place in the history. To all other modules a run is an app of one
instance, whose id no app can have; what is different about it is decided here.

A run is stored when it is decided on. It ends with its task, and is forgotten together with that task's record once what became
of it stands in the history. A run that is in both, because a leader ended in between, has ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from eratos.marathon import definition, stored
from eratos.marathon.app import App
from eratos.marathon.job import Job

from . import jobs
from .actions import Notice
from .instances import Instance
from .jobs import Verdict
from .mesos_types import TaskStatus
from .records import HISTORIES, RUNS, EndedRun, HistoryRecord, Missed, RunRecord, Stored, TaskRecord
from .state import Run
from .step import Step
from .timers import Timer, TimerKind

SUCCESS, FAILED, MISSED = "SUCCESS", "FAILED", "MISSED"
STOPPED = "it was stopped"
#: Ended runs of a job that are kept, and instants that were missed; all are counted.
ENDED_MOST = 50
MISSED_MOST = 20
#: Tasks of a run that are kept; all are counted.
TASKS_MOST = 5
#: Bytes kept of what a task said last: a history has hundreds of these, and has to fit the store.
MESSAGE_BYTES = 500


def load(step: Step, found: Stored) -> None:
    """Take over stored jobs and runs, before the instances are."""
    state = step.state
    state.jobs.update((job.id, job) for job in found.jobs)
    state.histories.update((history.job_id, history) for history in found.histories)
    for record in found.runs:
        history = state.histories.get(record.job_id)
        if history is not None and any(ended.run_id == record.run_id for ended in history.runs):
            step.forget(RUNS + record.path)
            continue
        state.add_run(Run(record, app_of(record)))
        watch(step, record)
        step.touch(record.path)
    for job in state.jobs.values():
        _complete(step, job)
        watch_schedules(step, job)


def _complete(step: Step, job: Job) -> None:
    """Have each schedule count from now on of which nothing is known: the write of it was interrupted."""
    history = history_of(step, job.id)
    unknown = {each.id: step.now for each in job.schedules if each.id not in history.decided}
    if unknown and HISTORIES + job.id not in step.state.spoilt:
        keep_history(step, replace(history, decided={**history.decided, **unknown}))


def app_of(record: RunRecord) -> App:
    """Return what a run is to those who place and start it. Raises InvalidApp."""
    app = definition.restore(stored.shown(json.loads(record.definition)))
    about = {"ERATOS_JOB_ID": record.job_id, "ERATOS_JOB_RUN": record.run_id}
    if record.instant:
        about["ERATOS_JOB_INSTANT"] = f"{datetime.fromtimestamp(record.instant, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return app.model_copy(update={"id": record.path, "version": record.run_id, "variables": {**about, **app.variables}})


def history_of(step: Step, job_id: str) -> HistoryRecord:
    return step.state.histories.get(job_id) or HistoryRecord(job_id)


def keep_history(step: Step, history: HistoryRecord) -> None:
    step.state.histories[history.job_id] = history
    step.store(HISTORIES + history.job_id, history)


def begin(step: Step, job: Job, *, run_id: str, instant: float = 0.0, start_by: float = 0.0, replaces: bool = False) -> None:
    """Make a run of a job; it is launched as soon as there is room."""
    restart = job.run.restart
    deadline_s = restart.active_deadline_seconds
    record = RunRecord(
        job.id,
        run_id,
        instant,
        step.now,
        json.dumps(stored.to_record(job.app), separators=(",", ":")).encode(),
        start_by,
        retries=restart.policy == "ON_FAILURE",
        retry_until=0.0 if deadline_s is None else step.now + deadline_s,
        replaces=replaces,
    )
    step.state.add_run(Run(record, app_of(record)))
    step.store(RUNS + record.path, record)
    watch(step, record)
    step.touch(record.path)


def watch(step: Step, record: RunRecord) -> None:
    """Set the timer of a run that waits: for its first launch, or for another one."""
    until = record.start_by if not record.launched else record.retry_until
    if until:
        step.timers.set(Timer(TimerKind.RUN, record.path), until)


def watch_schedules(step: Step, job: Job) -> None:
    """Set the timer of a job's next instant; one whose history cannot be read would not know what was done already."""
    history = step.state.histories.get(job.id)
    coming = jobs.next_instant(job.schedules, history.decided) if history is not None else None
    timer = Timer(TimerKind.INSTANT, job.id)
    if coming is None or HISTORIES + job.id in step.state.spoilt:
        step.timers.clear(timer)
    else:
        step.timers.set(timer, coming)


def waits_for(run: Run, others: Iterable[Run]) -> bool:
    """Return whether a run waits for others to end, in whose place it comes."""
    return run.record.replaces and any(other.record.created_at < run.record.created_at for other in others if other is not run)


def launched(step: Step, run: Run) -> None:
    """Note that a task of a run is launched now: from here on it has begun, whatever becomes of the task."""
    if not run.record.launched:
        _alter(step, run, replace(run.record, launched=True))
        step.timers.clear(Timer(TimerKind.RUN, run.record.path))


def due(step: Step, path: str) -> None:
    """End a run that has waited for as long as it may."""
    run = step.state.runs.get(path)
    if run is None or any(not instance.waiting for instance in step.state.instances_of(path)):
        return  # a task is at work, and how it ends decides
    record = run.record
    for instance in list(step.state.instances_of(path)):
        step.state.remove(instance)
    if record.launched:
        end(step, run, FAILED, "it was tried for as long as activeDeadlineSeconds allows")
        return
    message = f"nothing of it could be launched within {record.start_by - record.instant:.0f} s (startingDeadlineSeconds)"
    end(step, run, MISSED, message)


def task_ended(step: Step, run: Run, instance: Instance, update: TaskStatus) -> bool:
    """Take in that a run's task ended; return whether another one follows."""
    record, ran = run.record, jobs.began(update, instance.unanswered)
    found = jobs.verdict(record, update, ran, step.now)
    message = _kept(update.message)
    task = TaskRecord(
        update.task_id,
        instance.agent_id,
        instance.hostname,
        instance.started_at or instance.launched_at,
        step.now,
        update.state.value,
        jobs.exit_code(update),
        message,
    )
    if found is Verdict.AGAIN and not ran:
        # So nothing of it is published; and if it was the first one, the run has not begun yet either.
        if record.launched and not record.tries:
            _alter(step, run, replace(record, launched=False))
            watch(step, run.record)
        return True
    _alter(step, run, replace(record, launched=True, tries=record.tries + 1, tasks=(*record.tasks, task)[-TASKS_MOST:]))
    if found is Verdict.AGAIN:
        watch(step, run.record)
        return True
    ended = f"the task ended as {update.state.value}" + (f": {message}" if message else "")
    if found is Verdict.SUCCESS:
        end(step, run, SUCCESS)
    else:
        end(step, run, FAILED, STOPPED if record.stopping else ended)
    return False


def _kept(message: str) -> str:
    """Return what is kept of what a task said: its first line, without what takes several bytes each to be written down."""
    line = message.partition("\n")[0][:MESSAGE_BYTES]
    plain = "".join(character if character.isprintable() else " " for character in line)
    return plain.encode()[:MESSAGE_BYTES].decode(errors="ignore")


def stopped(step: Step, run: Run) -> None:
    """End a run that was stopped and has no task, or none any more."""
    if not any(True for _ in step.state.instances_of(run.record.path)):
        end(step, run, FAILED, STOPPED)


def stopping(step: Step, run: Run) -> None:
    """Note that a run is to be stopped."""
    if not run.record.stopping:
        _alter(step, run, replace(run.record, stopping=True))


def end(step: Step, run: Run, outcome: str, message: str = "") -> None:
    """Have what became of a run in the history, and then the run no more. Its instances are gone, or go with this step."""
    record, state = run.record, step.state
    history = history_of(step, record.job_id)
    ended = EndedRun(record.run_id, record.instant, record.created_at, step.now, outcome, message, record.tries, record.tasks)
    history = replace(history, runs=(*history.runs, ended)[-ENDED_MOST:])
    if outcome == MISSED:
        history = with_missed(history, [Missed("", record.instant, message)], step.now)
    elif outcome == SUCCESS:
        history = replace(history, successes=history.successes + 1, last_success_at=step.now)
    else:
        history = replace(history, failures=history.failures + 1, last_failure_at=step.now)
    if record.job_id in state.jobs:
        keep_history(step, history)
    step.forget(RUNS + record.path)
    state.remove_run(run)
    step.timers.clear(Timer(TimerKind.RUN, record.path))
    step.timers.clear(Timer(TimerKind.DELAY, record.path))
    state.launches.pop(record.path, None)
    step.touch(record.path)
    about = {"job": record.job_id, "run": record.run_id, "outcome": outcome, "tries": record.tries, "reason": message}
    step.notice(Notice("info" if outcome == SUCCESS else "warning", "run ended", about))


def with_missed(history: HistoryRecord, missed: list[Missed], now: float) -> HistoryRecord:
    """Return a history with further instants that were missed."""
    latest = (*history.latest_missed, *missed)[-MISSED_MOST:]
    return replace(history, missed=history.missed + len(missed), last_missed_at=now, latest_missed=latest)


def _alter(step: Step, run: Run, record: RunRecord) -> None:
    run.record = record
    step.store(RUNS + record.path, record)
