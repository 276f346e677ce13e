"""Crash-loop back-off: how long an app's next launch is delayed after its task ended badly.

Marathon's rule (backoffSeconds, backoffFactor, maxLaunchDelaySeconds): the first failure delays by backoffSeconds, each
further one by backoffFactor times as much, up to the maximum. A task that ran well for a while starts the count anew.
"""

from __future__ import annotations

from eratos.marathon.app import App

from .mesos import TaskState

#: A task that ran this long did not fail at its start. Longer than any delay it may have waited itself.
STABLE_S = 60.0

#: States that say something about the app rather than about Mesos or an operator.
FAILURES = frozenset({TaskState.FAILED, TaskState.ERROR, TaskState.FINISHED})


def next_delay_s(app: App, delay_s: float, ran_s: float) -> float:
    """Return the delay after one more failure; ``delay_s`` is the present one (0: none), ``ran_s`` how long the task ran."""
    if delay_s == 0 or ran_s > max(STABLE_S, delay_s):
        return min(app.backoff_seconds, app.max_launch_delay_seconds)
    return min(max(delay_s, app.backoff_seconds) * app.backoff_factor, app.max_launch_delay_seconds)
