"""What users ask of jobs, and what comes of their schedules' instants when they are due."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from eratos.marathon.job import Job

from . import events, jobs, quotas, runs, status_updates
from .actions import Refusal, Reply
from .jobs import Fate
from .records import HISTORIES, JOBS, HistoryRecord, Missed
from .refusals import Refused
from .state import Run, State
from .step import Step
from .timers import Timer, TimerKind

#: Jobs that there may be.
JOBS_MOST: Final = 5000


def carry_out(step: Step, token: int, command: events.PutJob | events.DeleteJob | events.StartRun | events.StopRun) -> Reply:
    """Carry out what a user asks for. Raises Refused."""
    match command:
        case events.PutJob():
            return _put(step, token, command)
        case events.DeleteJob():
            return _delete(step, token, command)
        case events.StartRun():
            return _start(step, token, command)
    return _stop_run(step, token, command)


def _put(step: Step, token: int, command: events.PutJob) -> Reply:
    """Create a job or change it. What runs of it goes on as it was started."""
    job, state = command.job, step.state
    check(state, command)
    before = state.jobs.get(job.id)
    due(step, job.id)  # what came before the change is decided by what was wanted then
    history = runs.history_of(step, job.id)
    history = replace(history, decided=decided(job, before, history, step.now))
    state.jobs[job.id] = job
    step.store(JOBS + job.id, job)
    runs.keep_history(step, history)
    runs.watch_schedules(step, job)
    return Reply(token)


def check(state: State, command: events.PutJob) -> None:
    """Raise Refused where a job cannot be created or changed."""
    job_id, there = command.job.id, command.job.id in state.jobs
    if there and command.create_only:
        raise Refused(Refusal.EXISTS, f"Job '{job_id}' already exists")
    if not there and not command.create_only:
        raise _unknown(job_id)
    if not there and len(state.jobs) >= JOBS_MOST:
        raise Refused(Refusal.NOT_POSSIBLE, f"there are {JOBS_MOST} jobs already: delete some first")
    if HISTORIES + job_id in state.spoilt:
        raise Refused(Refusal.NOT_POSSIBLE, f"the history of job '{job_id}' in the store cannot be read; see the scheduler's log")


def decided(job: Job, before: Job | None, history: HistoryRecord, now: float) -> dict[str, float]:
    """Return from when on each schedule counts: one that is new, or means other instants than before, from now on."""
    found = {}
    for schedule in job.schedules:
        was = before.schedule(schedule.id) if before is not None else None
        same = was is not None and was.same_times(schedule) and schedule.id in history.decided
        found[schedule.id] = history.decided[schedule.id] if same else now
    return found


def _delete(step: Step, token: int, command: events.DeleteJob) -> Reply:
    """Delete a job with its history, and stop its runs, if asked to."""
    job_id, state = command.job_id, step.state
    if job_id not in state.jobs:
        raise _unknown(job_id)
    active = state.runs_of(job_id)
    if active and not command.stop_runs:
        message = f"job '{job_id}' has {len(active)} runs at work: wait, stop them, or delete it with stopCurrentJobRuns=true"
        raise Refused(Refusal.NOT_POSSIBLE, message)
    del state.jobs[job_id]
    state.histories.pop(job_id, None)
    step.timers.clear(Timer(TimerKind.INSTANT, job_id))
    for run in active:
        stop(step, run)
    step.forget(JOBS + job_id)
    step.forget(HISTORIES + job_id)
    return Reply(token)


def _start(step: Step, token: int, command: events.StartRun) -> Reply:
    """Start a run by hand, whatever the schedules say."""
    state = step.state
    job = state.jobs.get(command.job_id)
    if job is None:
        raise _unknown(command.job_id)
    if HISTORIES + job.id in state.spoilt:
        raise Refused(Refusal.NOT_POSSIBLE, f"the history of job '{job.id}' in the store cannot be read; see the scheduler's log")
    if len(state.runs_of(job.id)) >= jobs.RUNS_MOST:
        raise Refused(Refusal.NOT_POSSIBLE, f"job '{job.id}' has {jobs.RUNS_MOST} runs at work: wait for some, or stop them")
    run_id = jobs.run_id(step.now, step.new_id().replace("-", "")[:8])
    over = quotas.exceeded(state, {f"{job.path}/{run_id}": job.app})
    if over is not None:
        raise Refused(Refusal.QUOTA, over.message, quota=over.quota.path)
    runs.begin(step, job, run_id=run_id)
    return Reply(token, version=run_id)


def _stop_run(step: Step, token: int, command: events.StopRun) -> Reply:
    found = next((run for run in step.state.runs_of(command.job_id) if run.record.run_id == command.run_id), None)
    if found is None:
        raise Refused(Refusal.NOT_FOUND, f"Run '{command.run_id}' of job '{command.job_id}' does not exist, or has ended")
    stop(step, found)
    return Reply(token)


def stop(step: Step, run: Run) -> None:
    """Stop a run: at once where it only waits, else once its task has ended."""
    runs.stopping(step, run)
    status_updates.stop_all(step, list(step.state.instances_of(run.record.path)))
    runs.stopped(step, run)


def due(step: Step, job_id: str) -> None:
    """Decide the instants of a job that have come."""
    state = step.state
    job, history = state.jobs.get(job_id), state.histories.get(job_id)
    if job is None or history is None:
        return
    known = {run.run_id for run in history.runs} | {run.record.run_id for run in state.runs_of(job_id)}
    decided, missed = dict(history.decided), []
    found = jobs.due(job.schedules, decided, step.now)
    # A schedule with more instants than are decided at a time must not be overtaken by others.
    until = min(_last_of_full(found), default=step.now)
    for instant, schedule in found:
        if instant > until:
            break
        decided[schedule.id] = instant
        run_id = jobs.run_id(instant)
        if run_id in known:
            continue  # another schedule names the same instant, or a leader ended before it could say that it was decided
        known.add(run_id)
        active = state.runs_of(job_id)
        fate = jobs.fate(schedule, instant, step.now, len(active))
        if fate is not Fate.START:
            missed.append(Missed(schedule.id, instant, _reason(fate, len(active))))
            continue
        replaces = schedule.concurrency_policy == "REPLACE" and bool(active)
        ending = dict.fromkeys(run.record.path for run in active) if replaces else {}
        over = quotas.exceeded(state, {**ending, f"{job.path}/{run_id}": job.app})
        if over is not None:
            missed.append(Missed(schedule.id, instant, over.message))
            continue
        if replaces:
            for run in active:
                stop(step, run)
        start_by = instant + schedule.starting_deadline_seconds
        runs.begin(step, job, run_id=run_id, instant=instant, start_by=start_by, replaces=replaces)
    # Runs that were stopped meanwhile have changed it.
    history = replace(runs.history_of(step, job_id), decided=decided)
    if decided != runs.history_of(step, job_id).decided:
        runs.keep_history(step, runs.with_missed(history, missed, step.now) if missed else history)
    runs.watch_schedules(step, job)


def _last_of_full(found: list[jobs.Due]) -> list[float]:
    """Return the last instants of those schedules of which no more were looked at."""
    of: dict[str, list[float]] = {}
    for instant, schedule in found:
        of.setdefault(schedule.id, []).append(instant)
    return [instants[-1] for instants in of.values() if len(instants) >= jobs.DUE_MOST]


def _reason(fate: Fate, active: int) -> str:
    match fate:
        case Fate.LATE:
            return "no scheduler came to it within startingDeadlineSeconds"
        case Fate.FORBIDDEN:
            return f"{active} run of the job was at work, and concurrencyPolicy is FORBID"
    return f"{active} runs of the job were at work, more than there may be"


def _unknown(job_id: str) -> Refused:
    return Refused(Refusal.NOT_FOUND, f"Job '{job_id}' does not exist")
