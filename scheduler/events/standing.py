"""What changes without an event of Marathon's: sent under types of our own, to readers that ask for these by name alone.

An event of these says what to look at anew, not how it is: ``GET /v2/overview``, ``/v2/deployments``, ``/v1/jobs``,
``/v2/quotas``, ``/v2/volumes`` and ``/v2/moves`` say that. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from eratos.common import names
from eratos.marathon.ids import parent
from eratos.marathon.job import path_of
from eratos.scheduler.core import actions
from eratos.scheduler.core.records import HISTORIES, JOBS, QUOTAS, RUNS, VOLUMES
from eratos.scheduler.core.state import Scaling, State
from eratos.scheduler.core.step import Decision

from .event import Event, of_app

#: The master, the brake, agents that come and go, hosts that are left alone, drained, swept or in maintenance.
CLUSTER: Final = "cluster_changed_event"
#: Why an app waits, that instances of it are being stopped, or that its error budget is spent or restored.
APP: Final = "app_changed_event"
#: The number of an app's instances is changed by what is measured, or, in mode ``advise``, would be: this one says how and why.
AUTOSCALE: Final = "autoscale_event"
#: A deployment is paused, goes on, or stands at a gate.
DEPLOYMENT: Final = "deployment_changed_event"
#: A job was put or deleted, a run of it began, had a task, was stopped or ended, or an instant was missed.
JOB: Final = "job_changed_event"
#: A quota was set, changed or lifted. It does not say whose: what is shown of quotas is asked for by role.
QUOTA: Final = "quota_changed_event"
#: A persistent volume was made, changed hands, is to be moved or destroyed, or is gone. It does not say whose either.
VOLUME: Final = "volume_changed_event"
OWN: Final = frozenset({CLUSTER, APP, DEPLOYMENT, AUTOSCALE, JOB, QUOTA, VOLUME})
#: Of no app, so everybody who asks for them hears them; they say nothing that is not for everybody.
OF_NOBODY: Final = frozenset({CLUSTER, QUOTA, VOLUME})


#: In the place of why an app waits.
_NOT_WAITING: Final = object()


class _Seen(NamedTuple):
    cluster: tuple[Any, ...]
    waiting: dict[str, Any]  #: app -> why its instances wait
    deployments: dict[str, tuple[Any, ...]]
    scalings: dict[str, Scaling]
    spent: frozenset[str]  #: apps whose error budget is


class Standing:
    """Compares how things stand after each pass with how they stood before. Called by one thread."""

    def __init__(self) -> None:
        self._seen = _Seen((), {}, {}, {}, frozenset())

    def after(self, state: State, decision: Decision, now: float) -> Iterator[Event]:
        """Yield what changed since the last time."""
        before, after = self._seen, _look(state)
        self._seen = after
        if before.cluster != after.cluster:
            yield Event(CLUSTER, now, {})
        changed = before.waiting.keys() - after.waiting.keys()
        changed |= {app_id for app_id, why in after.waiting.items() if before.waiting.get(app_id, _NOT_WAITING) is not why}
        changed |= before.spent ^ after.spent
        killed = [call.task_id for call in decision.calls if isinstance(call, actions.Kill)]
        changed |= {app_id for task_id in killed if (app_id := _owner(state, task_id))}
        for app_id in sorted(changed):
            yield of_app(APP, now, app_id, appId=app_id)
        for app_id, scaling in after.scalings.items():
            if before.scalings.get(app_id) != scaling:
                yield of_app(AUTOSCALE, now, app_id, appId=app_id, **_told(scaling))
        for deployment_id, found in after.deployments.items():
            if before.deployments.get(deployment_id, found) != found:
                yield Event(DEPLOYMENT, now, {"id": deployment_id}, frozenset(state.deployments[deployment_id].app_ids))
        keys = [write.key for write in decision.writes]
        for path in sorted({path for key in keys if (path := _job_path(key))}):
            yield of_app(JOB, now, path, jobId=path[1:].replace("/", "."))
        if any(key.startswith(QUOTAS) for key in keys):
            yield Event(QUOTA, now, {})
        if any(key.startswith(VOLUMES) for key in keys):
            yield Event(VOLUME, now, {})


def _look(state: State) -> _Seen:
    waiting = {app_id: found.waiting if (found := state.launches.get(app_id)) else None for app_id in state.in_need}
    brake = state.brake
    cluster = (
        *(state.connected, state.master, state.not_subscribed, brake.engaged_at, len(state.agents), len(state.room)),
        *(tuple(state.windows), tuple(state.drains.values()), tuple(state.sweeps.values())),
        tuple(trouble.until for trouble in state.troubles.values()),
    )
    deployments = {
        found.deployment_id: (found.record.paused, frozenset(found.reached), frozenset(found.held))
        for found in state.deployments.values()
    }
    spent = frozenset(app_id for app_id, ledger in state.budgets.items() if ledger.spent)
    return _Seen(cluster, waiting, deployments, dict(state.scalings), spent)


def _told(found: Scaling) -> dict[str, Any]:
    return {"from": found.before, "to": found.instances, "reason": found.why, "made": found.made}


def _job_path(key: str) -> str:
    """Return the path of the job that a stored record belongs to; empty: to none."""
    for prefix in (JOBS, HISTORIES):
        if key.startswith(prefix):
            return path_of(key.removeprefix(prefix))
    return parent(key.removeprefix(RUNS)) if key.startswith(RUNS) else ""


def _owner(state: State, task_id: str) -> str:
    parsed = names.parse_task_id(task_id)
    instance = state.instances.get(parsed[0]) if parsed is not None else None
    return instance.app_id if instance is not None else ""
