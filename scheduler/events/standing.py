"""What changes without an event of Marathon's: told under types of our own, to readers that ask for these by name alone.

An event of these says what to look at anew, not how it is: ``GET /v2/overview`` and ``/v2/deployments`` say that. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from eratos.common import names
from eratos.scheduler.core import actions
from eratos.scheduler.core.state import Scaling, State

from .event import Event, of_app

#: The master, the brake, agents that come and go, hosts that are left alone or in maintenance, what balancers leave out.
CLUSTER: Final = "cluster_changed_event"
#: Why an app waits, or that instances of it are being stopped.
APP: Final = "app_changed_event"
#: The number of an app's instances is changed by what is measured, or, in mode ``advise``, would be: this one says how and why.
AUTOSCALE: Final = "autoscale_event"
#: A deployment is paused, goes on, or stands at a gate.
DEPLOYMENT: Final = "deployment_changed_event"
OWN: Final = frozenset({CLUSTER, APP, DEPLOYMENT, AUTOSCALE})


class _Seen(NamedTuple):
    cluster: tuple[Any, ...]
    waiting: dict[str, Any]  #: app -> why its instances wait
    deployments: dict[str, tuple[Any, ...]]
    scalings: dict[str, Scaling]


class Standing:
    """Compares how things stand after each pass with how they stood before. Called by one thread."""

    def __init__(self) -> None:
        self._seen = _Seen((), {}, {}, {})

    def after(self, state: State, calls: Iterable[actions.Call], now: float) -> Iterator[Event]:
        """Yield what changed since the last time."""
        before, after = self._seen, _look(state)
        self._seen = after
        if before.cluster != after.cluster:
            yield Event(CLUSTER, now, {})
        changed = {app_id for app_id, _ in before.waiting.items() ^ after.waiting.items()}
        changed |= {app_id for call in calls if isinstance(call, actions.Kill) and (app_id := _owner(state, call.task_id))}
        for app_id in sorted(changed):
            yield of_app(APP, now, app_id, appId=app_id)
        for app_id, scaling in after.scalings.items():
            if before.scalings.get(app_id) != scaling:
                yield of_app(AUTOSCALE, now, app_id, appId=app_id, **_told(scaling))
        for deployment_id, found in after.deployments.items():
            if before.deployments.get(deployment_id, found) != found:
                yield Event(DEPLOYMENT, now, {"id": deployment_id}, frozenset(state.deployments[deployment_id].app_ids))


def _look(state: State) -> _Seen:
    waiting = {app_id: found.waiting if (found := state.launches.get(app_id)) else None for app_id in state.in_need}
    brake = state.brake
    cluster = (
        *(state.connected, state.master, state.not_subscribed, brake.engaged_at, len(state.agents), len(state.room)),
        *(tuple(state.windows), tuple(trouble.until for trouble in state.troubles.values())),
    )
    deployments = {
        found.deployment_id: (found.record.paused, frozenset(found.reached), frozenset(found.held))
        for found in state.deployments.values()
    }
    return _Seen(cluster, waiting, deployments, dict(state.scalings))


def _told(found: Scaling) -> dict[str, Any]:
    return {"from": found.before, "to": found.instances, "reason": found.why, "made": found.made}


def _owner(state: State, task_id: str) -> str:
    parsed = names.parse_task_id(task_id)
    instance = state.instances.get(parsed[0]) if parsed is not None else None
    return instance.app_id if instance is not None else ""
