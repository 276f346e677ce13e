"""Crash-loop back-off: how long an app's next launch is delayed after its task ended badly.

Marathon's rule (backoffSeconds, backoffFactor, maxLaunchDelaySeconds): the first failure delays by backoffSeconds, each
further one by backoffFactor times as much, up to the maximum. A task that ran for long starts the count anew.

Unlike there, the first crash of an instance that had run well delays nothing: it says little of the next try, and each
moment without it costs requests. Docker and Kubernetes restart at once as well. Only if the successor crashes soon does the
back-off begin.
"""

from __future__ import annotations

from eratos.marathon.app import App

from .instances import Instance
from .mesos_types import TaskState, TaskStatus

#: A task that ran this long did not fail at its start. Longer than any delay it may have waited itself.
STABLE_S = 60.0

#: A task without checks had run well after this long; Docker's restart policies take a container for started successfully
#: after the same time (its documentation, "Start containers automatically").
RAN_WELL_S = 10.0

#: Ends that say something about the app.
FAILURES = frozenset({TaskState.FAILED, TaskState.FINISHED})
#: Reasons of failures that say something about the executor or the agent below: a host that restarts fails all its tasks at once.
HOST_REASONS = ("REASON_EXECUTOR_", "REASON_AGENT_", "REASON_SLAVE_")
#: Ends that say something about its agent; one that never ran may be sent to the same agent again, so slowly (rule 46).
NEVER_RAN = frozenset({TaskState.LOST, TaskState.DROPPED, TaskState.GONE})
#: The agent had no use for the offer any more.
_STALE_OFFER = "REASON_INVALID_OFFERS"
#: Of a task that was dropped: the launch met an executor that was just ending, of which the scheduler could not know yet.
_EXECUTOR_ENDING = "REASON_EXECUTOR_TERMINATED"
_BAD_ENDS = FAILURES | NEVER_RAN | {TaskState.ERROR}


def ran_well(app: App | None, instance: Instance, now: float) -> bool:
    """Return whether an instance's task was ready at some time: its checks passed, or where it has none, it ran for a while."""
    if not instance.ran_from:
        return False
    return instance.proven if app is not None and app.checked else now - instance.ran_from >= RAN_WELL_S


def spared(app: App, update: TaskStatus, instance: Instance, now: float) -> bool:
    """Return whether a crash delays nothing: the first one of an instance that had run well."""
    if update.state is not TaskState.FAILED or not ran_well(app, instance, now):
        return False
    return not instance.spared or now - instance.ran_from >= STABLE_S


def bad_end(update: TaskStatus) -> bool:
    """Return whether nobody asked for this end, as far as the app's user is concerned."""
    return update.state in _BAD_ENDS and update.reason != _STALE_OFFER


def missed(update: TaskStatus) -> bool:
    """Return whether a task only came at the wrong moment, which speaks neither of its app nor of its host."""
    return update.state is TaskState.DROPPED and update.reason in (_STALE_OFFER, _EXECUTOR_ENDING)


def _launch_failed(update: TaskStatus, instance: Instance) -> bool:
    return update.state in NEVER_RAN and not instance.started_at and update.reason != _STALE_OFFER


def start_failed(app: App, update: TaskStatus, instance: Instance, now: float) -> bool:
    """Return whether this end speaks of a start that failed, of which its host may be the cause."""
    launch_failed = _launch_failed(update, instance) and not missed(update)
    broken = update.state in (TaskState.FAILED, TaskState.ERROR)
    return launch_failed or (broken and not ran_well(app, instance, now))


def next_delay_s(app: App, delay_s: float, update: TaskStatus, instance: Instance, now: float) -> float | None:
    """Return the app's delay after one more task has ended; ``delay_s`` is the present one. None: this end delays nothing."""
    if update.state is TaskState.ERROR:
        # Mesos finds fault with the description itself: unchanged it will hardly do better (rule 46).
        return float(app.max_launch_delay_seconds)
    if (update.state not in FAILURES and not _launch_failed(update, instance)) or spared(app, update, instance, now):
        return None
    if delay_s == 0 or now - instance.launched_at > max(STABLE_S, delay_s):
        return min(app.backoff_seconds, app.max_launch_delay_seconds)
    if missed(update) or (instance.started_at and update.reason.startswith(HOST_REASONS)):
        # A delay all the same, lest an executor that keeps dying make a busy loop; but twenty tasks are not twenty crashes.
        return delay_s
    return min(max(delay_s, app.backoff_seconds) * app.backoff_factor, app.max_launch_delay_seconds)
