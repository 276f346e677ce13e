"""Volumes that lie where every host reaches them: two tasks that may each write to one alone are never at work together. Pure.

Such a volume binds nobody to a host, so its instance goes anywhere; what is decided here is when. A task holds the names of its
volumes from before its launch until its end is known, whatever became of its app. The names alone count: whoever has the volume
next, be it another version, another app or a run of a job, waits for that.
"""

from __future__ import annotations

from collections.abc import Iterable

from eratos.marathon.app import App

from .instances import Instance
from .mesos_types import TaskState
from .ordinals import unrecorded
from .state import State


def holder(state: State, app: App) -> Instance | None:
    """Return an instance whose task may still write to a volume that an app's next one is to have alone."""
    for name in sorted(app.exclusive_volumes):
        if name in state.writers:
            return next(iter(state.writers[name].values()))
    return None


def hinders(state: State, app: App) -> str:
    """Return why nothing may be launched with the volumes of an app yet, or an empty text."""
    if not app.exclusive_volumes:
        return ""
    found = holder(state, app)
    if found is None:
        if swept := _to_be_swept(state, app):
            return swept
        if unrecorded(state, app):
            return "a task of the app that no record stands for may still write to its volumes, and has to end first"
        return ""
    shared = ", ".join(sorted(app.exclusive_volumes & found.holds))
    message = f"task {found.task_id} on {found.hostname} may still write to its volume {shared}, and has to end first"
    if found.state is TaskState.UNREACHABLE:
        message += "; its agent cannot be reached: it is waited for, or for Mesos' word that it is gone (MARK_AGENT_GONE)"
    return message


def _to_be_swept(state: State, app: App) -> str:
    """Return on which host a dead executor may have left a container that writes on, as a reason; empty: on none."""
    for record in state.sweeps.values():
        if left := sorted(app.exclusive_volumes.intersection(record.holds)):
            return (
                f"an executor on {record.hostname} has died, and what it ran may still write to its volume {', '.join(left)}: "
                "that host is swept first (docs/scheduling.md, dead executors)"
            )
    return ""


def hinders_all(state: State, app: App, before: App | None, waiting: Iterable[Instance]) -> str:
    """Return the same if it is so for everything that waits: where two versions are wanted, both have to be looked at."""
    if before is None:
        return hinders(state, app)
    versions = {instance.version == before.version for instance in waiting}
    reasons = [hinders(state, before if of_before else app) for of_before in sorted(versions)]
    return reasons[0] if reasons and all(reasons) else ""
