"""Which instants of a job's schedules are due, what becomes of each, and whether a run whose task ended goes on. Pure.

An instant is decided once: its run is stored together with how far the schedule was decided, before anything is launched. So a
leader that takes over neither leaves one out nor runs one twice, whatever its clock shows.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice, takewhile
from typing import Final, NamedTuple

from eratos.marathon.job import Schedule

from .mesos_types import RECONCILIATION, TaskState, TaskStatus
from .records import RunRecord

#: Instants decided at a time: after years without a leader the rest has to wait a moment.
DUE_MOST: Final = 500
#: Runs of one job at a time.
RUNS_MOST: Final = 100
#: Executors of all versions say so first how a process ended (executor/core/endings.py).
_EXIT_CODE: Final = re.compile(r"exit code ([0-9]{1,3})\b")
#: A run's place among apps' ids, which no app can have: these have no capital letters.
_RUN_PATH: Final = re.compile(r"(/[a-z0-9-]+)+/\d{8}T\d{6}Z(-[0-9a-z-]+)?", re.ASCII)


class Fate(enum.Enum):
    """What becomes of an instant that is due."""

    START = "start"
    LATE = "late"
    FORBIDDEN = "forbidden"
    TOO_MANY = "too many"


class Due(NamedTuple):
    """An instant that is to be decided now."""

    instant: float
    schedule: Schedule


def due(schedules: Iterable[Schedule], decided: Mapping[str, float], now: float, most: int = DUE_MOST) -> list[Due]:
    """Return the instants to decide, in order, ``most`` of each schedule."""
    found: list[Due] = []
    for schedule in schedules:
        if schedule.enabled and schedule.id in decided:
            coming = islice(schedule.times.instants(decided[schedule.id]), most)
            found += [Due(instant, schedule) for instant in takewhile(now.__ge__, coming)]
    return sorted(found, key=lambda each: each.instant)


def next_instant(schedules: Iterable[Schedule], decided: Mapping[str, float]) -> float | None:
    """Return the first instant that is not decided yet, or None."""
    enabled = (schedule for schedule in schedules if schedule.enabled and schedule.id in decided)
    coming = (schedule.times.after(decided[schedule.id]) for schedule in enabled)
    return min((instant for instant in coming if instant is not None), default=None)


def fate(schedule: Schedule, instant: float, now: float, active: int) -> Fate:
    """Return what becomes of an instant while so many runs of its job are at work."""
    if now > instant + schedule.starting_deadline_seconds:
        return Fate.LATE
    if active and schedule.concurrency_policy == "FORBID":
        return Fate.FORBIDDEN
    if active >= RUNS_MOST:
        return Fate.TOO_MANY
    return Fate.START


def run_id(moment: float, unique: str = "") -> str:
    """Return a run's id: the instant that it is for, or when it was started, with something unique then."""
    text = f"{datetime.fromtimestamp(moment, UTC):%Y%m%dT%H%M%SZ}"
    return f"{text}-{unique}" if unique else text


def is_run(path: str) -> bool:
    """Return whether a path is of the form that runs have, and no app can have."""
    return _RUN_PATH.fullmatch(path) is not None


class Verdict(enum.Enum):
    """What the end of a run's task means for the run."""

    SUCCESS = "success"
    FAILURE = "failure"
    AGAIN = "again"  #: another task follows


def began(update: TaskStatus, unanswered: bool) -> bool:
    """Return whether a task that is no more may have run; ``unanswered``: nothing was ever heard of it.

    What a registered agent knows nothing of, and was never acknowledged, has not reached it (Mesos' docs/reconciliation.md).
    """
    unheard_of = update.state is TaskState.GONE and update.reason == RECONCILIATION and unanswered
    return update.state is not TaskState.DROPPED and not unheard_of


def verdict(run: RunRecord, update: TaskStatus, ran: bool, now: float) -> Verdict:
    """Return what the end of a task means; ``ran``: it may have run. Of a run that is stopped nothing follows."""
    if update.state is TaskState.FINISHED:
        return Verdict.SUCCESS
    if run.stopping:
        return Verdict.FAILURE
    if not ran:
        return Verdict.AGAIN  # whatever the policy
    if run.retries and (not run.retry_until or now < run.retry_until):
        return Verdict.AGAIN
    return Verdict.FAILURE


def exit_code(update: TaskStatus) -> int | None:
    """Return the exit code that an executor reports, or None."""
    said = _EXIT_CODE.match(update.message)
    return int(said[1]) if said else None
